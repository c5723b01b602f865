"""What every codec keeps: shapes, types, its stated error, its largest size, and refusal by name."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from hasten.split.codecs import CODECS, CodecError, make_codec
from hasten.split.manifest import TensorSpec

RNG = np.random.default_rng(0)
LOSSLESS = ("float32", "float32-zstd")
SHAPES = [(), (1,), (7,), (5, 3), (1, 9, 9), (6, 1, 1), (4, 16, 16), (50, 40), (2, 3, 4, 5)]


def spec_of(array: np.ndarray, name: str = "t") -> TensorSpec:
    return TensorSpec(name=name, shape=array.shape[1:], dtype=str(array.dtype))


def sent(codec, *tensors):
    specs = [spec_of(tensor) for tensor in tensors]
    payload = codec.encode(tensors, specs)
    assert len(payload) <= codec.max_payload_bytes(specs)
    return codec.decode(payload, specs)


def values(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    drawn = RNG.standard_normal((1, *shape)).astype(np.float32)
    if kind == "constant":
        drawn[:] = -3.25
    elif kind == "rectified":
        drawn = np.maximum(drawn, 0)
    elif kind == "outlier":
        drawn.reshape(-1)[drawn.size // 2] = 6e4
    elif kind == "tiny":
        drawn *= np.float32(1e-39)
    return drawn


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("kind", ["normal", "constant", "rectified", "outlier", "tiny"])
def test_floats_come_back_within_the_stated_error_and_integers_exactly(name, kind):
    codec = make_codec(name)
    for shape in SHAPES:
        floats = values(kind, shape)
        tokens, frame = RNG.integers(-9, 9, (1, 4)), RNG.integers(0, 256, (1, 3, 2), dtype=np.uint8)
        mask = RNG.random((1, 5)) < 0.5
        got, got_tokens, got_frame, got_mask = sent(codec, floats, tokens, frame, mask)
        assert got.shape == floats.shape
        assert got.dtype == np.float32
        assert np.abs(got.astype(float) - floats).max() <= codec.max_error(floats)
        assert codec.max_error(tokens) == codec.max_error(mask) == 0
        np.testing.assert_array_equal(got_tokens, tokens)
        np.testing.assert_array_equal(got_frame, frame)
        np.testing.assert_array_equal(got_mask, mask)
        assert (got_tokens.dtype, got_frame.dtype, got_mask.dtype) == (tokens.dtype, frame.dtype, mask.dtype)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_exact_or_refused(name, bad):
    tensor = values("normal", (4, 8, 8))
    tensor[0, 1, 2, 3] = bad
    if name in LOSSLESS:
        np.testing.assert_array_equal(sent(make_codec(name), tensor)[0], tensor)
        return
    with pytest.raises(CodecError, match="expected"):
        sent(make_codec(name), tensor)


@pytest.mark.parametrize("name", CODECS)
def test_damaged_payloads_decode_or_are_refused_as_such(name):
    codec, tensor = make_codec(name), values("rectified", (8, 8, 8))
    tensor[0, 0, 0, 0] = 900.0
    specs = [spec_of(tensor)]
    payload = codec.encode([tensor], specs)
    for broken in (b"", payload[:-1], payload[: len(payload) // 2], payload + b"x"):
        with pytest.raises(CodecError):
            codec.decode(broken, specs)
    for place in [*range(min(24, len(payload))), *RNG.integers(0, len(payload), 60)]:
        flipped = bytearray(payload)
        flipped[place] ^= int(RNG.integers(1, 256))
        try:
            (got,) = codec.decode(flipped, specs)
        except CodecError:
            continue
        assert got.shape == tensor.shape
        assert name in LOSSLESS or np.isfinite(got).all()


@pytest.mark.parametrize("name", ["uint8", "uint8-last", "float16", "float32"])
def test_booleans_other_than_0_and_1_are_refused(name):
    spec = TensorSpec(name="mask", shape=(4,), dtype="bool")
    payload = bytearray(make_codec(name).encode([np.ones((1, 4), bool)], [spec]))
    payload[-1] = 7
    with pytest.raises(CodecError, match="tensor mask: got booleans other than 0 and 1"):
        make_codec(name).decode(payload, [spec])


def test_values_beyond_half_precision_are_refused_by_name():
    with pytest.raises(CodecError, match="tensor t: got values that float16 cannot hold"):
        sent(make_codec("float16"), np.full((1, 2), 7e4, np.float32))


@pytest.mark.parametrize("name", ["uint8-axis1", "uint8-last"])
def test_outliers_are_kept_exactly_and_do_not_widen_the_steps(name):
    tensor = values("normal", (64, 64))
    tensor[0, 5, 7], tensor[0, 40, 2] = 1e30, -1e9
    (got,) = sent(make_codec(name), tensor)
    assert (got[0, 5, 7], got[0, 40, 2]) == (tensor[0, 5, 7], tensor[0, 40, 2])
    others = np.abs(tensor) < 10
    assert np.abs(got - tensor)[others].max() < 0.03


@pytest.mark.parametrize(("name", "axis"), [("uint8-axis1", 1), ("uint8-last", 2)])
def test_each_group_has_a_scale_of_its_own(name, axis):
    tensor = values("normal", (12, 12))
    wide = [slice(None)] * 3
    wide[axis] = 0
    tensor[tuple(wide)] *= 1e4
    (got,) = sent(make_codec(name), tensor)
    rest = np.delete(np.abs(got - tensor), 0, axis)
    assert rest.max() < 0.02


def test_more_outliers_than_allowed_and_wrong_positions_are_refused():
    codec, spec = make_codec("uint8-last"), TensorSpec(name="t", shape=(1024,), dtype="float32")
    for count, error in ((5, "got 5 outliers, expected at most 4"), (2**32 - 1, "expected at most 4")):
        with pytest.raises(CodecError, match=error):
            codec.decode(struct.pack("<I", count) + bytes(2000), [spec])
    body = struct.pack("<2f", 0, 1) + bytes(1024)
    for positions in ((3, 3), (4, 3), (3, 1024)):
        with pytest.raises(CodecError, match="wrong positions"):
            codec.decode(struct.pack("<I2I2f", 2, *positions, 9, 9) + body, [spec])
    assert codec.decode(struct.pack("<I2I2f", 2, 3, 4, 9, 8) + body, [spec])[0][0, 3:5].tolist() == [9, 8]


def test_a_size_that_no_payload_has_is_refused_before_it_is_unpacked():
    codec, spec = make_codec("float32-zstd"), TensorSpec(name="t", shape=(4,), dtype="float32")
    with pytest.raises(CodecError, match="got a size of 4294967295 bytes, expected 1 to 16"):
        codec.decode(b"\x01" + struct.pack("<I", 2**32 - 1) + b"junk", [spec])
