"""A device that may choose among edges, in virtual time: which it uses, what it believes of each, what a loss costs."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from virtual_cases import between, offloaded, run, told, worth

from hasten.core.calibration import SENT
from hasten.core.task_log import logged_task
from hasten.runtime.wire.frames import Code, Kind
from hasten.runtime.wire.handshake import refuse_frame
from hasten.runtime.wire.tasks import Status

NEAR, FAR = 1e4, 500.0
"""Rates of links, bits per ms."""


def two(near: int = 0, far_rate: float = FAR):
    """Sets the world to two edges, one of them behind a slower link."""

    def setting(world):
        world.links[1 - near].rate_bits_per_ms = far_rate
        world.links[1 - near].rtt(30.0)

    return setting


def used(records) -> list[int]:
    """The edges of what was answered by one."""
    return [r["edge"] for r in records if r["answered_by"] is not None]


@pytest.mark.parametrize("near", [0, 1])
def test_the_nearer_of_two_edges_is_used(near):
    records, world = run(two(near), edges=2, tasks=100)
    assert told(records) == {("on_time", "answered", None): 100}
    assert used(records) == [near] * 100
    assert world.edges[near].ran == 100 and world.edges[1 - near].ran == 0
    assert {r["answered_by"] for r in records} == {world.links[near].where}
    assert sorted(world.notes) == ["edge edge 2 connected", "edge edge connected"]
    alone, _ = run(tasks=100)
    assert [r["latency_ms"] for r in records] == pytest.approx([r["latency_ms"] for r in alone], abs=0.5)


def test_an_edge_that_gets_slow_is_left_and_taken_again():
    def setting(world):
        two()(world)
        world.at(5_000, lambda: setattr(world.links[0], "rate_bits_per_ms", 50.0))
        world.at(15_000, lambda: setattr(world.links[0], "rate_bits_per_ms", NEAR))

    records, _ = run(setting, edges=2, tasks=300)
    assert used(between(records, 0, 5)) == [0] * 50
    slow, again = between(records, 7, 15), between(records, 20)
    assert offloaded(slow) > 0.9 and np.mean(used(slow)) > 0.9
    assert offloaded(again) > 0.9 and np.mean(used(again)) < 0.2


def test_a_killed_edge_costs_no_task_and_the_other_takes_over():
    def setting(world):
        two()(world)

        def kill():
            world.links[0].refuses = "no route"
            world.links[0].cut()

        world.at(5_030, kill)
        world.at(12_000, lambda: setattr(world.links[0], "refuses", None))

    records, world = run(setting, edges=2, tasks=300, rate_hz=20.0)
    assert all(r["reason"] == "answered" for r in records) and len(records) == 300
    assert used(between(records, 1, 5)) == [0] * 80
    gone = between(records, 5.1, 12)
    assert set(used(gone)) == {1} and offloaded(gone) == 1.0
    assert set(used(between(records, 14.5))) == {0}
    assert "edge edge not reached (no route); left out until it is" in world.notes


def test_tasks_that_are_away_when_their_edge_is_lost_go_on_at_the_other():
    """There is time enough for the other link, and the device alone has worse exits by the deadline."""

    def setting(world):
        two(far_rate=2000.0)(world)
        world.at(5_010, world.links[0].cut)

    records, _ = run(setting, edges=2, tasks=100)
    (moved,) = (r for r in records if r["fallback"] == "lost")
    assert moved["task"] == 50 and moved["outcome"] == "on_time"
    assert (moved["edge"], moved["answered_by"], moved["answered_exit"]) == (1, "edge 2", 4)
    assert moved["latency_ms"] == pytest.approx(moved["predicted_ms"], abs=1.0)


@pytest.mark.parametrize(("asked_ms", "over"), [(4_890.0, True), (4_950.0, False)])
def test_a_lost_task_goes_on_at_an_edge_whose_time_to_wait_is_over(asked_ms, over):
    """The other edge is not tried before the time that it has said."""

    def setting(world):
        two(far_rate=2000.0)(world)
        refusal = refuse_frame(10_000, Code.QUOTA, "too many", 120.0)
        world.at(asked_ms, lambda: world.links[1].connections[0].deliver(refusal))
        world.at(5_010, world.links[0].cut)

    task = run(setting, edges=2, tasks=100)[0][50]
    assert (task["fallback"], task["outcome"]) == ("lost", "on_time")
    assert task["answered_by"] == ("edge 2" if over else None)
    assert task["answered_exit"] == (4 if over else 3)


def test_an_edge_that_was_too_late_for_what_is_left_of_a_task_may_be_in_time_for_a_whole_one():
    """A task that moves has little time left; the edge that it moves to asks the like of it to wait, and no others."""

    def setting(world):
        two(near=1, far_rate=2000.0)(world)
        world.edges[1].answer = late_first(1800.0)
        world.edges[0].answer = late_first(1800.0)

    records, _ = run(setting, edges=2, times_ms=[0.0, 300.0, 3000.0])
    assert records[0]["fallback"] == "late" and records[0]["answered_by"] is None
    assert records[1]["fallback"] is None and records[1]["answered_by"] == "edge"


@pytest.mark.parametrize("scheduler", ["fixed:4,0", "random"])
@pytest.mark.parametrize("why", ["unreachable", "refused"])
def test_what_is_meant_for_the_one_edge_that_cannot_be_used_is_done_here(scheduler, why):
    """As with a single edge: a scheduler that would drop it, for want of that edge, drops nothing."""

    def setting(world):
        refusal = refuse_frame(10_000, Code.QUOTA, "too many", 4_000.0)
        if why == "unreachable":
            world.links[0].refuses = "no route"
            world.at(1_050, world.links[0].cut)
        else:
            world.at(1_050, lambda: world.links[0].connections[0].deliver(refusal))

    records, _ = run(setting, edges=2, tasks=50, scheduler=scheduler, deadline_ms=150.0)
    gone = between(records, 1.1)
    held = [r for r in gone if r["fallback"] == why]
    assert len(held) == len(gone) if scheduler == "fixed:4,0" else 5 < len(held) < len(gone)
    assert {r["answered_by"] for r in held} == {None}
    assert {r["outcome"] for r in gone} == {"on_time"}


def test_a_task_moves_once_and_is_then_finished_here():
    """Both edges are lost, one after the other, with the task on its way."""

    def setting(world):
        two(far_rate=2000.0)(world)
        world.at(5_010, world.links[0].cut)
        world.at(5_020, world.links[1].cut)

    records, _ = run(setting, edges=2, tasks=100)
    task = records[50]
    assert (task["fallback"], task["outcome"], task["answered_by"]) == ("lost", "on_time", None)
    assert task["answered_exit"] == 3
    assert all(r["reason"] == "answered" for r in records)


def test_an_edge_that_refuses_the_package_is_left_out():
    def setting(world):
        world.edges[1].trouble = "another package"

    records, world = run(setting, edges=2, tasks=50)
    assert used(records) == [0] * 50
    assert "edge edge 2 not reached (another package); left out until it is" in world.notes


def test_promises_are_kept_by_edge():
    """Every second answer of edge 1 is lost; what is believed of the other is as before."""
    answers = itertools.count()

    def setting(world):
        two(near=1, far_rate=2000.0)(world)
        fate = lambda kind, frame: None if kind is Kind.ANSWER and next(answers) % 2 == 0 else 0.0  # noqa: E731
        world.links[1].down = fate

    records, _ = run(setting, edges=2, tasks=400, deadline_ms=65.0)
    seen = [logged_task(record, "log").seen for record in records]
    assert min(min(it.further_edges[0].kept_share) for it in seen) < 0.95  # most are finished here in time
    assert min(min(it.kept_share[SENT]) for it in seen if it.kept_share is not None) == 1.0


def test_a_choice_of_two_edges_beats_each_of_them_alone():
    """Links that are good or bad for three seconds each, at random (seeded)."""
    rates = np.random.default_rng(7).choice([2000.0, 40.0], (20, 2))

    def played(which) -> float:
        def setting(world):
            for step, now in enumerate(rates[:, which]):
                for link, rate in zip(world.links, now.tolist(), strict=True):
                    world.at(3000 * step, lambda link=link, rate=rate: setattr(link, "rate_bits_per_ms", rate))

        records, _ = run(setting, edges=len(which), tasks=1200, rate_hz=20.0)
        return worth(records)

    assert played([0, 1]) > max(played([0]), played([1])) + 0.02


def test_a_line_of_the_log_says_what_was_seen_of_every_edge():
    records, _ = run(two(1), edges=2, edge_slowdown=2.0, tasks=20)
    task = logged_task(records[-1], "last")
    (further,) = task.seen.further_edges
    assert task.edge == 1 and task.facts.further_edge_slowdowns == (2.0,)
    assert further.rate_bits_per_ms == pytest.approx(NEAR, rel=0.2)
    assert task.seen.rate_bits_per_ms == pytest.approx(FAR, rel=0.1)


def late_first(*retry_ms: float):
    """An edge's first answers: LATE, each with such a time to try again."""
    told = iter(retry_ms)

    def answer(made):
        retry = next(told, None)
        return made if retry is None else replace(made, status=Status.LATE, retry_ms=retry)

    return answer


