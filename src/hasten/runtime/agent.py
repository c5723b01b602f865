"""The device agent: decides each task at its arrival, computes, sends, and ends every task in exactly one outcome.

Three stages overlap: the compute thread serves tasks in order, the link carries frames, the edge answers. Everything
but computing happens in one event loop, so the agent's state needs no locks. When the edge fails, tasks are finished
here from the tensors at hand, through the best exit that still meets the deadline.

A frame that was handed to the link cannot be taken back: a task can be cancelled before the device starts it, before
it is sent, and at the edge.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hasten.core.decision import Scheduler
from hasten.core.profile import Profile
from hasten.runtime.clock import SystemClock
from hasten.runtime.compute import ComputeQueue, Job, Runner
from hasten.runtime.deciding import AgentSettings, Choice, Decider, LocalFinish, local_finishes
from hasten.runtime.estimate import LinkEstimate
from hasten.runtime.outlook import Outlook
from hasten.runtime.outputs import top_class
from hasten.runtime.pace import dilated, now_ms
from hasten.runtime.probing import Prober, probe_bytes
from hasten.runtime.tasks import Arrival, Fallback, Outcome, Reason, Task, TaskLog
from hasten.runtime.uplink import Uplink
from hasten.runtime.wire import (
    Answer,
    LoadReport,
    Refuse,
    Status,
    Welcome,
    submit_head,
    submit_overhead_bytes,
    types_bytes,
)
from hasten.split.codec import Codec
from hasten.split.executor import Executor
from hasten.split.package import Package

GRACE_MS = 1000.0
"""So long after its last useful moment the agent still waits for an answer, to log how late it was."""
SILENT_AT_LEAST_MS = 500.0
SILENT_DEADLINES = 3.0
"""With frames unanswered and nothing heard for so many deadlines (at least the above), the link counts as dead."""
WATCH_EVERY_MS = 100.0
OVERDUE = 2.0
"""An answer that takes so many times longer than predicted, with nothing else heard meanwhile, is not waited for."""
RESCUE_MARGIN_MS = 15.0
"""A task is taken back from a silent link so much before the last moment at which the device could finish it."""

T = TypeVar("T")


class DeviceAgent:
    """One stream of tasks on one device. Create it inside a running event loop; ``close`` it in the end."""

    def __init__(
        self,
        package: Package,
        runner: Runner,
        scheduler: Scheduler,
        settings: AgentSettings,
        connect: Callable[[DeviceAgent], Uplink] | None,
        profile: Profile | None = None,
        on_note: Callable[[str], None] | None = None,
    ) -> None:
        """Build the agent.

        Args:
            package: what runs.
            runner: its executor.
            scheduler: decides.
            settings: the stream.
            connect: makes the uplink for this agent; None works without an edge.
            profile: replaces the package's own profile.
            on_note: told, in words, when the connection to the edge comes and goes.
        """
        self._runner, self._settings = runner, settings
        self._profile = profile or package.profile
        self._on_note = on_note or (lambda text: None)
        loop = asyncio.get_running_loop()
        self._clock = SystemClock(loop)
        self._compute = ComputeQueue(loop)
        self._link = LinkEstimate()
        self._outlook = Outlook(self._link)
        self._codec = Codec()
        self._specs = [cut.tensors for cut in package.manifest.cuts]
        self._types = [types_bytes(specs) for specs in self._specs]
        self._frame_bits = [
            8.0 * (cut.payload_bytes + submit_overhead_bytes(cut.tensors)) for cut in package.manifest.cuts
        ]
        self._local = local_finishes(self._profile, settings.slowdown)
        self._build_ms = runner.build_ms if isinstance(runner, Executor) else None
        self._decider = Decider(scheduler, self._profile, settings, self._link, self._outlook, self._build_ms)
        self._edge = (1.0, 1)
        self._uplink = connect(self) if connect else None
        self._prober = Prober(self._uplink, self._link, self._outlook, probe_bytes(self._profile))
        self._flights: dict[int, Task] = {}
        self._log = TaskLog(None)
        self._arrivals: Sequence[Arrival] = ()
        self._start_ms = 0.0
        self._open = 0
        self._finished = asyncio.Event()
        self._failure: Exception | None = None
        self._noted: set[str] = set()
        self._on_task: Callable[[Task], None] = lambda task: None

    def usable(self) -> list[tuple[int, int]]:
        """The (exit, partition) pairs that the scheduler may choose: what the runner has to have ready."""
        return self._decider.usable()

    async def prepare(self) -> None:
        """Connect, measure the link, and reset the scheduler with what was learned."""
        if self._uplink is not None:
            if await self._uplink.start():
                await self._prober.warm_up()
            else:
                self._on_note(f"edge not reached ({self._uplink.trouble}); working alone until it is")
        self._decider.plan(*self._edge)

    async def run(
        self,
        arrivals: Sequence[Arrival],
        start_ms: float,
        log: TaskLog,
        on_task: Callable[[Task], None] | None = None,
    ) -> None:
        """Take the tasks of ``arrivals`` (times from ``start_ms``) and return when each has its outcome, logged."""
        self._arrivals, self._start_ms, self._log = arrivals, start_ms, log
        self._on_task = on_task or (lambda task: None)
        self._open = len(arrivals)
        self._finished.clear()
        if not arrivals:
            return
        self._failure = None
        self._await(0)
        watch = asyncio.create_task(self._watch())
        try:
            await self._finished.wait()
        finally:
            watch.cancel()
        if self._failure is not None:
            raise self._failure

    def take_over(self, scheduler: Scheduler) -> None:
        """Have another scheduler decide from the next task on; :class:`InputError` if it is not for this network."""
        self._decider.take_over(scheduler)

    async def close(self) -> None:
        """Disconnect and end the threads."""
        if self._uplink is not None:
            await self._uplink.close()
        await asyncio.to_thread(self._compute.close)
        await asyncio.to_thread(self._clock.close)

    # Decisions

    def _await(self, number: int) -> None:
        """Have the task decided when it arrives; a scheduler that fails ends the run."""

        def arrive() -> None:
            try:
                self._arrive(number)
            except Exception as error:  # raised by run(), which would otherwise wait for this task for ever
                self._failure = error
                self._finished.set()

        self._clock.call_at(self._start_ms + self._arrivals[number].at_ms, arrive)

    def _arrive(self, number: int) -> None:
        now = now_ms()
        arrival = self._arrivals[number]
        arrived_ms = self._start_ms + arrival.at_ms
        decider = self._decider
        task = Task(number, arrival, arrived_ms, self._settings.deadline_ms, arrived_ms + decider.limit_ms)
        task.parts["wake"] = now - arrived_ms
        task.tensors = [arrival.frame]
        awake_ms = max(arrived_ms + self._profile.task_ms - now, 0.0)
        self._outlook.update(now, self._connected, max(self._compute.backlog_ms(now), awake_ms))
        choice = decider.decide(now - self._start_ms)
        task.decision_us, task.facts = decider.decision_us, decider.facts
        if choice is not None:
            task.option, task.exit, task.partition = choice.option, choice.exit, choice.partition
            task.predicted_ms = now - arrived_ms + choice.latency_ms
        in_time = arrived_ms + task.predicted_ms <= task.limit_ms
        alone = not self._connected and (choice is None or choice.offloads)
        if choice is not None and in_time and not alone:
            self._begin(task, choice, now)
            self._note_decision(task, now)
        else:
            self._note_decision(task, now)
            if alone:
                self._decide_alone(task)
            else:
                task.exit = task.partition = 0
                self._end(task, Outcome.DROPPED, Reason.SCHEDULER if choice is None else Reason.EXPIRED)
        if number + 1 < len(self._arrivals):
            self._await(number + 1)

    def _note_decision(self, task: Task, now: float) -> None:
        """For the log: what the scheduler saw, and what it has to tell, of which each kind is told in words once."""
        task.seen = {"now_ms": now - self._start_ms} | self._outlook.seen()
        task.note = note = self._decider.note
        if note is not None and note not in self._noted:
            self._noted.add(note)
            self._on_note(f"task {task.number}: {note}; greedy decides while that is so")

    def _decide_alone(self, task: Task) -> None:
        """Without an edge, what was meant for it, or given up for lack of it, is done here as well as time allows."""
        best = self._best_local(task, self._compute.backlog_ms(now_ms()))
        if best is None:
            task.exit = task.partition = 0
            self._end(task, Outcome.DROPPED, Reason.EXPIRED)
        else:
            task.exit, task.partition, task.fallback = best.exit, best.after_block, Fallback.UNREACHABLE
            self._finish_here(task, best, urgent=False)

    @property
    def _connected(self) -> bool:
        return self._uplink is not None and self._uplink.connected

    # The device's stage

    def _begin(self, task: Task, choice: Choice, seen_ms: float) -> None:
        """Queue the device's part; the link's part is planned with it."""
        device_ms = choice.device_ms
        rest_ms = 0.0
        queued_ms = now_ms()
        task.parts["decide"] = queued_ms - seen_ms
        if choice.offloads:
            rest_ms = choice.edge_ms + self._decider.rtt_ms
            bits = self._frame_bits[choice.partition]
            ready_ms = queued_ms + self._outlook.device_wait_ms + device_ms
            task.transfer = self._outlook.plan_transfer(bits, ready_ms, choice.edge_ms)

        def work(started_ms: float) -> bytes | tuple[int, float] | None:
            task.parts["device_queue"] = started_ms - queued_ms
            if started_ms + device_ms + rest_ms > task.limit_ms:
                return None
            if choice.offloads:
                return self._compute_prefix(task, device_ms)
            return self._compute_exit(task, task.exit, device_ms)

        self._compute.submit(Job(device_ms, work, lambda result: self._computed(task, result)))

    def _compute_prefix(self, task: Task, device_ms: float) -> bytes:
        """In the compute thread: blocks 1..p, then the codec, which is not slowed down (see the profile)."""
        if task.partition:
            blocks_ms = device_ms - self._profile.encode_ms(task.partition)
            task.tensors, task.parts["device"] = self._dilated(
                blocks_ms, lambda: self._runner.prefix(task.partition, task.tensors)
            )
            task.held_cut = task.partition
        started_ms = now_ms()
        payload = self._codec.encode(task.tensors, self._specs[task.partition])
        task.parts["encode"] = now_ms() - started_ms
        return payload

    def _compute_exit(self, task: Task, exit_: int, device_ms: float) -> tuple[int, float]:
        """In the compute thread: from the tensors at hand to an answer."""
        held_cut, tensors = task.held_cut, task.tensors
        logits, took_ms = self._dilated(device_ms, lambda: self._runner.finish(held_cut, exit_, tensors))
        task.parts["device"] = task.parts.get("device", 0.0) + took_ms
        return top_class(logits)

    def _dilated(self, device_ms: float, work: Callable[[], T]) -> tuple[T, float]:
        """Do ``work``, profiled at ``device_ms`` on the machine that this device plays."""
        slowdown = self._settings.slowdown
        return dilated(slowdown, device_ms / slowdown, work)

    def _computed(self, task: Task, result: Any) -> None:
        """The device's part is done, cancelled (None) or failed."""
        task.device_done_ms = now_ms()
        if isinstance(result, bytes):
            self._send(task, result)
            return
        if task.transfer is not None:
            self._outlook.transfer_gone(task.transfer)
        if result is None:
            self._end(task, Outcome.LATE, Reason.CANCELLED_DEVICE)
        elif isinstance(result, Exception):
            self._on_note(f"task {task.number}: {result}")
            self._end(task, Outcome.LATE, Reason.FAILED)
        else:
            self._answer(task, task.exit, *result)

    # The link's stage

    def _send(self, task: Task, payload: bytes) -> None:
        assert task.transfer is not None  # planned when the task began
        now = now_ms()
        if not self._connected:
            self._outlook.transfer_gone(task.transfer)
            self._rescue(task, Fallback.LOST)
        elif now + task.transfer.edge_ms + self._link.rtt_ms > task.limit_ms:
            self._outlook.transfer_gone(task.transfer)
            self._end(task, Outcome.LATE, Reason.CANCELLED_UPLINK)
        else:
            assert self._uplink is not None
            number = task.number + 1  # 0 stands for the connection itself
            latest_ms = math.inf
            if self._link.knows_clock:
                latest_ms = self._link.edge_clock(task.limit_ms) - 0.5 * self._link.rtt_ms
            head = submit_head(number, task.partition, task.exit, latest_ms, self._types[task.partition], len(payload))
            self._uplink.send(head, payload)
            task.sent_ms, task.wire_bytes = now, len(head) + len(payload)
            self._outlook.transfer_sent(task.transfer, 8.0 * task.wire_bytes, now)
            self._flights[number] = task
            self._clock.call_at(task.limit_ms + GRACE_MS, lambda: self._stop_waiting(number, task))
            self._watch_for_silence(task)

    def _watch_for_silence(self, task: Task) -> None:
        """Look at the task again at the last moment at which the device could still finish it in time."""
        shortest_ms = min((way.device_ms for way in self._local[task.held_cut]), default=math.inf)
        check_ms = task.arrived_ms + task.deadline_ms - shortest_ms - RESCUE_MARGIN_MS
        if check_ms > task.sent_ms:
            self._clock.call_at(check_ms, lambda: self._check_silence(task))

    def _check_silence(self, task: Task) -> None:
        if task.ended or task.fallback or self._uplink is None:
            return
        away_ms = task.arrived_ms + task.predicted_ms - task.sent_ms
        overdue = now_ms() - task.sent_ms > OVERDUE * away_ms
        if overdue and self._uplink.heard_ms < task.sent_ms:
            self._rescue(task, Fallback.SILENT)

    def _stop_waiting(self, number: int, task: Task) -> None:
        if self._flights.get(number) is task:
            del self._flights[number]
            if task.transfer is not None:
                self._outlook.transfer_gone(task.transfer)
        if not task.ended:
            self._end(task, Outcome.LATE, Reason.NO_ANSWER)

    async def _watch(self) -> None:
        """Notice a dead link, and keep the estimates fresh while nothing else does."""
        patience_ms = max(SILENT_AT_LEAST_MS, SILENT_DEADLINES * self._settings.deadline_ms)
        while True:
            await asyncio.sleep(WATCH_EVERY_MS / 1000.0)
            if not self._connected or self._uplink is None:
                continue
            now = now_ms()
            waiting = [task.sent_ms for task in self._flights.values()] + self._prober.unanswered()
            if waiting and now - max(self._uplink.heard_ms, min(waiting)) > patience_ms:
                self._uplink.give_up(f"nothing heard for {now - self._uplink.heard_ms:.0f} ms")
            elif not waiting:
                self._prober.refresh(now)

    # What the edge says (UplinkUser)

    def edge_connected(self, welcome: Welcome) -> None:
        """Plan anew if the edge is not the one planned with."""
        self._on_note("edge connected")
        self._prober.connected()
        if (welcome.slowdown, welcome.workers) != self._edge:
            self._edge = (welcome.slowdown, welcome.workers)
            self._decider.plan(*self._edge)

    def edge_lost(self, reason: str) -> None:
        """Take back everything that was under way."""
        self._on_note(f"edge lost: {reason}")
        self._link.forget()
        flights, self._flights = self._flights, {}
        for task in flights.values():
            if task.transfer is not None:
                self._outlook.transfer_gone(task.transfer)
            if not task.ended and not task.fallback:
                self._rescue(task, Fallback.LOST)

    def edge_answered(self, task: int, answer: Answer) -> None:
        """Learn from an answer and end its task."""
        now = now_ms()
        flight = self._flights.pop(task, None)
        if flight is None or flight.transfer is None:
            return
        self._outlook.transfer_answered(flight.transfer, now, answer.edge_total_ms)
        self._outlook.edge_reported(answer.report, now)
        if flight.ended:
            return
        flight.came_back(now, answer, 0.5 * self._link.rtt_ms)
        if answer.status is Status.DONE:
            self._answer(flight, flight.exit, answer.class_index, answer.confidence)
        elif not flight.fallback:
            self._end(flight, Outcome.LATE, Reason.CANCELLED_EDGE)

    def edge_refused(self, task: int, refuse: Refuse) -> None:
        """Finish a refused task here."""
        self._on_note(f"edge refused: {refuse.text}")
        flight = self._flights.pop(task, None)
        if flight is None:
            return
        if flight.transfer is not None:
            self._outlook.transfer_gone(flight.transfer)
        if not flight.ended and not flight.fallback:
            self._rescue(flight, Fallback.REFUSED)

    def edge_ponged(self, sequence: int, clock_ms: float, report: LoadReport) -> None:
        """Learn from a ping's answer."""
        now = now_ms()
        self._prober.ponged(sequence, now, clock_ms)
        self._outlook.edge_reported(report, now)

    # Endings

    def _rescue(self, task: Task, why: Fallback) -> None:
        """The edge failed a task: finish it here from the tensors at hand, before what is queued."""
        task.fallback = why
        best = self._best_local(task, self._compute.running_left_ms(now_ms()))
        if best is None:
            self._end(task, Outcome.LATE, Reason.NO_EXIT_IN_TIME)
        else:
            self._finish_here(task, best, urgent=True)

    def _best_local(self, task: Task, wait_ms: float) -> LocalFinish | None:
        """The best exit that still meets the deadline on this device after waiting."""
        left_ms = task.arrived_ms + task.deadline_ms - now_ms() - wait_ms
        cut = task.held_cut
        feasible = [way for way in self._local[cut] if way.device_ms + self._building_ms(cut, way.exit) <= left_ms]
        return max(feasible, default=None)

    def _building_ms(self, cut: int, exit_: int) -> float:
        return self._build_ms("finish", cut, exit_) if self._build_ms is not None else 0.0

    def _finish_here(self, task: Task, best: LocalFinish, urgent: bool) -> None:
        def work(started_ms: float) -> tuple[int, float] | None:
            too_late = started_ms + best.device_ms > task.limit_ms
            return None if task.ended or too_late else self._compute_exit(task, best.exit, best.device_ms)

        def done(result: Any) -> None:
            if task.ended:
                return
            if isinstance(result, tuple):
                self._answer(task, best.exit, *result)
            else:
                self._end(task, Outcome.LATE, Reason.FAILED if result else Reason.NO_EXIT_IN_TIME)

        self._compute.submit(Job(best.device_ms, work, done), urgent)

    def _answer(self, task: Task, exit_: int, class_index: int, confidence: float) -> None:
        if not task.ended:
            task.answer(now_ms(), exit_, class_index, confidence)
            self._close_task(task)

    def _end(self, task: Task, outcome: Outcome, reason: Reason) -> None:
        task.end(outcome, reason)
        self._close_task(task)

    def _close_task(self, task: Task) -> None:
        self._decider.learn(task)
        self._log.write(task.record(self._start_ms))
        self._on_task(task)
        self._open -= 1
        if self._open == 0:
            self._finished.set()
