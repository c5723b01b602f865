"""The agent against an edge played by the test: every task ends in exactly one outcome, with the right reason."""

from __future__ import annotations

import asyncio
import json
import math
import time

import numpy as np
import pytest

from hasten.core.decision import Decision
from hasten.core.errors import InputError
from hasten.runtime.device.agent import DeviceAgent
from hasten.runtime.device.device_times import DeviceTimes
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.device.tasklog import TaskLog
from hasten.runtime.device.tasks import Arrival
from hasten.runtime.device.ways import local_finishes
from hasten.runtime.pace import now_ms
from hasten.runtime.virtual.play import play as play_virtually
from hasten.runtime.wire.frames import HEADER, Code, Kind, frame_bytes
from hasten.runtime.wire.handshake import Refuse, Welcome
from hasten.runtime.wire.load import LoadReport
from hasten.runtime.wire.tasks import EdgeAnswer, Status, parse_submit
from hasten.schedulers import make_scheduler

DEADLINE_MS = 2000.0
IDLE = LoadReport(1, 0, (0.0,))


class Runner:
    """Class 1 on the device, at once; notes what was run."""

    def __init__(self, package):
        self.package, self.calls = package, []

    def prefix(self, partition, inputs):
        self.calls.append(("prefix", partition))
        return [np.zeros((1, *spec.shape), spec.dtype) for spec in self.package.manifest.cuts[partition].tensors]

    def outputs(self, partition, exit_, tensors):
        self.calls.append(("finish", partition, exit_))
        return {"logits": np.array([0, 5, 0, 0, 0], np.float32)}


class PlayedEdge:
    """Stands for the uplink; ``reaction(user, task, submit)`` is what the edge does with each task."""

    def __init__(self, user, reaction, connected=True):
        self.user, self.reaction, self.connected = user, reaction, connected
        self.trouble, self.heard_ms, self.gave_up, self.where = "played", 0.0, [], "played"

    async def start(self):
        if self.connected:
            self.heard_ms = now_ms()
            self.user.edge_connected(Welcome(now_ms(), 1.0, 1))
        return self.connected

    async def close(self):
        self.connected = False

    def send(self, head, payload=b""):
        _, _, kind, _, task, _, _ = HEADER.unpack_from(head)
        assert kind == Kind.SUBMIT
        submit = parse_submit(memoryview(head)[HEADER.size :])
        asyncio.get_running_loop().call_soon(self.reaction, self, task, submit)

    def ping(self, sequence, padding):
        delay_s = 0.001 + padding * 8 / 1e7  # 10 Mbit/s behind 1 ms
        asyncio.get_running_loop().call_later(delay_s, self._pong, sequence)

    def _pong(self, sequence):
        if self.connected:
            self.heard_ms = now_ms()
            self.user.edge_ponged(sequence, now_ms() - 0.5, IDLE)

    def give_up(self, reason):
        self.gave_up.append(reason)
        self.lose(reason)

    def lose(self, reason="played"):
        self.connected = False
        self.user.edge_lost(reason)

    def answer(self, task, status=Status.DONE, exit_=2):
        self.heard_ms = now_ms()
        self.user.edge_answered(task, EdgeAnswer(status, exit_, 4, 0.75, 100, 200, 50, IDLE))


def answers(edge, task, submit):
    edge.answer(task, exit_=submit.exit)


def says_late(edge, task, submit):
    edge.answer(task, Status.LATE)


def refuses(edge, task, submit):
    edge.user.edge_refused(task, Refuse(Code.FAILED, "no"))


def dies(edge, task, submit):
    edge.lose()


def play(
    package, reaction, scheduler="fixed:2,1", tasks=3, gap_ms=5.0, path=None, connected=True, profile=None, **settings
):
    """Run an agent for some tasks; return (records, edge, runner)."""
    settings = {"deadline_ms": DEADLINE_MS, "rate_hz": 100.0} | settings

    async def run():
        runner, edge = Runner(package), None

        def connect(agent):
            nonlocal edge
            edge = PlayedEdge(agent, reaction, connected)
            return edge

        chosen = make_scheduler(scheduler) if isinstance(scheduler, str) else scheduler
        agent = DeviceAgent(package, runner, chosen, AgentSettings(**settings), connect if reaction else None, profile)
        frame = package.samples()[0][:1]
        log = TaskLog(path, keep=True)
        try:
            await agent.prepare()
            arrivals = [Arrival(gap_ms * i, 0, [frame], 4) for i in range(tasks)]
            async with asyncio.timeout(20):
                await agent.run(arrivals, now_ms() + 10.0, log)
        finally:
            await agent.close()
            log.close()
        return log.records, edge, runner

    return asyncio.run(run())


