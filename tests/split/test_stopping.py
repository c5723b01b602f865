"""Packages whose tasks may stop early: what their segments compute, and what is told of stops, against counting."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_package import build_tiny

from hasten.core.confidence import StopRule
from hasten.core.errors import InputError
from hasten.split.codecs import CutCodecs
from hasten.split.executor import Executor
from hasten.split.manifest import check_segments, onward_segments
from hasten.split.metrics import confidence_of
from hasten.split.package import open_package
from hasten.split.stopping import stopped_at
from hasten.split.verify import verify


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    path = tmp_path_factory.mktemp("stopping") / "tiny.hasten"
    plain = build_tiny(path)
    frames, _ = plain.samples()
    executor = Executor(plain)
    sure = [confidence_of(executor.finish(0, 1, [frame[None]])) for frame in frames]
    rule = StopRule(max_accuracy_loss=0.5, thresholds=(float(np.median(sure)), None))
    return build_tiny(path, stop=rule)


def test_a_check_gives_the_exit_and_what_goes_on_behind_it(package):
    executor, manifest = Executor(package), package.manifest
    after, last = manifest.exits[0].after_block, manifest.block_count
    frames, _ = package.samples()
    for frame in frames[:3]:
        for partition, exit_ in manifest.checks():
            given, behind = executor.check(
                partition, exit_, executor.prefix(partition, [frame[None]]) if partition else [frame[None]]
            )
            np.testing.assert_allclose(given["logits"], executor.finish(0, 1, [frame[None]]), rtol=1e-4, atol=1e-5)
            wanted = executor.finish(0, 2, [frame[None]])
            np.testing.assert_allclose(executor.finish(after, 2, behind), wanted, rtol=1e-4, atol=1e-5)
        for partition, _ in manifest.onwards():
            tensors = executor.onward(partition, behind)
            np.testing.assert_allclose(executor.finish(partition, 2, tensors), wanted, rtol=1e-4, atol=1e-5)
    assert [partition for partition, _ in manifest.checks()] == list(range(after))
    assert [partition for partition, _ in manifest.onwards()] == list(range(after + 1, last))
    assert verify(package).max_error < 1e-4


def test_what_is_told_of_stops_is_what_counting_finds(tmp_path, package):
    """On the first exit's own side of the cut, and behind it; of all forty inputs that the package was measured on."""
    rng = np.random.default_rng(0)
    frames, labels = rng.integers(0, 256, (40, 1, 32, 32), dtype=np.uint8), rng.integers(0, 5, 40)
    executor, codecs, confidence = Executor(package), CutCodecs(), package.manifest.confidence
    after = package.manifest.exits[0].after_block
    for partition in range(package.manifest.block_count + 1):
        stops, right = [], []
        for frame, label in zip(frames, labels, strict=True):
            inputs = [frame[None]]
            if partition < after:  # the edge looks at what came through the codec
                cut = package.manifest.cuts[partition]
                tensors = executor.prefix(partition, inputs) if partition else inputs
                logits = executor.finish(partition, 1, codecs.decode(codecs.encode(tensors, cut), cut))
            else:
                logits = executor.finish(0, 1, inputs)
            stops.append(confidence_of(logits) >= confidence.thresholds[0])
            right.append(int(logits.argmax() == label))
        outcome = confidence.outcomes[1][partition]
        assert outcome.shares[0] == pytest.approx(np.mean(stops))
        found = np.mean(np.array(right)[stops])
        if partition >= after:
            assert outcome.accuracies[0] == pytest.approx(found)
        assert outcome.accuracy == pytest.approx(
            sum(s * a for s, a in zip(outcome.shares, outcome.accuracies, strict=True))
        )
    assert 0.3 < confidence.outcomes[1][0].shares[0] < 0.7
    assert package.profile.confidence == confidence
    assert open_package(package.path).manifest.confidence == confidence


def test_an_input_stops_at_the_first_exit_that_is_sure():
    sure = np.array([[0.9, 0.1, 0.2], [0.4, 0.8, 0.2], [0.4, 0.7, 0.99], [0.5, 0.9, 0.1]])
    assert stopped_at(sure, (0.5, 0.8, None)).tolist() == [0, 1, 2, 0]
    assert stopped_at(sure, (None, 0.8, None)).tolist() == [2, 1, 2, 1]
    assert stopped_at(sure[:, :2], (0.5, 0.8, None)).tolist() == [0, 1, 1, 0]  # a scheduled exit asks for nothing


def test_checks_lead_to_the_next_exit_and_on_from_the_last():
    rule = StopRule(max_accuracy_loss=0.1, thresholds=(0.5, None, 0.5, None))
    assert check_segments((2, 3, 5, 8), rule) == [(0, 1), (1, 1), (2, 3), (3, 3), (4, 3)]
    assert onward_segments((2, 3, 5, 8), rule) == [(3, 1), (4, 1), (6, 3), (7, 3)]
    assert check_segments((2, 3), None) == onward_segments((2, 3), None) == []


def test_a_rule_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"stop\.thresholds"):
        build_tiny(tmp_path / "x.hasten", stop=StopRule(max_accuracy_loss=0.1, thresholds=(0.5, 0.5, None)))
    with pytest.raises(InputError, match="only a classifier"):
        build_tiny(
            tmp_path / "x.hasten",
            stop=StopRule(max_accuracy_loss=0.1, thresholds=(0.5, None)),
            metric=lambda outputs, target: 1.0,
        )
    assert not (tmp_path / "x.hasten").exists()


def test_without_a_rule_a_package_knows_nothing_of_stops(tmp_path):
    plain = build_tiny(tmp_path / "plain.hasten")
    assert plain.manifest.confidence is None and plain.profile.confidence is None
    assert {graph.kind for graph in plain.manifest.graphs} == {"prefix", "finish"}
    with pytest.raises(InputError, match="check"):
        Executor(plain).segment_bytes(Executor(plain)._wanted[0]._replace(kind="check", partition=0, exit=1))
