"""The device agent: decides each task at its arrival, computes, sends, and ends every task in exactly one outcome.

Three stages overlap: the processor serves tasks in order, the link carries frames, the edge answers. Everything but
computing happens in one event loop, so the agent's state needs no locks. When the edge fails, tasks are finished here
from the tensors at hand, through the best exit that still meets the deadline.

The agent is wiring: what it believes of its machine, the link and the edge is in ``beliefs``, decisions in
``scheduler_adapter``, the processor's work in ``stages``, dealings with edges in ``contacts``, frames under way in
``flights``, failing over in ``rescue``, and what happens at a task's end in ``endings``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from hasten.core.decision import Scheduler
from hasten.core.profile import Profile
from hasten.runtime.device.beliefs import beliefs_of_edges
from hasten.runtime.device.chosen_option import ChosenOption
from hasten.runtime.device.compute import DeviceRunner
from hasten.runtime.device.contacts import Connect, Contacts
from hasten.runtime.device.departures import Departures
from hasten.runtime.device.edge_answers import EdgeAnswers
from hasten.runtime.device.endings import Endings, Teller
from hasten.runtime.device.events import EdgeListener
from hasten.runtime.device.known_arrivals import Replay
from hasten.runtime.device.learnt_profile import learnt_profile
from hasten.runtime.device.machine import Machine, real_machine
from hasten.runtime.device.parts import Parts
from hasten.runtime.device.rescue import Punctuality, Rescue
from hasten.runtime.device.scheduler_adapter import SchedulerAdapter
from hasten.runtime.device.scheduler_host import FAILED, PLANNING, SchedulerHost
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.device.stages import DeviceStage, reason_of
from hasten.runtime.device.tasklog import TaskLog
from hasten.runtime.device.tasks import Arrival, Fallback, Outcome, Reason, Task
from hasten.runtime.device.ways import LocalFinish
from hasten.runtime.outputs import ExitAnswer
from hasten.split.executor import Executor
from hasten.split.package import Package


class DeviceAgent:
    """One stream of tasks on one device. Create it inside a running event loop; ``close`` it in the end.

    Attributes:
        failure: what the scheduler did wrong, in words, if it did; Greedy has decided since.
    """

    def __init__(
        self,
        package: Package,
        runner: DeviceRunner,
        scheduler: Scheduler,
        settings: AgentSettings,
        connect: Connect | Sequence[Connect] | None,
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
            connect: makes the uplink to the edge, or (several) to each edge to choose from; None works without one.
            profile: replaces the package's own profile; tasks may stop early (``core.confidence``) where it says so.
            on_note: told, in words, when connections to edges come and go.
            machine: clock, processor and helper; by default this computer's.

        Raises:
            InputError: the scheduler refuses this network, gain or stream.
        """
        self._settings = settings
        self._profile = profile or package.profile.stopping(None)
        self._machine = machine or real_machine()
        self._clock = self._machine.clock
        self._teller = Teller(on_note)
        connects = [] if connect is None else [connect] if callable(connect) else list(connect)
        beliefs = self._beliefs = beliefs_of_edges(self._profile, settings.slowdown, len(connects))
        self._device, self._overhead = beliefs[0].device, beliefs[0].task
        punctuality = [Punctuality() for _ in beliefs]
        cuts = package.manifest.cuts
        host = SchedulerHost(scheduler, self._machine.helper, self._teller.tell)
        build_ms = runner.build_ms if isinstance(runner, Executor) else None
        self._adapter = SchedulerAdapter(host, self._profile, settings, beliefs, build_ms)
        answers = EdgeAnswers(package.manifest, settings.wants_outputs)
        self._stage = DeviceStage(self._machine, runner, self._profile, cuts, self._device, answers.reader, build_ms)
        self._endings = Endings(self._teller, Departures(beliefs, self._adapter, self._teller).learn)
        rescue = Rescue(self._clock, self._stage, self._endings, punctuality)
        parts = Parts(
            clock=self._clock,
            settings=settings,
            profile=self._profile,
            answers=answers,
            cuts=cuts,
            beliefs=beliefs,
            punctuality=punctuality,
            adapter=self._adapter,
            stage=self._stage,
            rescue=rescue,
            endings=self._endings,
            teller=self._teller,
        )
        self._contacts, self._rescue = Contacts(parts, connects), rescue
        self._start_ms = 0.0

    @property
    def failure(self) -> str | None:
        """What the scheduler did wrong, in words, if it did; Greedy has decided since."""
        return self._adapter.failure

    def usable(self) -> list[tuple[int, int]]:
        """The (exit, partition) pairs that the scheduler may choose: what the runner has to have ready."""
        return self._adapter.usable()

    async def prepare(self) -> None:
        """Connect, measure the link, and reset the scheduler with what was learned."""
        await self._contacts.start()

    async def run(
        self,
        arrivals: Iterable[Arrival],
        start_ms: float,
        log: TaskLog,
        on_task: Callable[[Task], object] | None = None,
    ) -> None:
        """Take the tasks of ``arrivals`` (times from ``start_ms``) and return when each has its outcome, logged.

        Arrivals are taken one by one, so they may be endless. When cancelled, no more are taken, and tasks that have
        arrived get 0.7 s to end. A source that fails ends the stream, and is raised when all tasks have ended.
        """
        replay = Replay(self._machine.alarm, arrivals, start_ms, self.take, self._endings.no_more)
        async with self.taking(start_ms, log, on_task):
            replay.begin()
            try:
                await self._endings.all_ended.wait()
            finally:
                replay.stop()
        if replay.error is not None:
            raise replay.error

    @asynccontextmanager
    async def taking(
        self, start_ms: float, log: TaskLog, on_task: Callable[[Task], object] | None = None
    ) -> AsyncIterator[None]:
        """Within, tasks may be taken one by one; at the end those that have arrived get 0.7 s to end."""
        self._start_ms = start_ms
        self._endings.begin(start_ms, log, on_task)
        watch = asyncio.create_task(self._contacts.watch())
        try:
            yield
        finally:
            try:
                await self._endings.drain()
            finally:
                watch.cancel()

    def withdraw(self, number: int) -> None:
        """A task is not wanted any more: it ends where it stands, if it has not."""
        task = self._endings.open.get(number)
        if task is not None:
            self._endings.end(task, Outcome.DROPPED, Reason.WITHDRAWN)

    def listen(self, on_edge: EdgeListener) -> None:
        """Have ``on_edge`` told when the edge comes, goes or cannot be reached."""
        self._teller.on_edge = on_edge

    @property
    def edges(self) -> dict[str, bool]:
        """Of each edge, by its name, whether there is a connection."""
        return self._contacts.connections

    def learnt_profile(self) -> Profile:
        """The profile with the times that were measured while running; of several edges at the one used most."""
        edge, slowdown = self._contacts.busiest
        return learnt_profile(self._profile, self._beliefs[edge], slowdown)

    def take_over(self, scheduler: Scheduler) -> None:
        """Have another scheduler decide from the next task on; :class:`InputError` if it is not for this network."""
        self._adapter.take_over(scheduler)

    async def close(self) -> None:
        """Disconnect and end the threads."""
        await self._contacts.close()
        await self._machine.close()

    # Arrivals and decisions

    def take(self, arrival: Arrival, number: int, deadline_ms: float | None = None) -> None:
        """Take a task, which has arrived, decide it and do so. The deadline is by default the stream's."""
        if deadline_ms is None:
            deadline_ms = self._settings.deadline_ms
        now = self._clock.now_ms()
        arrived_ms, adapter = self._start_ms + arrival.at_ms, self._adapter
        task = Task(number, arrival, arrived_ms, deadline_ms, arrived_ms + adapter.limit_ms(deadline_ms))
        self._endings.arrived(task)
        task.parts["wake"] = now - arrived_ms
        task.tensors = list(arrival.frame)
        if self._device.task_arrived():
            self._overhead.forget()
        wait_ms = max(self._stage.backlog_ms(now), arrived_ms + self._overhead.ms - now, 0.0)
        usable = self._contacts.usable(now, deadline_ms)
        for beliefs, there in zip(self._beliefs, usable, strict=True):
            beliefs.backlogs.update(now, there, wait_ms)
        choice = adapter.decide(now - self._start_ms, deadline_ms)
        task.decision_us, task.facts, task.choice = adapter.decision_us, adapter.facts, choice
        task.decided = choice
        task.planned_for_ms = adapter.planned_for_ms
        if choice is not None:
            task.option, task.edge = choice.option, choice.edge
            task.exit, task.partition = choice.exit, choice.partition
            task.predicted_ms = now - arrived_ms + choice.latency_ms
        self._note_decision(task, now)
        self._follow(task, choice, usable, now)

    def _follow(self, task: Task, choice: ChosenOption | None, usable: list[bool], now: float) -> None:
        """Do what was decided, as far as it makes sense; of a task that stays here, for whatever reason, learn more."""
        stays = True
        away = self._contacts.away(choice, usable, now)
        if away is not None:
            self._decide_alone(task, away)
        elif choice is None:
            self._drop(task, Reason.SCHEDULER)
        elif choice.offloads and self._contacts.of(task).asked_to_wait(task, now):
            self._decide_alone(task, Fallback.REFUSED)
        elif task.arrived_ms + task.predicted_ms <= task.limit_ms:
            self._begin(task, choice, now)
            stays = not choice.offloads
        elif choice.planned_ms <= task.limit_ms - task.arrived_ms:  # it could not know of late alarms and latest times
            self._decide_alone(task, Fallback.LATE)
        else:
            self._drop(task, Reason.EXPIRED)
            choice = None  # what is late is worth nothing: a better link may have helped
        self._contacts.learn_more(task, choice, stays, now)

    def _note_decision(self, task: Task, now: float) -> None:
        """For the log: what the scheduler saw, and what it has to tell, of which each kind is told in words once."""
        task.seen = self._adapter.seen(now - self._start_ms)
        task.note = note = self._adapter.note
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

        def done(way: LocalFinish, result: Any) -> None:
            if isinstance(result, ExitAnswer):
                self._endings.answer(task, self._clock.now_ms(), self._stage.after_block(result.exit), result)
            else:
                self._endings.fail(task, reason_of(result))

        self._stage.finish(task, best, False, done)

    # The device's stage

    def _begin(self, task: Task, choice: ChosenOption, seen_ms: float) -> None:
        """Queue the device's part; the link's part is planned with it."""
        queued_ms = self._clock.now_ms()
        task.parts["decide"] = queued_ms - seen_ms
        rest_ms = self._contacts.of(task).plan(task, choice, queued_ms) if choice.offloads else 0.0
        task.device_idle = self._stage.idle
        self._stage.begin(task, choice, rest_ms, self._computed)

    def _computed(self, task: Task, result: Any) -> None:
        """The device's part is done, cancelled (None) or failed."""
        task.device_done_ms = self._clock.now_ms()
        if task.device_idle and isinstance(result, bytes | ExitAnswer):
            self._overhead.took(task.device_overhead_ms)
        if isinstance(result, bytes):
            self._contacts.of(task).send(task, result)
            return
        if task.transfer is not None:
            self._beliefs[task.edge].backlogs.transfer_gone(task.transfer)
        if isinstance(result, ExitAnswer):
            self._endings.answer(task, task.device_done_ms, self._stage.after_block(result.exit), result)
        elif result is not None:
            if not task.ended:
                self._teller.once(type(result).__name__, f"task {task.number}: {result}")
            self._endings.fail(task, reason_of(result))
        else:  # a shorter way may still be in time
            self._rescue.now(task, Fallback.LATE, Reason.CANCELLED_DEVICE)
