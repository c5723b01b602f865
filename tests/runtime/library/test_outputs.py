"""What programs get of exits that give something else than logits, wherever they ran."""

from __future__ import annotations

import json

import numpy as np
import pytest

import hasten as hs
from hasten.runtime.device.answers import plain_output
from hasten.runtime.edge.served import Served
from hasten.runtime.wire.outputs import OutputPayloads
from hasten.split.codecs import CutCodecs
from hasten.split.executor import Executor
from hasten.split.package import package_bytes, parse_package

LONG_MS = 60_000.0


def expected(package, frame, exit_, partition):
    """The outputs by the definition: the cut's tensors through their codec where the edge finishes."""
    executor, manifest = Executor(package), package.manifest
    if partition == manifest.exits[exit_ - 1].after_block:
        return executor.outputs(0, exit_, [frame])
    tensors = executor.prefix(partition, [frame]) if partition else [frame]
    codecs, cut = CutCodecs(), manifest.cuts[partition]
    return executor.outputs(partition, exit_, codecs.decode(codecs.encode(tensors, cut), cut))


def assert_same(found, wanted):
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


def test_outputs_are_the_networks_for_every_option(detector):
    frames = detector.samples()[0][:3]
    with hs.Edge([detector], port=0) as edge:
        for exit_, partition in detector.manifest.options():
            with hs.Device(detector, edge.address, f"fixed:{exit_},{partition}", LONG_MS) as device:
                for frame in frames:
                    answer = device.infer(frame)
                    assert (answer.exit, answer.partition, answer.fallback) == (exit_, partition, None)
                    assert (answer.label, answer.name, answer.confidence) == (None, None, None)
                    assert answer.answered and answer.on_time and answer.latency_ms < LONG_MS
                    whole = partition == detector.manifest.exits[exit_ - 1].after_block
                    assert answer.ran_on == ("device" if whole else "split" if partition else "edge")
                    assert_same(answer.outputs, expected(detector, frame[None], exit_, partition))


@pytest.mark.parametrize("scheduler", ["edge-only", "fixed:2,1", "device-only"])
def test_logits_are_sent_when_they_are_asked_for(package, scheduler):
    frame = package.samples()[0][0]
    with hs.Edge([package], port=0) as edge:
        with hs.Device(package, edge.address, scheduler, LONG_MS, outputs=True) as device:
            answer = device.infer(frame)
        with hs.Device(package, edge.address, scheduler, LONG_MS) as device:
            plain = device.infer(frame)
    assert_same(answer.outputs, expected(package, frame[None], answer.exit, answer.partition))
    assert answer.label == answer.outputs["logits"].argmax() == plain.label and answer.confidence == plain.confidence
    assert set(plain.outputs) == ({"logits"} if scheduler == "device-only" else set())


def test_answers_have_the_packages_class_names(package):
    names = ("cat", "dog", "bird", "fish", "none of these")
    description = package.manifest.model_dump(mode="json", exclude={"schema_id", "members"})
    named = parse_package(package_bytes(description | {"class_names": names}, package.members), package.path)
    with hs.Device(named, None, "device-only", LONG_MS) as device:
        answer = device.infer(named.samples()[0][0])
    assert answer.name == names[answer.label] == answer.line()["name"]


@pytest.mark.parametrize("damage", ["raises", "outputs of another exit"])
def test_outputs_after_a_fallback_are_the_devices(detector, monkeypatch, damage):
    frame = detector.samples()[0][0]

    other = OutputPayloads(detector.manifest).encode(1, expected(detector, frame[None], 1, 1))

    def broken(self, exit_, outputs):
        if damage == "raises":
            raise MemoryError
        return other

    monkeypatch.setattr(OutputPayloads, "encode", broken)
    with (
        hs.Edge([detector], port=0) as edge,
        hs.Device(detector, edge.address, "fixed:2,1", LONG_MS) as device,
    ):
        answer = device.infer(frame)
    assert answer.fallback == {"raises": "refused"}.get(damage, "bad_answer")
    assert answer.outcome == "on_time" and answer.ran_on == "device"
    assert_same(answer.outputs, expected(detector, frame[None], 2, 2))


def test_an_output_that_is_not_finite_is_invalid_here_and_there(detector, monkeypatch):
    whole = Executor.outputs

    def poisoned(self, partition, exit_, tensors):
        found = whole(self, partition, exit_, tensors)
        return found | {"boxes": np.full_like(found["boxes"], np.inf)}

    monkeypatch.setattr(Executor, "outputs", poisoned)
    frame = detector.samples()[0][0]
    with hs.Edge([detector], port=0) as edge:
        for scheduler in ("edge-only", "device-only"):
            with hs.Device(detector, edge.address, scheduler, LONG_MS) as device:
                answer = device.infer(frame)
            assert (answer.outcome, answer.answered, answer.outputs) == ("invalid", False, {})
            assert answer.line()["latency_ms"] is None and "outputs" not in answer.line()


def test_lines_hold_small_outputs_and_sum_up_large_ones(detector):
    frame = detector.samples()[0][0]
    with hs.Device(detector, None, "fixed:1,1", LONG_MS) as device:
        answer = device.infer(frame)
    line = answer.line()
    assert line["class"] is None and line["exit"] == 1 and line["latency_ms"] > 0
    assert line["outputs"]["valid"] == {
        "dtype": "bool", "shape": [64], "values": answer.outputs["valid"].tolist(),
    }  # fmt: skip
    boxes = answer.outputs["boxes"]
    assert line["outputs"]["boxes"]["values"] == boxes.tolist() and boxes.size == 256
    assert line["outputs"]["kind"]["dtype"] == "int64"
    assert plain_output(np.arange(300, dtype=np.int32).reshape(3, 100)) == {
        "dtype": "int32", "shape": [3, 100], "min": 0, "max": 299, "mean": 149.5,
    }  # fmt: skip
    assert json.dumps(line, allow_nan=False)


def test_an_edge_serves_any_package(package, detector):
    assert Served(detector).payloads.max_bytes > Served(package).payloads.max_bytes
