"""Streams from end to end in virtual time: answers that cannot be true, endless streams, idle links, being ended."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import math

import numpy as np
import pytest
from virtual_cases import offloaded, profile, run, told

from hasten.core.arrivals import PeriodicArrivals, PoissonArrivals
from hasten.core.decision import Observer
from hasten.core.gain import OnTimeAccuracy
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.device.sources import Frames, arrival_times
from hasten.runtime.device.tally import EXACT, Spread, Tally
from hasten.runtime.device.tasklog import TaskLog
from hasten.runtime.device.tasks import Arrival
from hasten.runtime.local.results import StreamLog, collect
from hasten.runtime.virtual.play import play
from hasten.runtime.virtual.stand_in import CLASSES, FRAME, StandIn
from hasten.runtime.wire.frames import Kind
from hasten.runtime.wire.tasks import Status
from hasten.schedulers import make_scheduler

WRONG = {
    "class": {"class_index": CLASSES},
    "large class": {"class_index": 4_000_000_000},
    "exit": {"exit": 1},
    "NaN": {"confidence": math.nan},
    "infinite": {"confidence": math.inf},
    "negative": {"confidence": -0.5},
    "status": {"status": Status.UNKNOWN},
}


@pytest.mark.parametrize("what", WRONG)
def test_an_answer_that_cannot_be_true_is_not_believed(what):
    def setting(world):
        def changed(answer):
            if world.edge.ran % 4 == 0:
                for name, value in WRONG[what].items():
                    setattr(answer, name, value)
            return answer

        world.edge.answer = changed

    records, world = run(setting, tasks=40, deadline_ms=150, scheduler="greedy:point")  # greedy would shun such an edge
    assert told(records) == {("on_time", "answered", None): 30, ("on_time", "answered", "bad_answer"): 10}
    assert world.link.dialled == 1
    assert sum("cannot be true" in note for note in world.notes) == 1


def test_an_alarm_that_goes_off_late_costs_an_exit_and_not_the_task():
    def setting(world):
        world.agent._machine.alarm.late_ms = 2.0

    records, _ = run(setting, edges=0, rate_hz=5, tasks=10, deadline_ms=103.2, scheduler="greedy:point")  # exit 3: 103
    assert told(records) == {("on_time", "answered", "late"): 10}
    assert {record["answered_exit"] for record in records} == {3}


def test_an_edge_whose_answers_cannot_be_true_is_soon_hardly_asked():
    def setting(world):
        def changed(answer):
            answer.class_index = CLASSES
            return answer

        world.edge.answer = changed

    records, _ = run(setting, tasks=40, deadline_ms=150, scheduler="greedy")
    assert records[0]["fallback"] == "bad_answer" and records[0]["promised"] == 1.0
    assert sum(record["fallback"] is not None for record in records[10:]) <= 3  # it is tried again now and then


def test_an_output_that_is_not_finite_is_an_outcome_of_its_own():
    class Broken(StandIn):
        def outputs(self, partition, exit_, tensors):
            return {"logits": np.full(CLASSES, np.nan, np.float32)}

    local, alone = run(tasks=20, edges=0, runner=Broken())
    assert told(local) == {("invalid", "invalid", None): 20}
    assert len(alone.notes) == 1  # told once
    assert "NaN" not in json.dumps(local)

    def setting(world):
        def invalid(answer):
            answer.status = Status.INVALID
            return answer

        world.edge.answer = invalid

    there, world = run(setting, tasks=20, scheduler="greedy:point")
    assert told(there) == {("invalid", "invalid", None): 20}
    assert world.link.dialled == 1 and world.notes == ["edge connected"]
    assert all(r["latency_ms"] is None and r["class"] is None for r in local + there)


def test_a_late_answer_of_an_earlier_run_is_not_taken_for_another_frames():
    """The agent runs twice; the answer to the first run's task comes while the second run's is under way."""

    def setting(world):
        agent, first_run = world.agent, world.agent.run

        async def twice(arrivals, start_ms, log, on_task=None):
            world.link.down = lambda kind, frame: 400.0 if kind is Kind.ANSWER else 0.0
            await first_run([Arrival(0.0, 0, [FRAME], None)], start_ms, log)
            world.link.down = lambda kind, frame: None if kind is Kind.ANSWER else 0.0
            await first_run([Arrival(0.0, 1, [FRAME], None)], agent._clock.now_ms(), log)

        agent.run = twice

    records, world = run(setting, deadline_ms=150, scheduler="fixed:4,0")
    assert len(records) == 2 and world.link.sent[Kind.SUBMIT] == 2
    first, second = records
    assert (first["fallback"], first["outcome"]) == ("silent", "on_time")
    assert (second["fallback"], second["outcome"]) == ("silent", "on_time")  # its own answer was lost


@pytest.mark.parametrize(("scheduler", "rate_hz"), [("greedy", 0.01), ("device-only:deepest", 10.0), ("greedy", 10.0)])
def test_a_device_that_sends_no_tasks_hardly_sends_anything(scheduler, rate_hz):
    sizes = {}

    def setting(world):
        if scheduler == "greedy" and rate_hz == 10.0:
            world.link.rtt(200.0)  # nothing is worth sending
        for second in (3, 33, 93, 310, 370):
            world.at(1000 * second, lambda second=second: sizes.update({second: world.link.sent_bytes}))

    tasks = max(int(380 * rate_hz), 5)
    records, world = run(setting, rate_hz=rate_hz, tasks=tasks, deadline_ms=110, scheduler=scheduler)
    assert world.link.sent[Kind.SUBMIT] <= tasks * (rate_hz < 1)
    assert (sizes[33] - sizes[3]) / 30 <= 100
    assert (sizes[93] - sizes[33]) / 60 <= 60
    assert (sizes[370] - sizes[310]) / 60 <= 30
    assert all(record["outcome"] == "on_time" for record in records)


def test_a_stale_rate_is_renewed_when_a_decision_would_want_it():
    def setting(world):
        world.link.rate_bits_per_ms = 20.0  # 1.4 s for an input
        world.at(20_000, lambda: setattr(world.link, "rate_bits_per_ms", 1e4))

    records, _ = run(setting, tasks=400, deadline_ms=100)
    assert offloaded(records[300:]) == 1.0  # on a link this slow a measurement is seldom worth its bytes


def test_a_device_that_is_ended_finishes_what_it_has_and_takes_no_more():
    def setting(world):
        task = asyncio.current_task()
        world.at(2010, lambda: task.cancel())

    log = TaskLog(None, keep=True)
    with pytest.raises(asyncio.CancelledError):
        run(setting, log=log, tasks=1000, deadline_ms=150)
    assert [r["task"] for r in log.records] == list(range(21))
    assert {r["outcome"] for r in log.records} == {"on_time"}


def test_a_source_that_fails_ends_the_stream_after_its_tasks():
    def breaking():
        yield from (0.0, 100.0, 200.0)
        raise OSError("camera unplugged")

    log = TaskLog(None, keep=True)
    with pytest.raises(OSError, match="camera unplugged"):
        play(profile(), make_scheduler("greedy"), AgentSettings(100.0, 10.0), breaking(), log=log)
    assert [r["outcome"] for r in log.records] == ["on_time"] * 3


def test_tasks_that_do_not_end_within_a_second_are_ended():
    def setting(world):
        world.edge.service = lambda n, profiled_ms: 1e6
        world.at(2010, asyncio.current_task().cancel)

    log = TaskLog(None, keep=True)
    with pytest.raises(asyncio.CancelledError):
        run(setting, log=log, tasks=1000, rate_hz=1, deadline_ms=60_000, scheduler="fixed:4,0")
    assert [r["reason"] for r in log.records] == ["stopped"] * 3


def test_memory_does_not_grow_with_the_stream():
    sizes = []
    tally = Tally("fixed:4,0", 0, profile())

    class Counting(TaskLog):
        count = 0

        def write(self, record):
            super().write(record)
            Counting.count += 1
            if Counting.count in (1000, 3000):
                gc.collect()
                sizes.append(len(gc.get_objects()))

    def setting(world):
        begin = world.agent._endings.begin
        world.agent._endings.begin = lambda start_ms, log, on_task: begin(start_ms, log, tally.add)

    settings = AgentSettings(100.0, 100.0)
    times_ms = itertools.islice(arrival_times(PeriodicArrivals(kind="periodic", rate_hz=100.0), 0, None), 3000)
    play(profile(), make_scheduler("fixed:4,0"), settings, times_ms, setting, log=Counting(None))
    assert sizes[1] - sizes[0] < 200  # objects, after 2,000 more tasks
    assert tally.tasks == 3000


def test_arrivals_are_drawn_as_they_are_needed(monkeypatch):
    monkeypatch.setattr("hasten.runtime.device.sources.STRETCH", 100)
    periodic = PeriodicArrivals(kind="periodic", rate_hz=10.0)
    found = list(itertools.islice(arrival_times(periodic, 3, None), 1050))
    assert np.diff(found) == pytest.approx(np.full(1049, 100.0))
    assert found[:50] == list(arrival_times(periodic, 3, 50))
    poisson = np.array(list(arrival_times(PoissonArrivals(kind="poisson", rate_hz=10.0), 3, 5050)))
    assert len(poisson) == 5050 and np.all(np.diff(poisson) > 0)
    assert np.diff(poisson).mean() == pytest.approx(100.0, rel=0.05)
    frames = Frames(np.arange(7, dtype=np.uint8).reshape(7, 1), np.arange(7))
    times = np.arange(300.0)
    streamed = [(a.at_ms, a.sample, a.label) for a in frames.stream(iter(times), 5, 2)]
    assert streamed == [(a.at_ms, a.sample, a.label) for a in frames.arrivals(times, 5, 2)]


def test_ten_million_values_take_no_more_room_than_ten_thousand():
    spread = Spread()
    rng = np.random.default_rng(0)
    values = rng.exponential(30.0, 3 * EXACT)
    for value in values:
        spread.add(value)
    assert spread.mean == pytest.approx(values.mean())
    for percent in (50, 95, 99):
        assert spread.quantile(percent) == pytest.approx(np.percentile(values, percent), rel=0.006)
    assert len(spread._bins) < 6000 and spread._exact is None


def test_a_tally_is_the_summary_of_the_same_records():
    tally = Tally("greedy", 4, profile())

    def setting(world):
        world.link.rtt(5.0)
        world.at(3000, lambda: world.link.rtt(120.0))
        begin = world.agent._endings.begin
        world.agent._endings.begin = lambda start_ms, log, on_task: begin(start_ms, log, tally.add)

    records, _ = run(setting, tasks=80)
    times_ms = np.array([r["arrival_ms"] for r in records])
    result = collect("greedy", 4, [StreamLog(profile(), 100.0, times_ms, records)], OnTimeAccuracy())
    expected, found = result.summary(), tally.summary()
    assert list(found) == list(expected)
    for key, value in expected.items():
        if isinstance(value, dict):
            assert found[key] == pytest.approx(value, abs=0.01), key
        else:
            assert found[key] == pytest.approx(value, abs=1e-9), key


def test_a_scheduler_that_learns_hears_every_outcome_once():
    class Learner(Observer):
        name = "learner"

        def reset(self, context):
            self.fixed = make_scheduler("fixed:4,0")
            self.fixed.reset(context)
            self.heard = []

        def decide(self, view):
            return self.fixed.decide(view)

        def observe(self, outcomes):
            self.heard += outcomes.latency_ms.tolist()

    learner = Learner()
    records, _ = run(scheduler=learner, tasks=5)
    latencies = [record["latency_ms"] for record in records]
    assert learner.heard == pytest.approx(latencies[:4], abs=1e-3)  # the last has no later decision
