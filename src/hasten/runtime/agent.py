"""The device agent: decides each task at its arrival, computes, sends, and ends every task in exactly one outcome.

Three stages overlap: the processor serves tasks in order, the link carries frames, the edge answers. Everything but
computing happens in one event loop, so the agent's state needs no locks. When the edge fails, tasks are finished here
from the tensors at hand, through the best exit that still meets the deadline.

The agent is wiring: what it believes of link and edge is in ``estimate``, ``edge_times`` and ``outlook``, decisions in
``deciding``, the processor's work in ``stages``, frames under way in ``flights``, failing over in ``rescue``, and what
happens at a task's end in ``endings``.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hasten.core.decision import Scheduler
from hasten.core.profile import Profile
from hasten.runtime.compute import Runner
from hasten.runtime.deciding import AgentSettings, Choice, Decider
from hasten.runtime.edge_times import EdgeTimes
from hasten.runtime.endings import Endings, Teller
from hasten.runtime.estimate import LinkEstimate
from hasten.runtime.flights import Flights
from hasten.runtime.machine import Machine, real_machine
from hasten.runtime.outlook import Outlook
from hasten.runtime.planning import FAILED, PLANNING, Planner
from hasten.runtime.probing import Prober, probe_bytes
from hasten.runtime.rescue import Punctuality, Rescue
from hasten.runtime.stages import DeviceStage, reason_of
from hasten.runtime.tasklog import TaskLog
from hasten.runtime.tasks import Arrival, Fallback, Outcome, Reason, Task
from hasten.runtime.trials import Avoidance, Trials
from hasten.runtime.uplink import Uplink
from hasten.runtime.wire import Answer, LoadReport, Refuse, Status, Welcome, submit_overhead_bytes
from hasten.split.executor import Executor
from hasten.split.package import Package

SILENT_AT_LEAST_MS = 500.0
SILENT_DEADLINES = 3.0
"""With a ping unanswered and nothing heard for so many deadlines (at least the above), the link counts as dead."""
SLOW_LINK_MS = 5000.0
"""A link that is busy with own frames may be silent for as long as they take, and at most so much longer."""
WATCH_EVERY_MS = 50.0
DRAIN_S = 1.0
"""An agent that is asked to end waits so long for the tasks that it has."""
TRIAL_DEADLINES, TRIAL_MS = 10.0, 5000.0
"""A trial's answer is of interest for so many deadlines, at least the latter."""


