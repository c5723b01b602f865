"""An agent's dealings with one edge: what is sent and probed, what comes back, and whether the edge is to be trusted.

The connection itself is the uplink's, frames under way are the flights'. Here their news meet: answers end tasks and
teach, failures hand tasks to the rescue, a silent link is given up, and where the edge is not trusted, trials go out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from hasten.core.errors import HastenError
from hasten.core.ping_schedule import probe_bytes
from hasten.runtime.device.chosen_option import ChosenOption
from hasten.runtime.device.flights import Flights
from hasten.runtime.device.parts import Parts
from hasten.runtime.device.probing import Prober
from hasten.runtime.device.tasks import Fallback, Outcome, Reason, Task
from hasten.runtime.device.trials import Avoidance, Retry, Trials
from hasten.runtime.device.uplink import Uplink, UplinkUser
from hasten.runtime.service_times import Segment
from hasten.runtime.wire.handshake import Refuse, Welcome
from hasten.runtime.wire.load import LoadReport
from hasten.runtime.wire.tasks import EdgeAnswer, Status, submit_overhead_bytes

SILENT_AT_LEAST_MS = 500.0
SILENT_DEADLINES = 3.0
"""With a ping unanswered and nothing heard for so many deadlines (at least the above), the link counts as dead."""
SLOW_LINK_MS = 5000.0
"""A link that is busy with own frames may be silent for as long as they take, and at most so much longer."""
TRIAL_DEADLINES, TRIAL_MS = 10.0, 5000.0
"""A trial's answer is of interest for so many deadlines, at least the latter."""