def outcomes(records):
    return [(r["outcome"], r["reason"], r["fallback"]) for r in records]


def test_answers_from_the_edge(package, tmp_path):
    records, _, runner = play(package, answers, path=tmp_path / "log.jsonl")
    assert outcomes(records) == [("on_time", "answered", None)] * 3
    for record in records:
        assert (record["exit"], record["partition"], record["answered_exit"], record["class"]) == (2, 1, 2, 4)
        assert record["correct"] is True
        assert record["bytes"] > 20
        assert set(record["parts"]) == {
            "wake", "decide", "device_queue", "device", "encode", "uplink", "edge_queue", "edge", "decode", "downlink"
        }  # fmt: skip
        assert 0 < sum(record["parts"].values()) <= record["latency_ms"] + 1.0
    assert runner.calls == [("prefix", 1)] * 3
    written = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert written == records


def test_what_a_task_overhead_is_reckoned_with(package):
    costly = package.profile.model_copy(update={"task_ms": 300.0, "offload_ms": 500.0})
    (plain,), (local,), (offloaded,) = (
        play(package, answers, scheduler, tasks=1, profile=profile)[0]
        for scheduler, profile in (("fixed:1,2", None), ("fixed:1,2", costly), ("fixed:2,1", costly))
    )
    assert plain["predicted_ms"] < 100 < 300 <= local["predicted_ms"] < 400
    assert 290 <= local["seen"]["device_wait_ms"] <= 300
    assert 800 <= offloaded["predicted_ms"] < 900
    assert local["latency_ms"] < 200  # reckoned with, not waited for


def test_tasks_kept_on_the_device_send_nothing(package):
    records, _, runner = play(package, answers, scheduler="fixed:1,2")
    assert outcomes(records) == [("on_time", "answered", None)] * 3
    assert all(r["class"] == 1 and r["bytes"] == 0 and r["correct"] is False for r in records)
    assert all((r["answered_exit"], r["answered_partition"]) == (1, 2) for r in records)
    assert runner.calls == [("finish", 0, 1)] * 3


@pytest.mark.parametrize(("reaction", "fallback"), [(refuses, "refused"), (dies, "lost")])
def test_failed_tasks_are_finished_here_from_the_tensors_at_hand(package, reaction, fallback):
    records, _, runner = play(package, reaction, tasks=1)
    assert outcomes(records) == [("on_time", "answered", fallback)]
    times = DeviceTimes(package.profile, 1.0)
    ways = [
        (accuracy, times.run_ms((1, exit_)), exit_, after)
        for accuracy, exit_, after in local_finishes(package.profile)[1]
    ]
    _, _, exit_, after_block = max(ways)
    assert (records[0]["answered_exit"], records[0]["answered_partition"]) == (exit_, after_block)
    assert records[0]["partition"] == 1 != after_block
    assert runner.calls == [("prefix", 1), ("finish", 1, exit_)]


def test_no_task_is_lost_when_the_edge_dies_on_the_way(package):
    seen = []

    def dies_at_the_fifth(edge, task, submit):
        seen.append(task)
        if len(seen) == 5:
            edge.lose()
        elif len(seen) < 5:
            return  # the first four are under way when it happens

    records, _, _ = play(package, dies_at_the_fifth, tasks=40, gap_ms=3.0)
    assert sorted(r["task"] for r in records) == list(range(40))
    assert all(r["outcome"] == "on_time" for r in records)
    assert {r["fallback"] for r in records} == {"lost", "unreachable"}


def test_what_the_edge_calls_late_is_finished_here_if_it_still_can_be(package):
    records, _, _ = play(package, says_late, tasks=2)
    assert outcomes(records) == [("on_time", "answered", "late")] * 2
    heavy = package.profile.model_copy(
        update={"exits": tuple(e.model_copy(update={"device_ms": 2 * DEADLINE_MS}) for e in package.profile.exits)}
    )
    records, _, _ = play(package, says_late, tasks=2, profile=heavy)
    assert outcomes(records) == [("late", "cancelled_edge", "late")] * 2
    assert all(r["latency_ms"] is None for r in records)


