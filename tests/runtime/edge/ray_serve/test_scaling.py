"""How many replicas are wanted, as time passes."""

from __future__ import annotations

import pytest

from hasten.core.errors import InputError
from hasten.runtime.edge.ray_serve.scaling import BUSY, HORIZON_MS, KEPT_MS, ReplicaRange, ReplicaTarget, replica_range


@pytest.mark.parametrize(("text", "fewest", "most"), [("1", 1, 1), ("3", 3, 3), ("2:8", 2, 8), ("1:64", 1, 64)])
def test_ranges(text, fewest, most):
    assert replica_range(text) == ReplicaRange(fewest, most)


@pytest.mark.parametrize("text", ["", "0", "-1", "2:1", "1:65", "1:2:3", ":2", "two", "1.5"])
def test_no_ranges(text):
    with pytest.raises(InputError, match="replicas"):
        replica_range(text)


def steady(target, load, seconds, start_s=0, backlog_ms=0.0):
    """Offered work of ``load`` ms per ms, looked at twice a second; what is wanted at the end."""
    found = 0
    for half in range(2 * start_s, 2 * (start_s + seconds) + 1):
        found = target.wanted(500.0 * half, 500.0 * half * load, backlog_ms)
    return found


@pytest.mark.parametrize(("load", "count"), [(0.0, 1), (0.6, 1), (0.8, 2), (1.3, 2), (2.0, 3), (100.0, 8)])
def test_replicas_are_not_busier_than_they_should_be(load, count):
    assert count in (1, 8) or load / count <= BUSY < load / (count - 1)
    assert steady(ReplicaTarget(ReplicaRange(1, 8)), load, seconds=10) == count


def test_what_waits_is_to_be_gone_when_a_replica_has_come():
    target = ReplicaTarget(ReplicaRange(1, 8))
    assert target.wanted(0.0, 0.0, BUSY * HORIZON_MS) == 1
    assert target.wanted(1.0, 0.0, BUSY * HORIZON_MS + 1.0) == 2
    assert target.wanted(2.0, 0.0, 4.0 * BUSY * HORIZON_MS) == 4


def test_a_single_task_is_no_load():
    target = ReplicaTarget(ReplicaRange(1, 8))
    assert target.wanted(0.0, 0.0, 0.0) == 1
    assert target.wanted(10.0, 500.0, 500.0) == 1


def test_replicas_stay_for_a_while():
    target = ReplicaTarget(ReplicaRange(2, 8))
    assert steady(target, 3.0, seconds=10) == 5
    until = 10_000.0 + KEPT_MS
    assert target.wanted(until - 1.0, 30_000.0, 0.0) == 5
    assert target.wanted(until + 1.0, 30_000.0, 0.0) == 2
