"""From a device's records to a result: accuracy and gain are those of the (exit, partition) that answered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hasten.core.gain import OnTimeAccuracy
from hasten.core.profile import Block, ExitHead, Profile
from hasten.runtime.device.ways import local_finishes
from hasten.runtime.local.results import StreamLog, collect

PROFILE = Profile(
    schema="hasten.profile/1",
    name="net",
    source="made up",
    input_bytes=100,
    blocks=tuple(Block(name=f"b{i}", device_ms=2, edge_ms=1, output_bytes=50) for i in range(3)),
    exits=(
        ExitHead(name="e1", after_block=1, accuracy=0.5, device_ms=1, edge_ms=1),
        ExitHead(
            name="e2",
            after_block=3,
            accuracy=0.8,
            device_ms=1,
            edge_ms=1,
            accuracy_by_partition=(0.9, 0.4, 0.85, 0.95),
        ),
    ),
)


def record(exit_: int, partition: int, answered: tuple[int, int], fallback: str | None = None) -> dict[str, Any]:
    return {
        "task": 0,
        "option": 0,
        "exit": exit_,
        "partition": partition,
        "answered_exit": answered[0],
        "answered_partition": answered[1],
        "latency_ms": 10.0 if answered[0] else None,
        "label": None,
        "correct": None,
        "bytes": 50,
        "decision_us": 1.0,
        "reason": "answered",
        "fallback": fallback,
        "note": None,
        "seen": {"further_edges": []},
    }


def test_accuracy_is_that_of_the_pair_that_answered() -> None:
    records = [
        record(2, 0, (2, 0)),
        record(2, 1, (2, 1)),
        record(2, 1, (2, 3), fallback="lost"),  # finished on the device, where no codec acts
        record(2, 2, (1, 1), fallback="refused"),
        record(0, 0, (0, 0)),
    ]
    log = StreamLog(PROFILE, 100.0, np.arange(5.0), records)
    result = collect("greedy", 0, [log], OnTimeAccuracy())
    assert result.accuracy.tolist() == [0.9, 0.4, 0.95, 0.5, 0.0]
    assert result.gain.tolist() == result.accuracy.tolist()
    assert result.summary()["accuracy_when_on_time"] == pytest.approx(np.mean([0.9, 0.4, 0.95, 0.5]))


def test_of_several_edges_each_has_the_share_that_was_to_be_sent_there() -> None:
    ways = [(2, 0, 1), (2, 3, 1), (2, 1, 0), (0, 0, 1), (1, 0, 1)]  # the second and fourth are not sent, after all
    records = [record(exit_, p, (exit_, p)) | {"edge": edge} for exit_, p, edge in ways]
    result = collect("greedy", 0, [StreamLog(PROFILE, 100.0, np.arange(5.0), records)], OnTimeAccuracy(), ["a", "b"])
    assert result.edge is not None and result.edge.tolist() == [1, 0, 0, 0, 1]
    assert result.edge_share == {"a": 0.2, "b": 0.4}


def test_on_the_device_the_most_accurate_exit_is_told_by_its_accuracy_there() -> None:
    ways = local_finishes(PROFILE)
    assert [(exit_, accuracy) for accuracy, exit_, _ in ways[0]] == [(1, 0.5), (2, 0.95)]
    assert max(ways[0])[1] == 2
    early = PROFILE.exits[0].model_copy(update={"accuracy_by_partition": (0.1, 0.97)})
    better = PROFILE.model_copy(update={"exits": (early, PROFILE.exits[1])})
    assert max(local_finishes(better)[0])[1] == 1  # a deeper exit is not better for being deeper
