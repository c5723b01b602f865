"""The agent's head: what a scheduler is told and shown on a device, its decisions, and what it learns of them."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np

from hasten.core.calibration import Curves, Shares
from hasten.core.decision import (
    DEAD_LINK_BITS_PER_MS,
    Context,
    Outcomes,
    Scheduler,
    Selective,
    View,
    useful_limit_ms,
)
from hasten.core.options import DROP, StreamCosts, option_table
from hasten.core.profile import Profile
from hasten.core.task_log import Facts
from hasten.core.timing import predict_latency
from hasten.runtime.device.backlog_estimate import BacklogEstimator
from hasten.runtime.device.chosen_option import ChosenOption
from hasten.runtime.device.edge_times import EdgeTimes
from hasten.runtime.device.estimate import LinkEstimate
from hasten.runtime.device.scheduler_host import START_PATIENCE_MS, SchedulerHost
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.device.tasks import Reason, Task
from hasten.runtime.device.ways import BuildTime, with_building

REPLAN_LEAST_MS, REPLAN_SHARE, REPLAN_TRIP_SHARE = 2.0, 0.04, 0.1
"""A scheduler begins anew when times beside its plan differ by this, this share of the deadline and of the trip."""


class SchedulerAdapter:
    """Keeps the facts that a scheduler plans with, and the one view (B = 1) that is filled anew for each decision.

    Round trip and service times are those measured now. The scheduler is told new ones, and begins anew, when they are
    no longer what it plans with; what it chose is judged by those of this moment in any case.

    Attributes:
        decision_us: how long the last decision took.
        note: what the scheduler had to tell of it, if anything, or why Greedy decided in its place.
        facts: what the scheduler was told beforehand, for the log: with that and the view each decision can be made
            again.
        limit_ms: latency beyond which an answer is worthless.
    """

    def __init__(
        self,
        host: SchedulerHost,
        profile: Profile,
        settings: AgentSettings,
        link: LinkEstimate,
        edge_times: EdgeTimes,
        backlogs: BacklogEstimator,
        build_ms: BuildTime | None = None,
    ) -> None:
        self.decision_us = 0.0
        self.note: str | None = None
        self._host, self._profile, self._settings = host, profile, settings
        self._link, self._times, self._backlogs = link, edge_times, backlogs
        self._build_ms = build_ms
        self._notes: dict[str, int] = {}
        self._outcomes: list[tuple[int, float, float]] = []
        self._curves = Curves()
        self._plans = 0
        self._last_ms = 0.0
        self._from_ms = 0.0
        self._edge_slowdown, self._workers = 1.0, 1
        self._plan(START_PATIENCE_MS)

    def plan(self, edge_slowdown: float, workers: int) -> None:
        """Another edge, or the same again: have the scheduler begin anew with what is known of it."""
        self._edge_slowdown, self._workers = edge_slowdown, workers
        self._backlogs.planned_for(workers)
        self._plan()

    async def rehearse(self) -> None:
        """Have the scheduler compile what it needs, before the first task."""
        await self._host.rehearse(self._view)

    def _plan(self, patience_ms: float | None = None) -> None:
        s, factor = self._settings, self._times.factor
        self._planned = self.rtt_ms, factor
        costs = [StreamCosts(self._profile, s.slowdown, self._edge_slowdown, s.energy_weight_per_mj)]
        self._profiled_ms = option_table(costs).edge_ms[0]
        self._longest_ms = float(self._profiled_ms.max())
        costs = [StreamCosts(self._profile, s.slowdown, self._edge_slowdown * factor, s.energy_weight_per_mj)]
        self._table = option_table(costs)
        if self._build_ms is not None:
            self._table = with_building(self._table, self._profile, self._build_ms)
        self._context = Context(
            options=self._table,
            deadline_ms=np.array([s.deadline_ms]),
            rate_hz=np.array([s.rate_hz]),
            gain_terms=s.gain_terms,
            rtt_ms=self.rtt_ms,
            workers=self._workers,
            shared_uplink=s.shared_uplink,
            streams=s.streams,
            seeds=np.array([s.seed * s.streams + s.stream]),
            arrivals=(s.arrivals,) if s.arrivals is not None else (),
            uplink_bits_per_ms=s.uplink_bits_per_ms,
        )
        offloads = self._table.payload_bits[0] > 0
        self._best_worth = float(self._table.worth[0][offloads].max(initial=-math.inf))
        self.limit_ms = float(useful_limit_ms(self._context)[0])
        self._view = View(
            row=np.zeros(1, np.int64),
            now_ms=np.zeros(1),
            stream=np.zeros(1, np.int64),
            device_wait_ms=np.zeros(1),
            uplink_wait_ms=np.zeros(1),
            edge_wait_ms=np.zeros((1, self._workers)),
            rate_bits_per_ms=np.zeros(1),
            others_wait_ms=np.zeros((1, s.streams)),
            kept_share=self._curves.share,
        )
        self.facts = Facts(
            plan=self._plans,
            from_ms=0.0,
            rtt_ms=self._context.rtt_ms,
            workers=self._workers,
            edge_slowdown=self._edge_slowdown * factor,
            slowdown=s.slowdown,
            rate_hz=s.rate_hz,
            stream=s.stream,
            streams=s.streams,
            shared_uplink=s.shared_uplink,
            gain_terms=s.gain_terms,
            energy_weight_per_mj=s.energy_weight_per_mj,
        )
        self._host.begin(self._context, patience_ms)
        self._begun()

    def take_over(self, scheduler: Scheduler) -> None:
        """Have ``scheduler`` decide from now on; one that refuses this device's network changes nothing."""
        self._host.take_over(scheduler)
        self._outcomes = []  # those of another's decisions
        self._begun()

    def _begun(self) -> None:
        self._notes = {}
        self._plans += 1
        self._from_ms = self._last_ms  # a scheduler's time begins at 0, or the first gap between tasks would be long
        self.facts = replace(self.facts, plan=self._plans, from_ms=self._from_ms)

    def usable(self) -> list[tuple[int, int]]:
        """The (exit, partition) pairs that the scheduler may choose, as far as it tells."""
        scheduler, table = self._host.scheduler, self._table
        columns = scheduler.usable()[0] if isinstance(scheduler, Selective) else range(int(table.count[0]))
        return [(int(table.exit[0, j]), int(table.partition[0, j])) for j in columns]

    @property
    def kept_share(self) -> Shares:
        """The stream's calibration curves, local and offloaded, as they are now."""
        return self._curves.shares

    @property
    def rtt_ms(self) -> float:
        """What an offloaded task spends beside its stages, as measured now: round trip, handling, slower services."""
        return max(self._link.rtt_ms + self._profile.offload_ms + self._times.extra_ms, 0.0)

    def profiled_edge_ms(self, option: int) -> float:
        """The profiled service time of an option at this edge, uncorrected."""
        return float(self._profiled_ms[option])

    @property
    def whole_network(self) -> int:
        """The option that computes all up to the last exit at the edge."""
        return self._table.index(0, int(self._table.exit[0].max()), 0)

    def decide(self, now_ms: float) -> ChosenOption | None:
        """Show the backlogs to the scheduler; None is a task that it drops. ``now_ms`` counts from the start."""
        if self._moved():
            self._plan()
        self._tell()
        return self._ask(now_ms)

    def _moved(self) -> bool:
        """Whether round trip or service times have changed noticeably since they were planned with."""
        rtt_ms, factor = self._planned
        least_ms = max(REPLAN_LEAST_MS, REPLAN_SHARE * self._settings.deadline_ms)
        longest_ms = abs(self._times.factor - factor) * self._longest_ms
        return longest_ms > least_ms or abs(self.rtt_ms - rtt_ms) > max(least_ms, REPLAN_TRIP_SHARE * rtt_ms)

    def _ask(self, now_ms: float) -> ChosenOption | None:
        backlogs, view = self._backlogs, self._view
        self._last_ms = now_ms
        view.now_ms[0] = now_ms - self._from_ms
        view.device_wait_ms[0] = backlogs.device_wait_ms
        view.uplink_wait_ms[0] = backlogs.uplink_wait_ms
        view.edge_wait_ms[0] = backlogs.edge_wait_ms
        view.rate_bits_per_ms[0] = backlogs.rate_bits_per_ms
        view.others_wait_ms[0, 0] = backlogs.device_wait_ms  # the view's stream is 0, whichever of the run's it is
        started = time.perf_counter()
        option = self._host.decide(view)
        self.decision_us = (time.perf_counter() - started) * 1e6
        self.note = self._host.note or self._new_note()
        return None if option == DROP else self._choice(option)

    def _new_note(self) -> str | None:
        """What the scheduler counted at the last decision."""
        if not self._host.noting:
            return None
        before, self._notes = self._notes, self._host.notes()
        return next((name for name, count in self._notes.items() if count > before.get(name, 0)), None)

    def learn(self, task: Task) -> None:
        """Learn how far predictions hold, and keep the outcome for a scheduler that learns, told before it decides.

        What an answer of another kind than was decided, found here, says of the prediction is that it did not hold.
        """
        choice = task.choice
        if choice is not None and choice.slack >= 0.0 and task.reason is not Reason.STOPPED:
            on_time = task.fallback is None and task.latency_ms <= self.limit_ms
            self._curves.tell(choice.slack, choice.offloads, on_time)
        if self._host.observes and task.option != DROP:
            self._outcomes.append((task.option, task.device_done_ms - task.arrived_ms, task.latency_ms))

    def _tell(self) -> None:
        if self._outcomes:
            option, device_done_ms, latency_ms = zip(*self._outcomes, strict=True)
            self._outcomes = []
            first = np.zeros(len(option), np.int64)
            self._host.observe(Outcomes(first, first, np.array(option), np.array(device_done_ms), np.array(latency_ms)))

    def _choice(self, option: int) -> ChosenOption:
        """The option with its latency by the timing law at the present backlogs and the times measured now."""
        table, backlogs = self._table, self._backlogs
        device_ms = float(table.device_ms[0, option])
        payload_bits = float(table.payload_bits[0, option])
        edge_ms = self._times.factor * float(self._profiled_ms[option])
        rate = max(backlogs.rate_bits_per_ms, DEAD_LINK_BITS_PER_MS)
        waits = backlogs.device_wait_ms, backlogs.uplink_wait_ms, backlogs.edge_wait_ms[0]
        latency_ms = float(predict_latency(*waits, device_ms, payload_bits, edge_ms, rate, self.rtt_ms))
        planned_ms, (rtt_ms, factor) = latency_ms, self._planned
        if payload_bits > 0 and (rtt_ms != self.rtt_ms or factor != self._times.factor):
            planned_edge_ms = factor * float(self._profiled_ms[option])
            planned_ms = float(predict_latency(*waits, device_ms, payload_bits, planned_edge_ms, rate, rtt_ms))
        slack = (self.limit_ms - planned_ms) / self._settings.deadline_ms
        return ChosenOption(
            option=option,
            exit=int(table.exit[0, option]),
            partition=int(table.partition[0, option]),
            device_ms=device_ms,
            edge_ms=edge_ms,
            payload_bits=payload_bits,
            latency_ms=latency_ms,
            planned_ms=planned_ms,
            slack=slack,
            promised=self._curves.promised(slack, payload_bits > 0) if slack >= 0.0 else None,
            accuracy=float(table.accuracy[0, option]),
        )

    def better_elsewhere(self, choice: ChosenOption | None) -> bool:
        """Whether a better exit could be had in time over an idle link and edge that are as fast as they may be.

        Then it is worth knowing whether they are; told only of decisions that keep a task on the device.
        """
        s, table = self._settings, self._table
        worth = float(table.worth[0, choice.option]) if choice is not None else -math.inf
        if worth >= self._best_worth or self._link.best_rate_bits_per_ms <= 0:
            return False
        latency_ms = predict_latency(
            self._backlogs.device_wait_ms,
            0.0,
            0.0,
            table.device_ms[0],
            table.payload_bits[0],
            self._profiled_ms,
            self._link.best_rate_bits_per_ms,
            self._link.rtt_ms + self._profile.offload_ms,
        )
        useful = (latency_ms <= s.deadline_ms) & (table.payload_bits[0] > 0) & (table.worth[0] > worth)
        return bool(useful.any())
