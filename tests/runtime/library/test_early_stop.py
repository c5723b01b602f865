"""Frames that stop early through ``hs.Device`` and ``hs.Edge``: the answer says at which exit, and is that exit's."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_package import build_tiny

import hasten as hs
from hasten.core.confidence import StopRule
from hasten.core.errors import InputError
from hasten.runtime.outputs import top_class
from hasten.split.codecs import make_codec
from hasten.split.executor import Executor

LOSS, LONG_MS = 0.5, 60_000.0


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A package in which about half of the frames stop at the first exit."""
    path = tmp_path_factory.mktemp("stopping") / "tiny.hasten"
    plain = build_tiny(path)
    frames, executor = plain.samples()[0], Executor(plain)
    sure = [top_class(executor.finish(0, 1, [frame[None]]))[1] for frame in frames]
    return build_tiny(path, stop=StopRule(max_accuracy_loss=LOSS, thresholds=(float(np.median(sure)), None)))


def answers_of(package, **options):
    frames = package.samples()[0]
    with hs.Device(package.path, deadline_ms=LONG_MS, **options) as device:
        return [device.infer(frame) for frame in frames]


def last_here(package):
    """A scheduler that does everything on the device."""
    return f"fixed:2,{package.manifest.block_count}"


def expected_exits(package, partition):
    """Where each frame stops: what is behind the partition sees what came through the codec."""
    executor, manifest = Executor(package), package.manifest
    threshold, cut = manifest.confidence.thresholds[0], manifest.cuts[partition]
    frames, after = package.samples()[0], manifest.exits[0].after_block
    found = []
    for frame in frames:
        tensors = executor.prefix(partition, [frame[None]]) if partition else [frame[None]]
        if partition < after:
            codec = make_codec(cut.codec)
            tensors = codec.decode(codec.encode(tensors, cut.tensors), cut.tensors)
            logits = executor.finish(partition, 1, tensors)
        else:
            logits = executor.finish(0, 1, [frame[None]])
        found.append(1 if top_class(logits)[1] >= threshold else 2)
    return found


def test_a_device_alone_stops_where_it_is_sure(package):
    executor, frames = Executor(package), package.samples()[0]
    found = answers_of(package, scheduler=last_here(package), max_accuracy_loss=LOSS)
    assert [answer.exit for answer in found] == expected_exits(package, package.manifest.block_count)
    assert {answer.exit for answer in found} == {1, 2}
    for frame, answer in zip(frames, found, strict=True):
        assert answer.label == int(executor.finish(0, answer.exit, [frame[None]]).argmax())
        assert (answer.ran_on, answer.fallback, answer.outcome) == ("device", None, "on_time")
        assert answer.partition == package.manifest.exits[answer.exit - 1].after_block


@pytest.mark.parametrize("partition", [0, 1, 2])
def test_what_stops_before_its_partition_is_never_sent_and_what_stops_behind_it_stops_at_the_edge(package, partition):
    after = package.manifest.exits[0].after_block
    with hs.Edge([package.path], host="127.0.0.1", port=0) as edge:
        found = answers_of(package, edge=edge.address, scheduler=f"fixed:2,{partition}", max_accuracy_loss=LOSS)
    assert [answer.exit for answer in found] == expected_exits(package, partition)
    assert {answer.exit for answer in found} == {1, 2}
    for answer in found:
        assert answer.outcome == "on_time" and answer.fallback is None
        if answer.exit == 1 and partition >= after:
            assert (answer.ran_on, answer.partition) == ("device", after)
        else:
            assert (answer.ran_on, answer.partition) == ("split" if partition else "edge", partition)


def test_without_being_asked_nobody_stops(package):
    assert {answer.exit for answer in answers_of(package, scheduler=last_here(package))} == {2}
    with hs.Edge([package.path], host="127.0.0.1", port=0) as edge:
        assert {answer.exit for answer in answers_of(package, edge=edge.address, scheduler="fixed:2,0")} == {2}


def test_what_the_package_was_not_built_for_is_refused(package, tmp_path):
    with pytest.raises(InputError, match=r"max_accuracy_loss: got 0\.1, expected at least 0\.5"):
        hs.Device(package.path, max_accuracy_loss=0.1)
    with pytest.raises(InputError, match="not built with --max-accuracy-loss"):
        hs.Device(build_tiny(tmp_path / "plain.hasten").path, max_accuracy_loss=0.1)