class Contact:
    """One of an agent's edges, or that there is none; told by its uplink what comes (:class:`UplinkUser`).

    Attributes:
        edge: its number among the agent's edges.
        slowdown: what it said of its speed.
    """

    def __init__(self, parts: Parts, edge: int, connect: Callable[[UplinkUser], Uplink] | None) -> None:
        self.edge = edge
        self._clock, self._settings, self._profile = parts.clock, parts.settings, parts.profile
        self._answers = parts.answers
        self._frame_bits = [8.0 * (cut.payload_bytes + submit_overhead_bytes(cut)) for cut in parts.cuts]
        beliefs = parts.beliefs[edge]
        self._link, self._times, self._backlogs = beliefs.link, beliefs.edge, beliefs.backlogs
        self._beliefs, self._offload = beliefs, beliefs.offload
        self._adapter, self._stage = parts.adapter, parts.stage
        self._rescue, self._endings, self._teller = parts.rescue, parts.endings, parts.teller
        wants = parts.answers.wants_outputs, parts.profile.confidence is not None
        self._flights = Flights(
            self._clock, beliefs, parts.punctuality[edge], parts.cuts, wants, parts.endings.unanswered
        )
        self._trials, self._avoidance, self._retry = Trials(parts.settings.deadline_ms), Avoidance(), Retry()
        self.slowdown, self._workers, self._where = 1.0, 1, ""
        self._several = len(parts.beliefs) > 1
        self._uplink = connect(self) if connect else None
        if self._uplink is not None:
            self._uplink.limits = parts.answers.limits
        exits = parts.profile.exits
        may_offload = any(p < exits[e - 1].after_block for e, p in parts.adapter.usable())
        link = self._uplink, self._link, self._backlogs
        self._prober = Prober(self._clock, *link, probe_bytes(parts.profile), may_offload)

    async def connect(self) -> None:
        """Begin to keep a connection; waits for the first attempt, if that does not take long."""
        uplink = self._uplink
        if uplink is not None and not await uplink.start() and uplink.trouble == "not connected yet":
            self._teller.edge("unreachable", f"{self._name} not reached yet; {self._without} until it is")

    async def warm_up(self) -> None:
        """Measure the link, if there is one."""
        if self.connected:
            await self._prober.warm_up()

    @property
    def _name(self) -> str:
        return f"edge {self._uplink.where}" if self._several and self._uplink is not None else "edge"

    @property
    def _without(self) -> str:
        """What is done while it is not there."""
        return "left out" if self._several else "working alone"

    @property
    def answers(self) -> int:
        """How many of its answers taught how long it takes."""
        return self._times.calls()

    async def close(self) -> None:
        """Disconnect."""
        if self._uplink is not None:
            await self._uplink.close()

    @property
    def where(self) -> str | None:
        """What the edge is called; None where there is none."""
        return None if self._uplink is None else self._uplink.where

    @property
    def connected(self) -> bool:
        """Whether the edge has welcomed this device on the present connection."""
        return self._uplink is not None and self._uplink.connected

    def reachable(self, now: float) -> bool:
        """Whether frames may be sent: connected, heard of, and not left alone for a while after it failed."""
        return self.connected and self._link.knows_clock and not self._avoidance.avoids(now)

    def usable(self, now: float, deadline_ms: float = math.inf) -> bool:
        """Whether a task with this deadline should be sent: not while it has asked to wait, if there are others."""
        return self.reachable(now) and not (self._several and self._retry.holds(now, deadline_ms))

    def asked_to_wait(self, task: Task, now: float) -> bool:
        """Whether the edge has said that it is too early for such a task, which can be answered here as well."""
        return self._retry.holds(now, task.deadline_ms) and self._stage.best_way(task, urgent=False) is not None

    def plan(self, task: Task, choice: ChosenOption, queued_ms: float) -> float:
        """A task is to be sent there; returns how long what follows the device's part should take."""
        ready_ms = queued_ms + self._backlogs.device_wait_ms + choice.device_ms
        profiled_ms = self._adapter.profiled_edge_ms(choice.option)
        edge_ms = self._times.service_ms((choice.partition, choice.exit), profiled_ms)
        task.transfer = self._backlogs.plan_transfer(self._frame_bits[choice.partition], ready_ms, edge_ms)
        task.planned_rate_bits_per_ms = self._backlogs.rate_bits_per_ms
        return choice.edge_ms + self._beliefs.rtt_ms

    def send(self, task: Task, payload: bytes) -> None:
        """Hand a task's frame to the link, if it still makes sense."""
        assert task.transfer is not None and task.choice is not None  # planned when the task began
        now = self._clock.now_ms()
        if task.ended or not self.reachable(now):
            self._backlogs.transfer_gone(task.transfer)
            self._rescue.now(task, Fallback.LOST, Reason.NO_EXIT_IN_TIME)
        elif now + task.choice.edge_ms + self._beliefs.rtt_ms > task.limit_ms:
            self._backlogs.transfer_gone(task.transfer)
            self._rescue.now(task, Fallback.LATE, Reason.CANCELLED_UPLINK)
        else:
            assert self._uplink is not None  # reachable
            task.link_idle = self._backlogs.link_idle()
            self._prober.ahead(now)
            profiled_ms = self._adapter.profiled_edge_ms(task.choice.option)
            cut, exit_ = task.partition, task.exit
            limit_ms = task.limit_ms - 0.5 * self._offload.ms  # handling on the way back
            self._flights.send(self._uplink, payload, cut, exit_, limit_ms, task.transfer, profiled_ms, task)
            self._rescue.watch(task)
            self._adapter.prepare()  # while the edge is at work

    def look(self) -> None:
        """Now and then: notice a dead link, and keep the estimates as fresh as they need to be."""
        if self._uplink is None or not self._uplink.connected:
            return
        now = self._clock.now_ms()
        self._flights.expire(now)
        self._prober.watch(now, self._flights.any)
        oldest_ms = self._prober.oldest_ms()
        if oldest_ms is not None:
            patience_ms = max(SILENT_AT_LEAST_MS, SILENT_DEADLINES * self._settings.deadline_ms)
            silent_ms = now - max(self._uplink.heard_ms, oldest_ms)
            if silent_ms > patience_ms + min(self._backlogs.link_wait_ms(now), SLOW_LINK_MS):
                self._uplink.give_up(f"nothing heard for {now - self._uplink.heard_ms:.0f} ms")

    def learn_more(self, task: Task, choice: ChosenOption | None, now: float) -> None:
        """A task does not go there: where it might have been better off, find out whether the edge is better by now."""
        distrusted = self._times.slower or self._backlogs.held_up
        if not distrusted:
            self._trials.trusted()
        if distrusted and self._trials.due(now):
            if self._adapter.better_at(self.edge, choice, task.deadline_ms):
                self._try_edge(task, now)
        elif self._prober.may_want(now) and self._adapter.better_at(self.edge, choice, task.deadline_ms):
            self._prober.wanted(now)

    def _try_edge(self, task: Task, now: float) -> None:
        """Send a copy of the task's input for the sake of the times in its answer."""
        self._trials.sent(now)
        option = self._adapter.whole_network(self.edge)
        bits, rate = self._frame_bits[0], self._link.rate_bits_per_ms
        profiled_ms, exit_ = self._adapter.profiled_edge_ms(option), len(self._profile.exits)
        if rate <= 0 or bits / rate > self._settings.deadline_ms or task.ended:
            self._times.forget()  # too dear: the next task that would go there is the trial
            return
        transfer = self._backlogs.plan_transfer(bits, now, self._times.service_ms((0, exit_), profiled_ms))

        def encoded(result: Any) -> None:
            if isinstance(result, bytes) and self._uplink is not None and self._uplink.connected:
                sent_ms = self._clock.now_ms()
                limit_ms = sent_ms + max(TRIAL_DEADLINES * self._settings.deadline_ms, TRIAL_MS)
                self._flights.send(self._uplink, result, 0, exit_, limit_ms, transfer, profiled_ms, None)
            else:
                self._backlogs.transfer_gone(transfer)

        self._stage.encode(task, 0, encoded)

    def edge_connected(self, welcome: Welcome) -> None:
        """Plan anew if the edge is not the one planned with."""
        assert self._uplink is not None  # it tells
        another = self._where not in ("", self._uplink.where)
        self._where = self._uplink.where
        self._teller.edge(
            "connected", f"another edge connected, {self._where}" if another else f"{self._name} connected"
        )
        self._link.forget()
        self._prober.connected(welcome.workers)
        self._flights.workers = welcome.workers
        self._retry = Retry()  # what it asked for may have been before it was started again
        if another:
            self._avoidance = Avoidance()
        if another or (welcome.slowdown, welcome.workers) != (self.slowdown, self._workers):
            self.slowdown, self._workers = welcome.slowdown, welcome.workers
            self._times.forget()
            self._offload.forget()
            self._adapter.plan(self.edge, self.slowdown, self._workers)

    def edge_lost(self, reason: str) -> None:
        """Take back everything that was under way."""
        self._teller.edge("lost", f"{self._name} lost: {reason}")
        now = self._clock.now_ms()
        self._backlogs.disconnected(now)
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
        self._teller.edge("unreachable", f"{self._name} not reached ({reason}); {self._without} until it is")

    def edge_answered(self, task: int, answer: EdgeAnswer) -> None:
        """Learn from an answer and end its task."""
        flight = self._flights.answered(task, answer, self._stopped_ms)
        if flight is None:
            return
        self._avoidance.answered()
        waits = flight.task
        if waits is None:
            believed_ms = self._times.service_ms(flight.segment, flight.profiled_ms)
            if believed_ms > 2.0 * max(answer.service_ms, flight.profiled_ms):
                self._trials.promising()
            return
        now = self._clock.now_ms()
        if answer.retry_ms:  # 0: nothing is said
            self._retry.refused(now + answer.retry_ms - self._link.rtt_ms, waits.time_ms)
        if waits.ended:
            return
        waits.came_back(now, answer, 0.5 * self._link.rtt_ms)
        if waits.link_idle and waits.planned_rate_bits_per_ms > 0:
            transfer_ms = 8.0 * waits.wire_bytes / waits.planned_rate_bits_per_ms
            self._offload.took(now - waits.sent_ms - answer.edge_total_ms - self._link.rtt_ms - transfer_ms)
        if answer.status is Status.LATE:
            self._rescue.now(waits, Fallback.LATE, Reason.CANCELLED_EDGE)
        elif answer.status is Status.INVALID:
            self._endings.end(waits, Outcome.INVALID, Reason.INVALID)
        else:
            try:
                found = self._answers.read(waits.exit, answer, self._stops(waits.partition, waits.exit))
            except HastenError as error:
                self._teller.once("bad answer", f"task {waits.number}: got an answer that cannot be true ({error})")
                self._rescue.now(waits, Fallback.BAD_ANSWER, Reason.BAD_ANSWER)
            else:
                waits.fallback, waits.answered_by = waits.moved, self._where
                self._endings.answer(waits, self._clock.now_ms(), waits.partition, found)
                self._adapter.prepare()

    def _stops(self, partition: int, exit_: int) -> list[int]:
        """The exits on an edge's way from ``partition`` to ``exit_`` at which a task may stop."""
        return self._profile.passed(partition, self._stage.after_block(exit_), exit_)

    def _stopped_ms(self, segment: Segment, exit_: int) -> float | None:
        """What an edge needs for ``segment`` as profiled when the task stops at ``exit_``; None: it may not."""
        partition, last = segment
        return (
            self._adapter.profiled_segment_ms(self.edge, partition, exit_)
            if exit_ in self._stops(partition, last)
            else None
        )

    def edge_refused(self, task: int, refuse: Refuse) -> None:
        """Finish a refused task here."""
        kind = "".join(letter for letter in refuse.text if not letter.isdigit())
        self._teller.once(f"refused {kind}", f"{self._name} refused: {refuse.text}")
        flight = self._flights.refused(task)
        if refuse.retry_ms:
            self._retry.refused(self._clock.now_ms() + refuse.retry_ms - self._link.rtt_ms, math.inf)
        if flight is not None and flight.task is not None:
            self._rescue.now(flight.task, Fallback.REFUSED, Reason.NO_EXIT_IN_TIME)

    def edge_ponged(self, sequence: int, clock_ms: float, report: LoadReport) -> None:
        """Learn from a ping's answer."""
        now = self._clock.now_ms()
        self._prober.ponged(sequence, now, clock_ms, report)
        self._backlogs.edge_reported(report, now)
