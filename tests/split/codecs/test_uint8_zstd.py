from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hasten.split.codecs import CodecError
from hasten.split.codecs.uint8_zstd import Uint8Zstd, dequantize, quantize, zstd
from hasten.split.manifest import TensorSpec

codec = Uint8Zstd()
encode, decode, max_payload_bytes = codec.encode, codec.decode, codec.max_payload_bytes

shapes = hnp.array_shapes(min_dims=1, max_dims=3, max_side=9)
finite = st.floats(-(2.0**100), 2.0**100, width=32)


@st.composite
def tensors_and_specs(draw):
    tensors, specs = [], []
    for index in range(draw(st.integers(1, 3))):
        shape = draw(shapes)
        dtype = draw(st.sampled_from(["float32", "uint8", "int32", "int64"]))
        elements = finite if dtype == "float32" else hnp.from_dtype(np.dtype(dtype))
        tensors.append(draw(hnp.arrays(dtype, (1, *shape), elements=elements)))
        specs.append(TensorSpec(name=f"t{index}", shape=shape, dtype=dtype))
    return tensors, specs


def slow_quantize(tensor: np.ndarray) -> np.ndarray:
    """What the codec should give, element by element in double precision."""
    values = tensor.astype(np.float64)
    step = float(np.float32((values.max() - values.min()) / 255))
    return values.min() + step * np.round((values - values.min()) / step) if step > 1e-37 else values * 0 + values.min()


@settings(max_examples=80, deadline=None)
@given(tensors_and_specs())
def test_integers_travel_exactly_and_floats_within_half_a_step(case):
    tensors, specs = case
    payload = encode(tensors, specs)
    assert len(payload) <= max_payload_bytes(specs)
    for sent, got, spec in zip(tensors, decode(payload, specs), specs, strict=True):
        assert got.shape == sent.shape
        assert got.dtype == sent.dtype
        if spec.dtype == "float32":
            step = (float(sent.max()) - float(sent.min())) / 255
            slack = 1e-5 * float(np.abs(sent).max()) + 1e-35
            assert np.abs(got.astype(np.float64) - sent).max() <= 0.5 * step * 1.001 + slack
            assert np.abs(got - slow_quantize(sent)).max() <= step + slack
        else:
            np.testing.assert_array_equal(got, sent)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([0, 1]))
def test_any_bytes_decode_or_are_refused(data, flag):
    specs = [TensorSpec(name="t", shape=(4, 5), dtype="float32"), TensorSpec(name="u", shape=(3,), dtype="uint8")]
    for payload in (data, bytes([flag]) + data):
        try:
            tensors = decode(payload, specs)
        except CodecError:
            continue
        assert [tensor.shape for tensor in tensors] == [(1, 4, 5), (1, 3)]
        assert np.isfinite(tensors[0]).all()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_cut_and_flipped_payloads_never_escape_as_another_error(data):
    spec = [TensorSpec(name="t", shape=(8, 8), dtype="float32")]
    tensor = np.maximum(np.random.default_rng(0).standard_normal((1, 8, 8)), 0).astype(np.float32)
    payload = bytearray(encode([tensor], spec))
    with pytest.raises(CodecError):
        decode(payload[: data.draw(st.integers(0, len(payload) - 1))], spec)
    with pytest.raises(CodecError):
        decode(bytes(payload) + b"x", spec)
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        (got,) = decode(payload, spec)
    except CodecError:
        return
    assert got.shape == (1, 8, 8)


def test_rectified_activations_shrink_and_noise_is_not_made_larger():
    spec = [TensorSpec(name="t", shape=(16, 16, 16), dtype="float32")]
    rng = np.random.default_rng(0)
    relu = np.maximum(rng.standard_normal((1, 16, 16, 16)), 0).astype(np.float32)
    assert len(encode([relu], spec)) < 0.75 * relu.size
    frame_spec = [TensorSpec(name="f", shape=(64, 64), dtype="uint8")]
    noise = rng.integers(0, 256, (1, 64, 64), dtype=np.uint8)
    assert len(encode([noise], frame_spec)) == 1 + noise.size
    assert len(encode([np.zeros_like(noise)], frame_spec)) < 40


def test_a_decompression_bomb_is_refused_by_its_size():
    spec = [TensorSpec(name="u", shape=(1000,), dtype="uint8")]
    bomb = bytes([1]) + zstd.compress(bytes(1 << 24), 3)
    assert len(bomb) < max_payload_bytes(spec) * 2
    with pytest.raises(CodecError):
        decode(bomb[: max_payload_bytes(spec)], spec)
    small_bomb = bytes([1]) + zstd.compress(bytes(100_000), 3)
    with pytest.raises(CodecError, match="1000 bytes"):
        decode(small_bomb, spec)


def test_two_frames_in_one_payload_are_refused():
    spec = [TensorSpec(name="u", shape=(1000,), dtype="uint8")]
    with pytest.raises(CodecError, match="bytes after it"):
        decode(bytes([1]) + zstd.compress(bytes(1000)) + zstd.compress(b""), spec)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value):
    spec = [TensorSpec(name="t", shape=(3,), dtype="float32")]
    with pytest.raises(CodecError, match="finite"):
        encode([np.array([[0, value, 1]], np.float32)], spec)


def test_extremes_of_float32():
    largest = float(np.finfo(np.float32).max)
    spec = [TensorSpec(name="t", shape=(2,), dtype="float32")]
    with pytest.raises(CodecError, match="finite"):
        encode([np.array([[-largest, largest]], np.float32)], spec)
    (got,) = decode(encode([np.array([[-1e-44, 1e-44]], np.float32)], spec), spec)
    assert np.abs(got).max() < 1e-37
    low, scale, levels = quantize(np.full((1, 4), 7.25, np.float32))
    np.testing.assert_array_equal(dequantize(low, scale, levels), np.float32(7.25))


@pytest.mark.parametrize(("low", "scale"), [(0.0, -1.0), (np.nan, 1.0), (0.0, np.inf), (3e38, 3e38)])
def test_scales_from_the_wire_are_checked(low, scale):
    with pytest.raises(CodecError):
        dequantize(low, scale, np.zeros(3, np.uint8))


def test_tensors_that_do_not_fit_are_named():
    spec = [TensorSpec(name="cut", shape=(3,), dtype="float32")]
    with pytest.raises(CodecError, match=r"tensor cut: got float64\[1, 3\], expected float32\[1, 3\]"):
        encode([np.zeros((1, 3))], spec)
    with pytest.raises(CodecError, match="got 2 tensors, expected 1"):
        encode([np.zeros((1, 3), np.float32)] * 2, spec)


def test_one_codec_serves_many_calls():
    spec = [TensorSpec(name="u", shape=(50,), dtype="uint8")]
    codec = Uint8Zstd()
    for value in range(20):
        frame = np.full((1, 50), value, np.uint8)
        np.testing.assert_array_equal(codec.decode(codec.encode([frame], spec), spec)[0], frame)