def sent(records) -> list[bool]:
    return [bool(record["bytes"]) for record in records]


@pytest.mark.parametrize("deadline_ms", [100.0, 27.0], ids=["answers itself", "cannot answer itself"])
def test_where_all_edges_ask_to_wait_only_what_the_device_can_answer_is_held_back(deadline_ms):
    def setting(world):
        world.edges[0].answer = late_first(1800.0)
        world.edges[1].answer = late_first(1800.0, 1300.0)

    records, _ = run(setting, edges=2, tasks=8, rate_hz=2, deadline_ms=deadline_ms)
    if deadline_ms < 28.0:  # what the shortest way takes here
        assert sent(records) == [True] * 8
        assert told(records[3:]) == {("on_time", "answered", None): 5}
    else:  # the first one is sent to both, to the second with little time left: the next one may do better there
        assert sent(records) == [True, True, False, False] + [True] * 4
        assert told(records[:2]) == {("on_time", "answered", "late"): 2}
        assert told(records[2:4]) == {("on_time", "answered", "refused"): 2}


def test_a_frame_that_is_computed_goes_out_though_the_edge_has_asked_to_wait_since():
    def setting(world):
        refusal = refuse_frame(10_000, Code.QUOTA, "too many", 300.0)
        world.at(1_010, lambda: world.links[0].connections[0].deliver(refusal))

    records, _ = run(setting, edges=2, tasks=30, scheduler="fixed:4,1")
    assert sent(records)[10] and records[10]["answered_by"] == "edge"
    assert told(records[:11]) == {("on_time", "answered", None): 11}
    assert sent(records)[11:13] == [False, False]


