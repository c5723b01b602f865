"""Outputs on the wire: exact, and nothing but what the package says of an exit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hasten.core.errors import InputError
from hasten.runtime.wire.outputs import MAX_OUTPUTS_BYTES, OutputPayloads
from hasten.split.codecs import CodecError
from hasten.split.executor import Executor
from hasten.split.manifest import PackageManifest, TensorSpec

ANY_PACKAGE = [HealthCheck.function_scoped_fixture]


@pytest.fixture(scope="module")
def given_by(detector):
    """What each exit gives for one frame."""
    frame = detector.samples()[0][:1]
    return {exit_: Executor(detector).outputs(0, exit_, [frame]) for exit_ in (1, 2)}


@pytest.mark.parametrize("exit_", [1, 2])
def test_outputs_come_out_as_they_went_in(detector, given_by, exit_):
    payloads = OutputPayloads(detector.manifest)
    data = payloads.encode(exit_, given_by[exit_])
    found = payloads.decode(exit_, memoryview(data))
    assert list(found) == ["boxes", "scores", "kind", "valid"] and len(data) <= payloads.max_bytes
    for name, array in given_by[exit_].items():
        assert found[name].dtype == array.dtype and found[name].flags.owndata
        np.testing.assert_array_equal(found[name], array)


def test_logits_that_are_not_finite_are_exact_too(package):
    payloads = OutputPayloads(package.manifest)
    logits = np.array([-np.inf, 1e-40, 3e38, np.nan, -0.0], np.float32)
    found = payloads.decode(2, payloads.encode(2, {"logits": logits}))["logits"]
    assert found.tobytes() == logits.tobytes()


def test_a_single_number_is_an_output(package):
    spec = TensorSpec(name="x", shape=(), dtype="float32").model_dump()
    data = package.manifest.model_dump(by_alias=True)
    data |= {"classes": 0, "exits": [exit_ | {"outputs": [spec]} for exit_ in data["exits"]]}
    payloads = OutputPayloads(PackageManifest.model_validate(data))
    found = payloads.decode(1, payloads.encode(1, {"x": np.array(0.5, np.float32)}))["x"]
    assert found.shape == () and found == 0.5


def test_outputs_of_another_exit_or_package_are_refused(package, detector, given_by):
    payloads = OutputPayloads(detector.manifest)
    with pytest.raises(CodecError, match=r"got other tensors or another codec, .* of boxes float32\[64, 4\], scores"):
        payloads.decode(1, payloads.encode(2, given_by[2]))
    of_classes = OutputPayloads(package.manifest).encode(1, {"logits": np.zeros(5, np.float32)})
    with pytest.raises(CodecError, match="got other tensors"):
        payloads.decode(1, of_classes)


def test_more_than_a_frame_holds_is_refused_by_name(package):
    spec = TensorSpec(name="x", shape=(1 << 28,), dtype="float32").model_dump()
    data = package.manifest.model_dump(by_alias=True)
    data |= {"classes": 0, "exits": [exit_ | {"outputs": [spec]} for exit_ in data["exits"]]}
    with pytest.raises(InputError, match=f"outputs: got '10737418.. bytes', expected at most {MAX_OUTPUTS_BYTES}"):
        OutputPayloads(PackageManifest.model_validate(data))


@settings(max_examples=150, deadline=None, suppress_health_check=ANY_PACKAGE)
@given(st.data())
def test_mutated_outputs_are_refused_or_fit(detector, given_by, data):
    payloads, exit_ = OutputPayloads(detector.manifest), data.draw(st.integers(1, 2))
    broken = bytearray(payloads.encode(exit_, given_by[exit_]))
    for position in data.draw(st.lists(st.integers(0, len(broken) - 1), max_size=4)):
        broken[position] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(broken)))
    broken = broken[:end] + data.draw(st.binary(max_size=8)) + broken[data.draw(st.integers(end, len(broken))) :]
    try:
        found = payloads.decode(exit_, memoryview(broken))
    except CodecError as error:
        assert str(error)
        return
    for spec in detector.manifest.outputs(exit_):
        assert found[spec.name].shape == spec.shape and found[spec.name].dtype == spec.dtype


@given(st.binary(max_size=200))
@settings(suppress_health_check=ANY_PACKAGE)
def test_arbitrary_bytes_are_no_outputs(detector, data):
    with pytest.raises(CodecError):
        OutputPayloads(detector.manifest).decode(1, data)
