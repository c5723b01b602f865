"""Random schedules of faults in virtual time, and proof that what they hold the runtime to can be broken."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from unittest import mock

import fault_world
import pytest
from fault_hosts import label
from fault_schedules import KINDS, OF_DEVICES, Fault, Schedule, draw, draw_edges, shrunk
from fault_world import play_faults, told
from virtual_cases import profile

import hasten.runtime
from hasten.runtime.device.endings import Endings
from hasten.runtime.device.flights import Flights
from hasten.runtime.device.moving import Moving
from hasten.runtime.device.probing import Prober
from hasten.runtime.device.rescue import Rescue
from hasten.runtime.device.tasks import Outcome
from hasten.runtime.device.trials import Avoidance
from hasten.runtime.device.uplink import _Connection
from hasten.runtime.edge.connections import Connections

SEEDS, GROUPS = 180, 6
EDGES_SEEDS = 60


@pytest.mark.parametrize("group", range(GROUPS))
def test_whatever_goes_wrong_every_promise_is_kept(group):
    for seed in range(group, SEEDS, GROUPS):
        played = play_faults(draw(seed))
        assert not played.broken, told(played)


@pytest.mark.parametrize("group", range(2))
def test_with_two_edges_every_promise_is_kept_too(group):
    """And each edge is used again, whichever of them something was wrong with."""
    for seed in range(group, EDGES_SEEDS, 2):
        played = play_faults(draw_edges(seed))
        assert not played.broken, told(played)


def test_tasks_run_at_once_are_no_exception():
    """Two devices whose tasks are alike, on an edge that is slow alone and quick with several."""
    batches = [{"exit": 4, "partition": 0, "sizes": [1, 2, 4, 8], "ms": [1.0, 1.1, 1.3, 1.7]}]
    most = 0
    with mock.patch.object(fault_world, "NETWORK", profile(edge_ms=9.0, edge_batches=batches)):
        for seed in range(12):
            alike = {"rates_hz": (14.0, 14.0), "schedulers": ("fixed:4,0",) * 2, "deadlines_ms": (150.0, 150.0)}
            played = play_faults(replace(draw(seed), workers=1, **alike))
            assert not played.broken, told(played)
            most = max(most, played.sizes["tasks run at once"])
    assert most >= 2


def one(kind, **given) -> Schedule:
    fault = Fault(kind, at_ms=1000.0, lasts_ms=given.pop("lasts_ms", 700.0), device=0, size=given.pop("size", 0.9))
    defaults = {
        "seed": 0, "deadlines_ms": (100.0,), "rates_hz": (10.0,), "schedulers": ("fixed:4,0",), "workers": 1,
        "faults": (fault,),
    }  # fmt: skip
    return Schedule(**defaults | given)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_fault_does_something_and_breaks_no_promise(kind):
    played = play_faults(one(kind))
    assert not played.broken, told(played)
    calm = play_faults(one(kind, faults=(Fault("edge clock jump", 1000.0, 700.0, 0, 0.5),)))  # by nothing
    lines = [[line for line in it.log.splitlines() if '"fault"' not in line] for it in (played, calm)]
    assert any(one != other for one, other in zip(*lines, strict=False))


def of_two(kind, *edges, **given) -> Schedule:
    """A fault of these edges at once, of the two that a device may choose between."""
    faults = tuple(Fault(kind, 1000.0, 700.0, 0, 0.9, edge) for edge in edges)
    return one(kind, **{"edges": 2, "schedulers": ("greedy",), "rates_hz": (20.0,), "faults": faults} | given)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in OF_DEVICES])
def test_a_fault_of_one_of_two_edges_is_no_fault_of_the_other(kind):
    """Of both at once it breaks no promise either; of one the other answers at least as many of the tasks in time."""
    shares = []
    for edges in ((0,), (1,), (0, 1)):
        played = play_faults(of_two(kind, *edges))
        assert not played.broken, told(played)
        by = [task.answered_by for task in played.during() if task.outcome is Outcome.ON_TIME]
        shares.append(sum(edge is not None for edge in by))
    assert max(shares[:2]) >= shares[2]


def test_the_same_seed_gives_the_same_log_with_two_edges():
    first = play_faults(draw_edges(5)).log
    play_faults(draw_edges(6))
    assert play_faults(draw_edges(5)).log == first
    assert first.count('"what": "task"') > 20


@pytest.mark.parametrize("seed", [3, 24, 302])
def test_the_same_seed_gives_the_same_log(seed):
    first = play_faults(draw(seed)).log
    play_faults(draw(seed + 1))
    assert play_faults(draw(seed)).log == first
    assert first.count('"what": "task"') > 20


def broken(schedules) -> str:
    """What the first of the schedules breaks that breaks any promise."""
    found = (play_faults(schedule).broken for schedule in schedules)
    return "; ".join(next(filter(None, found), []))


def test_a_lost_task_is_noticed():
    with (
        mock.patch.object(Rescue, "now", lambda self, task, why, otherwise: None),
        mock.patch.object(Rescue, "watch", lambda self, task: None),  # which saves what the other forgets
    ):
        assert "has no outcome in time" in broken(one("link cut", seed=seed) for seed in range(10))


def test_a_second_outcome_is_noticed():
    close = Endings._close

    def twice(self, task):
        close(self, task)
        self._on_task(task)

    with mock.patch.object(Endings, "_close", twice):
        assert "has two outcomes" in broken([one("link cut")])


def test_an_answer_of_another_task_is_noticed():
    answered = Flights.answered

    def newest(self, number, *answer):
        return answered(self, max(self._waiting, default=number), *answer)

    with mock.patch.object(Flights, "answered", newest):
        assert "of something else" in broken(one("delays", seed=seed, lasts_ms=2000.0) for seed in range(10))


def test_an_answer_of_another_exit_or_cut_is_noticed():
    assert len({label(5, partition, exit_) for partition in range(5) for exit_ in range(1, 5)}) == 20
    answer = Endings.answer

    def other(self, task, now_ms, exit_, partition, *found):
        answer(self, task, now_ms, max(exit_ - 1, 1), partition, *found)

    with mock.patch.object(Endings, "answer", other):
        assert "of something else" in broken([one("link cut")])


def test_a_damaged_frame_would_be_believed_without_its_checksum():
    def plain(begin, rest=b""):
        return begin

    with (
        mock.patch("hasten.runtime.device.uplink.sealed", plain),
        mock.patch("hasten.runtime.edge.connection.sealed", plain),
    ):
        schedules = (one("frames damaged", seed=seed, lasts_ms=2500.0, size=0.2) for seed in range(60))
        assert "of something else" in broken(schedules)


def test_a_device_that_never_returns_is_noticed():
    with mock.patch.object(Avoidance, "avoids", lambda self, now: self._until_ms >= 0.0):
        assert "does not return" in broken([one("link cut")])


def test_a_device_that_never_returns_to_one_of_its_edges_is_noticed():
    with mock.patch.object(Avoidance, "avoids", lambda self, now: self._until_ms >= 0.0):
        assert "does not return" in broken([of_two("link cut", edge) for edge in (0, 1)])


def test_a_task_that_is_lost_between_two_edges_is_noticed():
    with (
        mock.patch.object(Moving, "moves", lambda self, task, why: True),
        mock.patch.object(Rescue, "watch", lambda self, task: None),
    ):
        schedules = (of_two("link cut", 0, 1, schedulers=("fixed:4,0",), seed=seed) for seed in range(10))
        assert "has no outcome in time" in broken(schedules)


def test_sending_to_the_one_of_two_edges_that_is_gone_is_noticed():
    with mock.patch.object(_Connection, "connection_lost", lambda self, error: None):
        assert "after the edge crash" in broken([of_two("edge crash", 0, schedulers=("fixed:4,0",))])


def test_a_place_that_stays_taken_is_noticed():
    with mock.patch.object(Connections, "_succeeded", lambda self, newest: []):
        assert "does not return" in broken([one("half open")])


def test_sending_to_an_edge_that_is_gone_is_noticed():
    with mock.patch.object(_Connection, "connection_lost", lambda self, error: None):
        assert "after the edge crash" in broken([one("edge crash")])


def test_what_grows_without_end_is_noticed():
    ponged = Prober.ponged

    def kept(self, sequence, *told):
        ping = self._pending[sequence]
        ponged(self, sequence, *told)
        self._pending[sequence] = ping

    with mock.patch.object(Prober, "ponged", kept):
        assert "more than 12 pings" in broken([one("disk full")])


def test_an_agent_that_fails_is_noticed():
    with mock.patch.object(Flights, "lost", side_effect=RuntimeError("no")):
        assert broken([one("link cut")])


def test_what_is_told_of_a_failure_is_the_least_that_still_fails():
    cut = one("link cut").faults[0]
    noise = [Fault("delays", at_ms, 50.0, 0, 0.1) for at_ms in (500.0, 900.0, 2500.0)]
    schedule = one("link cut", faults=(noise[0], noise[1], cut, noise[2]))
    with mock.patch.object(Avoidance, "avoids", lambda self, now: self._until_ms >= 0.0):
        words = told(play_faults(schedule))
    assert "seed 0" in words and str(cut) in words and "delays" not in words


def test_faults_are_left_out_as_long_as_it_fails():
    faults = draw(2).faults + draw(9).faults
    needed = {faults[1], faults[-1]}
    assert set(shrunk(faults, lambda left: needed <= set(left))) == needed


def test_nothing_that_serves_reads_a_clock_that_may_be_set():
    """A wall clock that jumps is no fault to play: there is none in it. Traces bear the world's time; none decides."""
    root = Path(hasten.runtime.__file__).parent
    for file in [file for part in ("device", "edge", "library", "wire") for file in (root / part).glob("*.py")]:
        if file.name == "traces.py":
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = {(node.value.id, node.attr) for node in ast.walk(tree)
                 if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)}  # fmt: skip
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "time"
                    for alias in node.names}  # fmt: skip
        assert not names & {("time", "time"), ("time", "time_ns")} and not imported & {"time", "time_ns"}, file
        assert "datetime" not in {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}, file