def test_an_edge_that_says_nothing_of_when_leaves_what_it_said_before():
    def setting(world):
        world.edge.answer = late_first(1800.0, 0.0)

    times = [0.0, 5.0, 500.0, 1000.0, 1500.0, 2500.0]
    records, _ = run(setting, times_ms=times, scheduler="fixed:4,0")
    assert sent(records) == [True, True, False, False, False, True]


def test_a_late_answer_says_when_to_try_again_also_of_a_task_that_has_ended():
    def setting(world):
        world.edge.answer = late_first(1800.0)
        world.edge.service = lambda n, profiled_ms: profiled_ms + (200.0 if n == 1 else 0.0)

    records, _ = run(setting, times_ms=[0.0, 500.0, 1000.0, 2500.0], scheduler="fixed:4,0")
    assert records[0]["fallback"] == "silent" and records[0]["reason"] == "answered"
    assert sent(records) == [True, False, False, True]
    assert [record["fallback"] for record in records[1:3]] == ["refused"] * 2


def test_an_edge_that_is_connected_anew_has_asked_for_nothing():
    def setting(world):
        world.edge.answer = late_first(9000.0)
        world.at(600, world.link.cut)

    records, _ = run(setting, times_ms=[0.0, 500.0, 3000.0, 3500.0], scheduler="fixed:4,0")
    assert sent(records) == [True, False, True, True]


def test_tasks_that_are_held_back_break_no_promise_of_the_edge():
    def setting(world):
        world.edge.answer = late_first(1800.0)

    records, _ = run(setting, tasks=6, rate_hz=2, scheduler="fixed:4,0")
    assert sent(records) == [True, False, False, False, True, True]
    shares = [logged_task(record, "log").seen.kept_share[SENT] for record in records]
    assert min(shares[0]) == 1.0 > min(shares[1])
    assert shares[1] == shares[2] == shares[3] == shares[4]
