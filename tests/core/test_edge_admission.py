"""The law of who is to leave room at an edge, by numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from hasten.core.edge_admission import (
    BUCKETS,
    EVEN,
    GREEDY,
    MODEST,
    ROOM,
    bucket_of,
    may_give_way,
    note_offer,
    offered,
    room_share,
    standing,
)
from hasten.core.estimators import FORECAST_MEMORY_MS


def test_lengths_are_told_apart_by_half_octaves():
    assert [bucket_of(it) for it in (0.0, 0.0625, 0.125, 1.0, 1.4, 1.5, 5.0, 10.0, 20.0)] == [
        0, 0, 2, 8, 8, 9, 12, 14, 16,
    ]  # fmt: skip
    assert bucket_of(1e9) == bucket_of(math.inf) == BUCKETS - 1


def test_what_was_offered_fades():
    load, at_ms = [0.0] * BUCKETS, [0.0] * BUCKETS
    note_offer(load, at_ms, 5.0, 0.0)
    note_offer(load, at_ms, 20.0, 500.0)
    note_offer(load, at_ms, 5.0, 1000.0)
    long_ms, short_ms = 20.0 * math.exp(-500.0 / FORECAST_MEMORY_MS), 5.0 * (1.0 + math.exp(-1.0))
    assert offered(load, at_ms, BUCKETS, 1000.0) == pytest.approx((long_ms + short_ms) / FORECAST_MEMORY_MS)
    assert offered(load, at_ms, bucket_of(5.0) + 1, 1000.0) == pytest.approx(short_ms / FORECAST_MEMORY_MS)
    assert offered(load, at_ms, bucket_of(5.0), 1000.0) == 0.0


def test_the_long_leave_room_when_the_short_fill_the_edge():
    load, at_ms = [0.0] * BUCKETS, [0.0] * BUCKETS
    for _ in range(180):
        note_offer(load, at_ms, 5.0, 0.0)  # 0.9 of a worker
    assert room_share(load, at_ms, 20.0, 0.0, 1, EVEN) == 1.0
    for _ in range(20):
        note_offer(load, at_ms, 20.0, 0.0)  # 1.3 together
    assert room_share(load, at_ms, 20.0, 0.0, 1, EVEN) == room_share(load, at_ms, 30.0, 0.0, 1, EVEN) == ROOM
    assert room_share(load, at_ms, 5.0, 0.0, 1, EVEN) == room_share(load, at_ms, 10.0, 0.0, 1, EVEN) == 1.0
    assert room_share(load, at_ms, 20.0, 0.0, 2, EVEN) == 1.0  # two workers have time for all
    assert room_share(load, at_ms, 20.0, 100.0, 1, EVEN) == 1.0  # and one has, when it was a moment's


def test_the_greedy_leave_room_and_the_modest_do_not():
    load, at_ms = [0.0] * BUCKETS, [0.0] * BUCKETS
    for _ in range(65):
        note_offer(load, at_ms, 20.0, 0.0)
    assert [room_share(load, at_ms, 5.0, 0.0, 1, stands) for stands in (MODEST, EVEN, GREEDY)] == [1.0, 1.0, ROOM]
    assert [room_share(load, at_ms, 20.0, 0.0, 1, stands) for stands in (MODEST, EVEN, GREEDY)] == [1.0, ROOM, ROOM]


@pytest.mark.parametrize(
    ("asked_ms", "most_ms", "all_ms", "devices", "expected"),
    [
        (100.0, 150.0, 1000.0, 10, MODEST),
        (100.0, 149.0, 1000.0, 10, EVEN),
        (150.0, 0.0, 1000.0, 10, EVEN),
        (151.0, 0.0, 1000.0, 10, GREEDY),
        (151.0, 160.0, 1000.0, 10, GREEDY),
        (500.0, 0.0, 500.0, 1, EVEN),
        (20.0, 0.0, 1000.0, 500, EVEN),  # ten times the average, and little of all
        (5.0, 60.0, 1000.0, 500, EVEN),  # a twelfth of the most, which is little of all
        (5.0, 200.0, 1000.0, 500, MODEST),
    ],
)
def test_how_a_device_stands_among_the_others(asked_ms, most_ms, all_ms, devices, expected):
    assert standing(asked_ms, most_ms, all_ms, devices) == expected


def test_nobody_gives_way_when_half_of_its_time_is_over():
    assert [may_give_way(100.0, 500.0, now_ms) for now_ms in (100.0, 300.0, 301.0)] == [True, True, False]
    assert may_give_way(100.0, math.inf, 1e9)