def test_without_an_edge_everything_is_finished_here(package):
    for reaction, connected in ((None, True), (answers, False)):
        records, _, _ = play(package, reaction, scheduler="fixed:2,0", connected=connected)
        assert outcomes(records) == [("on_time", "answered", "unreachable")] * 3
        assert all(r["exit"] == r["answered_exit"] and r["bytes"] == 0 for r in records)


def test_a_silent_edge_is_not_waited_for(package):
    def setting(world):
        world.link.up = lambda kind, frame: None if kind is Kind.SUBMIT else 0.0

    chosen, settings = make_scheduler("fixed:2,1"), AgentSettings(300.0, 100.0)
    records, world = play_virtually(package.profile, chosen, settings, [0.0, 5.0], setting)
    assert outcomes(records) == [("on_time", "answered", "silent")] * 2
    assert world.notes == ["edge connected"]  # its pings are answered


def test_expired_options_and_drops_use_nothing(package):
    class Stubborn:
        name = "stubborn"

        def reset(self, context):
            return None

        def decide(self, view):
            return Decision(np.array([0]))

    for scheduler, reason in ((Stubborn(), "expired"), ("greedy", "scheduler")):
        for reaction, why in ((answers, reason), (None, "expired")):
            records, _, runner = play(package, reaction, scheduler=scheduler, deadline_ms=0.01, tasks=2)
            assert outcomes(records) == [("dropped", why, None)] * 2
            assert all((r["exit"], r["partition"], r["bytes"]) == (0, 0, 0) for r in records)
            assert not runner.calls


def test_a_task_too_late_at_its_turn_is_cancelled(package):
    slow = package.profile.model_copy(
        update={"blocks": tuple(b.model_copy(update={"device_ms": 0.0}) for b in package.profile.blocks)}
    )

    class Sleepy(Runner):
        def outputs(self, partition, exit_, tensors):
            time.sleep(0.25)  # far over plan, so the tasks behind it are late when their turn comes
            return super().outputs(partition, exit_, tensors)

    async def run():
        log = TaskLog(None, keep=True)
        agent = DeviceAgent(
            package, Sleepy(package), make_scheduler("fixed:1,2"), AgentSettings(100.0, 100.0), None, slow
        )
        frame = package.samples()[0][:1]
        try:
            await agent.run([Arrival(0.0, 0, [frame], 0), Arrival(20.0, 0, [frame], 0)], now_ms() + 10.0, log)
        finally:
            await agent.close()
        return log.records

    records = {r["task"]: r for r in asyncio.run(run())}
    assert (records[0]["outcome"], records[0]["reason"]) == ("late", "answered")
    assert (records[1]["outcome"], records[1]["reason"]) == ("late", "cancelled_device")


def test_the_view_is_that_of_the_protocol(package):
    class Looker:
        name = "looker"

        def reset(self, context):
            self.context = context
            self.views = []

        def decide(self, view):
            for array, shape in [
                (view.device_wait_ms, (1,)),
                (view.edge_wait_ms, (1, 1)),
                (view.others_wait_ms, (1, 3)),
                (view.rate_bits_per_ms, (1,)),
            ]:
                assert array.shape == shape
            self.views.append(float(view.rate_bits_per_ms[0]))
            return Decision(np.array([-1]))

    looker = Looker()
    settings = AgentSettings(DEADLINE_MS, 100.0, streams=3, stream=2)
    play_virtually(package.profile, looker, settings, [0.0, 5.0], lambda world: world.link.rtt(10.0))
    assert looker.context.streams == 3
    assert looker.context.rtt_ms == pytest.approx(10.0 + package.profile.offload_ms, abs=0.1)
    assert looker.views == pytest.approx([10_000.0] * 2, rel=0.05)  # 10 Mbit/s


@pytest.mark.parametrize("given", [{"slowdown": 0.5}, {"deadline_ms": 0.0}, {"deadline_ms": math.nan}])
def test_bad_settings(given):
    with pytest.raises(InputError, match=next(iter(given))):
        AgentSettings(**({"deadline_ms": 1.0, "rate_hz": 1.0} | given))


def test_frames_carry_the_number_of_their_task():
    assert HEADER.unpack(frame_bytes(Kind.PING, 9, b""))[4] == 9