class DeviceAgent:
    """One stream of tasks on one device. Create it inside a running event loop; ``close`` it in the end.

    Attributes:
        failure: what the scheduler did wrong, in words, if it did; Greedy has decided since.
    """

    def __init__(
        self,
        package: Package,
        runner: Runner,
        scheduler: Scheduler,
        settings: AgentSettings,
        connect: Callable[[DeviceAgent], Uplink] | None,
        profile: Profile | None = None,
        on_note: Callable[[str], None] | None = None,
        machine: Machine | None = None,
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
            machine: clock, processor and helper; by default this computer's.

        Raises:
            InputError: the scheduler refuses this network, gain or stream.
        """
        self._settings = settings
        self._profile = profile or package.profile
        self._machine = machine or real_machine()
        self._clock = self._machine.clock
        self._teller = Teller(on_note)
        self._link, self._times, self._punctuality = LinkEstimate(), EdgeTimes(), Punctuality()
        self._outlook = Outlook(self._link)
        cuts = package.manifest.cuts
        specs = [list(cut.tensors) for cut in cuts]
        self._frame_bits = [8.0 * (cut.payload_bytes + submit_overhead_bytes(cut.tensors)) for cut in cuts]
        self._classes = package.manifest.classes
        planner = Planner(scheduler, self._machine.helper, self._teller.tell)
        self._planner = planner
        build_ms = runner.build_ms if isinstance(runner, Executor) else None
        beliefs = self._link, self._times, self._outlook
        self._decider = Decider(planner, self._profile, settings, *beliefs, build_ms)
        self._stage = DeviceStage(self._machine, runner, self._profile, settings.slowdown, specs, build_ms)
        self._endings = Endings(self._teller, self._decider.learn)
        self._rescue = Rescue(self._clock, self._stage, self._endings, self._punctuality)
        self._flights = Flights(self._clock, *beliefs, self._punctuality, specs, self._no_answer)
        self._trials, self._avoidance = Trials(settings.deadline_ms), Avoidance()
        self._edge = (1.0, 1)
        self._uplink = connect(self) if connect else None
        may_offload = any(p < self._profile.exits[e - 1].after_block for e, p in self._decider.usable())
        link = self._uplink, self._link, self._outlook
        self._prober = Prober(self._clock, *link, probe_bytes(self._profile), may_offload)
        self._arrivals: Iterator[Arrival] = iter(())
        self._start_ms = 0.0
        self._run = 0

    @property
    def failure(self) -> str | None:
        """What the scheduler did wrong, in words, if it did; Greedy has decided since."""
        return self._planner.failure

    def usable(self) -> list[tuple[int, int]]:
        """The (exit, partition) pairs that the scheduler may choose: what the runner has to have ready."""
        return self._decider.usable()

    async def prepare(self) -> None:
        """Connect, measure the link, and reset the scheduler with what was learned."""
        if self._uplink is not None:
            if await self._uplink.start():
                await self._prober.warm_up()
            elif self._uplink.trouble == "not connected yet":
                self._teller.tell("edge not reached yet; working alone until it is")
        self._decider.plan(*self._edge)

    async def run(
        self,
        arrivals: Iterable[Arrival],
        start_ms: float,
        log: TaskLog,
        on_task: Callable[[Task], object] | None = None,
    ) -> None:
        """Take the tasks of ``arrivals`` (times from ``start_ms``) and return when each has its outcome, logged.

        Arrivals are taken one by one, so they may be endless. When cancelled, no more are taken, and tasks that have
        arrived get a second to end.
        """
        self._run += 1
        self._arrivals, self._start_ms = iter(arrivals), start_ms
        self._endings.begin(start_ms, log, on_task)
        self._await_next(self._run, 0)
        watch = asyncio.create_task(self._watch())
        try:
            await self._endings.all_ended.wait()
        except asyncio.CancelledError:
            await self._drain()
            raise
        finally:
            watch.cancel()

    async def _drain(self) -> None:
        """Take no more tasks, and see those through that are here."""
        self._run += 1
        self._endings.no_more()
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._endings.all_ended.wait()
        except TimeoutError:
            for task in list(self._endings.open.values()):
                self._endings.end(task, Outcome.LATE, Reason.STOPPED)

    def take_over(self, scheduler: Scheduler) -> None:
        """Have another scheduler decide from the next task on; :class:`InputError` if it is not for this network."""
        self._decider.take_over(scheduler)

    async def close(self) -> None:
        """Disconnect and end the threads."""
        if self._uplink is not None:
            await self._uplink.close()
        await self._machine.close()

    # Arrivals and decisions

    def _await_next(self, run: int, number: int) -> None:
        """Have the next task decided when it arrives."""
        arrival = next(self._arrivals, None)
        if arrival is None:
            self._endings.no_more()
        else:
            self._clock.call_at(self._start_ms + arrival.at_ms, lambda: self._arrive(run, number, arrival))

    def _arrive(self, run: int, number: int, arrival: Arrival) -> None:
        if run != self._run:
            return  # asked to end meanwhile
        now = self._clock.now_ms()
        arrived_ms = self._start_ms + arrival.at_ms
        decider = self._decider
        task = Task(number, arrival, arrived_ms, self._settings.deadline_ms, arrived_ms + decider.limit_ms)
        self._endings.arrived(task)
        task.parts["wake"] = now - arrived_ms
        task.tensors = [arrival.frame]
        awake_ms = max(arrived_ms + self._profile.task_ms - now, 0.0)
        usable = self._usable(now)
        self._outlook.update(now, usable, max(self._stage.backlog_ms(now), awake_ms))
        choice = decider.decide(now - self._start_ms)
        task.decision_us, task.facts, task.choice = decider.decision_us, decider.facts, choice
        if choice is not None:
            task.option, task.exit, task.partition = choice.option, choice.exit, choice.partition
            task.predicted_ms = now - arrived_ms + choice.latency_ms
        self._note_decision(task, now)
        self._follow(task, choice, usable, now)
        self._await_next(run, number + 1)

    def _follow(self, task: Task, choice: Choice | None, usable: bool, now: float) -> None:
        """Do what was decided, as far as it makes sense."""
        if not usable and (choice is None or choice.offloads):
            self._decide_alone(task, Fallback.UNREACHABLE)
        elif choice is None:
            self._drop(task, Reason.SCHEDULER)
        elif task.arrived_ms + task.predicted_ms <= task.limit_ms:
            self._begin(task, choice, now)
        elif choice.offloads and now + choice.planned_ms <= task.limit_ms:
            self._decide_alone(task, Fallback.LATE)  # the scheduler could not know
        else:
            self._drop(task, Reason.EXPIRED)
        if usable and (choice is None or not choice.offloads):
            self._learn_more(task, choice, now)

    def _note_decision(self, task: Task, now: float) -> None:
        """For the log: what the scheduler saw, and what it has to tell, of which each kind is told in words once."""
        task.seen = {"now_ms": now - self._start_ms} | self._outlook.seen()
        task.note = note = self._decider.note
        if note is not None and note not in (PLANNING, FAILED):
            self._teller.once(note, f"task {task.number}: {note}; greedy decides while that is so")

    def _drop(self, task: Task, why: Reason) -> None:
        task.exit = task.partition = 0
        self._endings.end(task, Outcome.DROPPED, why)

    def _decide_alone(self, task: Task, why: Fallback) -> None:
        """What was meant for the edge, or given up for lack of it, is done here as well as time allows."""
        best = self._stage.best_way(task, urgent=False)
        if best is None:
            self._drop(task, Reason.EXPIRED)
            return
        task.exit, task.partition, task.fallback = best.exit, best.after_block, why

        def done(result: Any) -> None:
            if isinstance(result, tuple):
                self._endings.answer(task, self._clock.now_ms(), best.exit, *result)
            else:
                self._end(task, reason_of(result))

        self._stage.finish(task, best, False, done)

    def _usable(self, now: float) -> bool:
        """Whether anything should be sent: connected, heard of, and not left alone for a while."""
        connected = self._uplink is not None and self._uplink.connected
        return connected and self._link.knows_clock and not self._avoidance.avoids(now)

    # The device's stage

    def _begin(self, task: Task, choice: Choice, seen_ms: float) -> None:
        """Queue the device's part; the link's part is planned with it."""
        queued_ms = self._clock.now_ms()
        task.parts["decide"] = queued_ms - seen_ms
        rest_ms = 0.0
        if choice.offloads:
            rest_ms = choice.edge_ms + self._decider.rtt_ms
            ready_ms = queued_ms + self._outlook.device_wait_ms + choice.device_ms
            edge_ms = self._times.service_ms(self._decider.profiled_edge_ms(choice.option))
            task.transfer = self._outlook.plan_transfer(self._frame_bits[choice.partition], ready_ms, edge_ms)
        self._stage.begin(task, choice, rest_ms, self._computed)

    def _computed(self, task: Task, result: Any) -> None:
        """The device's part is done, cancelled (None) or failed."""
        task.device_done_ms = self._clock.now_ms()
        if isinstance(result, bytes):
            self._send(task, result)
            return
        offloads = task.transfer is not None
        if task.transfer is not None:
            self._outlook.transfer_gone(task.transfer)
        if isinstance(result, tuple):
            self._endings.answer(task, task.device_done_ms, task.exit, *result)
        elif result is not None:
            if not task.ended:
                self._teller.tell(f"task {task.number}: {result}")
            self._end(task, reason_of(result))
        elif offloads:
            self._rescue.now(task, Fallback.LATE, Reason.CANCELLED_DEVICE)
        else:
            self._end(task, Reason.CANCELLED_DEVICE)

    # The link's stage

    def _send(self, task: Task, payload: bytes) -> None:
        assert task.transfer is not None and task.choice is not None  # planned when the task began
        now = self._clock.now_ms()
        if task.ended or not self._usable(now):
            self._outlook.transfer_gone(task.transfer)
            self._rescue.now(task, Fallback.LOST, Reason.NO_EXIT_IN_TIME)
        elif now + task.choice.edge_ms + self._decider.rtt_ms > task.limit_ms:
            self._outlook.transfer_gone(task.transfer)
            self._rescue.now(task, Fallback.LATE, Reason.CANCELLED_UPLINK)
        else:
            assert self._uplink is not None  # usable
            self._prober.ahead(now)
            profiled_ms = self._decider.profiled_edge_ms(task.option)
            cut, exit_ = task.partition, task.exit
            self._flights.send(self._uplink, payload, cut, exit_, task.limit_ms, task.transfer, profiled_ms, task)
            self._rescue.watch(task)

    def _no_answer(self, task: Task) -> None:
        self._end(task, Reason.NO_ANSWER)

    async def _watch(self) -> None:
        """Notice a dead link, and keep the estimates as fresh as they need to be."""
        patience_ms = max(SILENT_AT_LEAST_MS, SILENT_DEADLINES * self._settings.deadline_ms)
        while True:
            await asyncio.sleep(WATCH_EVERY_MS / 1000.0)
            if self._uplink is None or not self._uplink.connected:
                continue
            now = self._clock.now_ms()
            self._flights.expire(now)
            self._prober.watch(now, self._flights.any)
            oldest_ms = self._prober.oldest_ms()
            if oldest_ms is not None:
                silent_ms = now - max(self._uplink.heard_ms, oldest_ms)
                if silent_ms > patience_ms + min(self._outlook.link_wait_ms(now), SLOW_LINK_MS):
                    self._uplink.give_up(f"nothing heard for {now - self._uplink.heard_ms:.0f} ms")

    def _learn_more(self, task: Task, choice: Choice | None, now: float) -> None:
        """A task stays here: where a better edge might have had it, find out whether the edge is better by now."""
        distrusted = self._times.slower or self._outlook.held_up
        if not distrusted:
            self._trials.trusted()
        if distrusted and self._trials.due(now):
            if self._decider.better_elsewhere(choice):
                self._try_edge(task, now)
        elif self._prober.may_want(now) and self._decider.better_elsewhere(choice):
            self._prober.wanted(now)

    def _try_edge(self, task: Task, now: float) -> None:
        """Send a copy of the task's input for the sake of the times in its answer."""
        self._trials.sent(now)
        option = self._decider.whole_network
        bits, rate = self._frame_bits[0], self._link.rate_bits_per_ms
        profiled_ms = self._decider.profiled_edge_ms(option)
        if rate <= 0 or bits / rate > self._settings.deadline_ms or not task.tensors:
            self._times.forget()  # too dear: the next task that would go there is the trial
            return
        transfer = self._outlook.plan_transfer(bits, now, self._times.service_ms(profiled_ms))

        def encoded(result: Any) -> None:
            if isinstance(result, bytes) and self._uplink is not None and self._uplink.connected:
                sent_ms = self._clock.now_ms()
                limit_ms = sent_ms + max(TRIAL_DEADLINES * self._settings.deadline_ms, TRIAL_MS)
                exit_ = len(self._profile.exits)
                self._flights.send(self._uplink, result, 0, exit_, limit_ms, transfer, profiled_ms, None)
            else:
                self._outlook.transfer_gone(transfer)

        self._stage.encode(task, encoded)

    # What the edge says (UplinkUser)

    def edge_connected(self, welcome: Welcome) -> None:
        """Plan anew if the edge is not the one planned with."""
        self._teller.tell("edge connected")
        self._link.forget()
        self._prober.connected(welcome.workers)
        self._flights.workers = welcome.workers
        if (welcome.slowdown, welcome.workers) != self._edge:
            self._edge = (welcome.slowdown, welcome.workers)
            self._times.forget()
            self._decider.plan(*self._edge)

    def edge_lost(self, reason: str) -> None:
        """Take back everything that was under way."""
        self._teller.tell(f"edge lost: {reason}")
        now = self._clock.now_ms()
        self._outlook.disconnected(now)
        self._prober.disconnected()
        flights = self._flights.lost()
        self._link.forget()
        if flights:
            self._avoidance.failed(now)
        for flight in flights:
            if flight.task is not None:
                self._rescue.now(flight.task, Fallback.LOST, Reason.NO_EXIT_IN_TIME)

    def edge_unreachable(self, reason: str) -> None:
        """Say why there is no connection."""
        self._teller.tell(f"edge not reached ({reason}); working alone until it is")

    def edge_answered(self, task: int, answer: Answer) -> None:
        """Learn from an answer and end its task."""
        flight = self._flights.answered(task, answer)
        if flight is None:
            return
        self._avoidance.answered()
        waits = flight.task
        if waits is None:
            if self._times.service_ms(flight.profiled_ms) > 2.0 * max(answer.service_ms, flight.profiled_ms):
                self._trials.promising()
            return
        if waits.ended:
            return
        waits.came_back(self._clock.now_ms(), answer, 0.5 * self._link.rtt_ms)
        if answer.status is Status.LATE:
            self._rescue.now(waits, Fallback.LATE, Reason.CANCELLED_EDGE)
        elif answer.status is Status.INVALID:
            self._end(waits, Reason.INVALID)
        elif self._possible(waits, answer):
            waits.fallback = None
            self._endings.answer(
                waits, self._clock.now_ms(), waits.exit, answer.class_index, min(answer.confidence, 1.0)
            )
        else:
            self._teller.once("bad answer", f"task {waits.number}: got an answer that cannot be true ({answer})")
            self._rescue.now(waits, Fallback.BAD_ANSWER, Reason.BAD_ANSWER)

    def _possible(self, task: Task, answer: Answer) -> bool:
        """Whether an answer can be one to this task."""
        sound = math.isfinite(answer.confidence) and 0.0 <= answer.confidence <= 1.0001
        known = answer.status is Status.DONE and answer.exit == task.exit
        return known and sound and answer.class_index < self._classes

    def edge_refused(self, task: int, refuse: Refuse) -> None:
        """Finish a refused task here."""
        self._teller.once(f"refused {refuse.text}", f"edge refused: {refuse.text}")
        flight = self._flights.refused(task)
        if flight is not None and flight.task is not None:
            self._rescue.now(flight.task, Fallback.REFUSED, Reason.NO_EXIT_IN_TIME)

    def edge_ponged(self, sequence: int, clock_ms: float, report: LoadReport) -> None:
        """Learn from a ping's answer."""
        now = self._clock.now_ms()
        self._prober.ponged(sequence, now, clock_ms, report)
        self._outlook.edge_reported(report, now)

    def _end(self, task: Task, why: Reason) -> None:
        """A task that was begun ends without an answer."""
        self._endings.end(task, Outcome.INVALID if why is Reason.INVALID else Outcome.LATE, why)
