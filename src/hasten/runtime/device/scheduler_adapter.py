"""The agent's head: what a scheduler is told and shown on a device, its decisions, and what it learns of them."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hasten.core.calibration import LOCAL, SENT, Curves, prior_shares
from hasten.core.decision import Context, Scheduler, Selective
from hasten.core.estimators import REPLAN_LEAST_MS, REPLAN_SHARE, SOONER_SHARE, has_moved
from hasten.core.gain import useful_until_ms
from hasten.core.options import DROP
from hasten.core.profile import Profile
from hasten.core.task_log import Facts, Seen
from hasten.core.timing import ON_TIME_TOLERANCE_MS, predict_latency
from hasten.runtime.device.beliefs import Beliefs
from hasten.runtime.device.chosen_option import ChosenOption
from hasten.runtime.device.deadlines import DeadlineSchedulers, PlannedScheduler
from hasten.runtime.device.known_options import KnownOptions
from hasten.runtime.device.own_view import OwnView
from hasten.runtime.device.scheduler_host import START_PATIENCE_MS, SchedulerHost
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.device.tasks import Fallback, Reason, Task
from hasten.runtime.device.ways import BuildTime


class SchedulerAdapter:
    """Keeps the facts that a scheduler plans with, and the one view (B = 1) that is filled anew for each decision.

    Round trip and service times are those measured now. The scheduler is told new ones, and begins anew, when they are
    no longer what it plans with; what it chose is judged by those of this moment in any case.

    Attributes:
        decision_us: how long the last decision took.
        facts: what the scheduler of the last decision was told beforehand, for the log: with that and the view each
            decision can be made again.
    """

    def __init__(
        self,
        host: SchedulerHost,
        profile: Profile,
        settings: AgentSettings,
        beliefs: Sequence[Beliefs],
        build_ms: BuildTime | None = None,
    ) -> None:
        """``beliefs`` are by edge; one where there is none."""
        self.decision_us = 0.0
        self.facts: Facts
        self._profile, self._settings = profile, settings
        self._own = PlannedScheduler(host, settings.deadline_ms)
        self._by_deadline = DeadlineSchedulers(self._own, self._begin)
        self._asked = self._own
        self._beliefs, self._build_ms = beliefs, build_ms
        self._curves = Curves(prior_shares(len(beliefs)))
        self._plans = self._version = 0
        self._last_ms = 0.0
        self._edge_slowdowns, self._workers = [1.0] * len(beliefs), [1] * len(beliefs)
        self._plan(START_PATIENCE_MS)

    def plan(self, edge: int, slowdown: float, workers: int) -> None:
        """An edge is another one, or not as before: have the scheduler begin anew with what is known of it."""
        self._edge_slowdowns[edge], self._workers[edge] = slowdown, workers
        self._beliefs[edge].backlogs.planned_for(workers)
        self._plan()

    def begin(self) -> None:
        """Have the scheduler plan with what is known before the first task."""
        for beliefs, workers in zip(self._beliefs, self._workers, strict=True):
            beliefs.backlogs.planned_for(workers)
        self._plan()

    async def rehearse(self) -> None:
        """Have the scheduler compile what it needs, before the first task."""
        await self._own.host.rehearse(self._own_view.view)

    def _plan(self, patience_ms: float | None = None) -> None:
        s, beliefs = self._settings, self._beliefs[0]
        now = self._now = KnownOptions(self._profile, s, self._beliefs, self._edge_slowdowns, self._build_ms)
        self._planned = beliefs.rtt_ms, now.device_ms, now.edge_ms
        self._compared, self._moved_ms = (now.device_ms, now.edge_ms), 0.0
        self._table = replace(now.profiled, device_ms=now.device_ms[None], edge_ms=now.edge_ms[None])
        self._context = Context(
            options=self._table,
            deadline_ms=np.array([s.deadline_ms]),
            rate_hz=np.array([s.rate_hz]),
            gain_terms=s.gain_terms,
            rtt_ms=beliefs.rtt_ms,
            workers=self._workers[0],
            shared_uplink=s.shared_uplink,
            streams=s.streams,
            seeds=np.array([s.seed * s.streams + s.stream]),
            arrivals=(s.arrivals,) if s.arrivals is not None else (),
            uplink_bits_per_ms=s.uplink_bits_per_ms,
            from_devices=True,
        )
        self._best_worth = float(self._table.worth[0][now.sent].max(initial=-math.inf))
        self._own_view = OwnView(self._beliefs, self._workers, s.streams, self._curves)
        self._facts = Facts(
            plan=0,
            from_ms=0.0,
            rtt_ms=self._context.rtt_ms,
            workers=self._workers[0],
            edge_slowdown=self._edge_slowdowns[0] * beliefs.edge.factor,
            further_edge_slowdowns=tuple(
                slowdown * further.edge.factor
                for slowdown, further in zip(self._edge_slowdowns[1:], self._beliefs[1:], strict=True)
            ),
            slowdown=s.slowdown * beliefs.device.runs.factor,
            rate_hz=s.rate_hz,
            stream=s.stream,
            streams=s.streams,
            shared_uplink=s.shared_uplink,
            gain_terms=s.gain_terms,
            energy_weight_per_mj=s.energy_weight_per_mj,
        )
        self._version += 1
        self._begin(self._own, patience_ms)

    def _begin(self, planned: PlannedScheduler, patience_ms: float | None = None) -> None:
        """Tell a scheduler what is known."""
        planned.begin(self._context, self._new_facts(), self._version, patience_ms)

    def take_over(self, scheduler: Scheduler) -> None:
        """Have ``scheduler`` decide from now on; one that refuses this device's network changes nothing."""
        self._own.host.take_over(scheduler)
        self._own.forget_outcomes()
        self._own.begun(self._new_facts())
        self._by_deadline.forget()

    def _new_facts(self) -> Facts:
        """The facts of one more plan; a scheduler's time begins at 0, or the first gap between tasks would be long."""
        self._plans += 1
        return replace(self._facts, plan=self._plans, from_ms=self._last_ms)

    @property
    def known(self) -> KnownOptions:
        """The options with what they are believed to need now."""
        return self._now

    @property
    def note(self) -> str | None:
        """What it had to tell of the last decision, if anything, or why Greedy decided in its place."""
        return self._asked.note

    @property
    def planned_for_ms(self) -> float:
        """The deadline that it is planned with."""
        return self._asked.deadline_ms

    @property
    def failure(self) -> str | None:
        """What a scheduler did wrong, in words, if one did; Greedy has decided in its place since."""
        return self._own.host.failure or self._by_deadline.failure()

    def usable(self) -> list[tuple[int, int]]:
        """The (exit, partition) pairs that the scheduler may choose, as far as it tells."""
        scheduler, table = self._own.host.scheduler, self._table
        columns = scheduler.usable()[0] if isinstance(scheduler, Selective) else range(int(table.count[0]))
        pairs = [(int(table.exit[0, j]), int(table.partition[0, j])) for j in columns]
        return list(dict.fromkeys(pairs))  # edges have the same ones

    def seen(self, now_ms: float) -> Seen:
        """What the last decision saw, for the log; ``now_ms`` counts from the start of the run."""
        return self._own_view.logged(now_ms)

    def profiled_edge_ms(self, option: int) -> float:
        """The profiled service time of an option at its edge, uncorrected."""
        return float(self._now.profiled.edge_ms[0, option])

    def profiled_segment_ms(self, edge: int, partition: int, exit_: int) -> float:
        """The same of what an edge does from ``partition`` to ``exit_``."""
        return float(self._now.profiled.edge_ms[0, self._now.option(edge, exit_, partition)])

    def whole_network(self, edge: int) -> int:
        """The option that computes all up to the last exit at this edge."""
        return self._now.option(edge, len(self._profile.exits), 0)

    def limit_ms(self, deadline_ms: float) -> float:
        """Latency beyond which an answer is worthless to a task with this deadline."""
        return float(useful_until_ms(deadline_ms, self._context.gain_terms.fade)) + ON_TIME_TOLERANCE_MS

    def decide(self, now_ms: float, deadline_ms: float) -> ChosenOption | None:
        """Show the backlogs to the scheduler; None is a task that it drops. ``now_ms`` counts from the start."""
        if self._moved():
            self._plan()
        asked = self._asked = self._by_deadline.of(deadline_ms, self._version)
        self.facts = asked.facts
        if asked.deadline_ms != deadline_ms:  # to readers of the log, a plan has one deadline
            self._plans += 1
            self.facts = replace(asked.facts, plan=self._plans)
        self._last_ms = now_ms
        asked.tell()
        view = self._own_view.fill(max(asked.deadline_ms - deadline_ms, 0.0))
        started = time.perf_counter()
        option = asked.decide(view, now_ms)
        self.decision_us = (time.perf_counter() - started) * 1e6
        return None if option == DROP else self._choice(option, deadline_ms)

    def prepare(self) -> None:
        """Reckon now what options need by the last measurements, which the next decision would have to."""
        self._moved()

    def _moved(self) -> bool:
        """Whether round trip or service times have changed noticeably since they were planned with."""
        rtt_ms, device_ms, edge_ms = self._planned
        if has_moved(self._beliefs[0].rtt_ms, rtt_ms, self._settings.deadline_ms):
            return True
        least_ms = max(REPLAN_LEAST_MS, REPLAN_SHARE * self._settings.deadline_ms)
        present = self._now.device_ms, self._now.edge_ms  # the same arrays until more was measured
        if present[0] is not self._compared[0] or present[1] is not self._compared[1]:
            self._compared = present
            self._moved_ms = float(max(np.abs(present[0] - device_ms).max(), np.abs(present[1] - edge_ms).max()))
        return self._moved_ms > least_ms

    def learn(self, task: Task) -> None:
        """Learn how far predictions hold, and keep the outcome for a scheduler that learns, told before it decides.

        What an answer of another kind than was decided, found here, says of the prediction is that it did not hold; its
        accuracy is what was saved. Beside an answer that cannot be true nothing was: such an edge is not worth asking.
        Of a task that was not sent because the edge had asked to wait there is nothing to learn: no promise was tried.
        """
        choice = task.decided
        held_back = task.fallback is Fallback.REFUSED and task.wire_bytes == 0
        told = not held_back and task.reason not in (Reason.STOPPED, Reason.WITHDRAWN)
        if choice is not None and choice.promised is not None and told:
            in_time = task.latency_ms <= self.limit_ms(task.deadline_ms)
            saved = 0.0
            if in_time and choice.accuracy > 0.0 and task.fallback is not Fallback.BAD_ANSWER:
                saved = min(self._profile.exits[task.answered_exit - 1].accuracy / choice.accuracy, 1.0)
            self._curves.tell(choice.slack, choice.kind, choice.promised, in_time and task.fallback is None, saved)
        self._by_deadline.learn(task)

    def _choice(self, option: int, deadline_ms: float) -> ChosenOption:
        """The option with its latency by the timing law at the present backlogs and the times measured now."""
        table, edge = self._table, int(self._now.edge[option])
        beliefs, payload_bits = self._beliefs[edge], float(table.payload_bits[0, option])
        device_ms, edge_ms = float(self._now.device_ms[option]), float(self._now.edge_ms[option])
        latency_ms = beliefs.latency_ms(device_ms, payload_bits, edge_ms, beliefs.rtt_ms)
        plan_rtt_ms, plan_device_ms, plan_edge_ms = self._planned
        plan_rtt_ms = plan_rtt_ms if edge == 0 else beliefs.rtt_ms  # of further edges it is shown as it is now
        plan = float(plan_device_ms[option]), payload_bits, float(plan_edge_ms[option])
        planned_ms = beliefs.latency_ms(*plan, plan_rtt_ms)
        # What others may bring on average is a reason to choose otherwise, and none to refuse a task.
        unseen_ms = beliefs.backlogs.unseen_wait_ms if payload_bits > 0 else 0.0
        slack = (self.limit_ms(deadline_ms) - planned_ms - unseen_ms) / deadline_ms
        kind = SENT + edge if payload_bits > 0 else LOCAL
        return ChosenOption(
            option=option,
            exit=int(table.exit[0, option]),
            partition=int(table.partition[0, option]),
            edge=edge,
            device_ms=device_ms,
            edge_ms=edge_ms,
            payload_bits=payload_bits,
            latency_ms=latency_ms,
            planned_ms=planned_ms,
            slack=slack,
            promised=self._curves.promised(slack, kind) if slack >= 0.0 else None,
            accuracy=float(table.accuracy[0, option]),
        )

    def better_at(self, edge: int, choice: ChosenOption | None, deadline_ms: float) -> bool:
        """Whether a better exit could be had in time at an edge if it is idle and its link as fast as may be.

        Then it is worth knowing whether they are; told only of decisions that send nothing there. What a link was so
        far says nothing of what it may become, so a transfer takes no time here. Better than what is sent to another
        edge is also an answer worth the same that is there much sooner.
        """
        table, beliefs = self._table, self._beliefs[edge]
        sent = choice is not None and choice.offloads
        worth = float(table.worth[0, choice.option]) if choice is not None else -math.inf
        if worth >= self._best_worth and not sent:
            return False
        latency_ms = predict_latency(
            beliefs.backlogs.device_wait_ms,
            0.0,
            0.0,
            table.device_ms[0],
            table.payload_bits[0],
            self._now.profiled.edge_ms[0],
            math.inf,
            beliefs.link.rtt_ms + beliefs.offload.ms,
        )
        there = self._now.sent & (self._now.edge == edge)
        better = table.worth[0] > worth
        if choice is not None and sent:
            sooner = latency_ms < choice.latency_ms - SOONER_SHARE * deadline_ms
            better |= sooner & (table.worth[0] >= worth)
        useful = (latency_ms <= deadline_ms) & there & better
        return bool(useful.any())
