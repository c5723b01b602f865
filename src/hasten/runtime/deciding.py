"""The agent's head: what a scheduler is told and shown on a device, its decisions, and what it learns of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hasten.core.arrivals import Arrivals
from hasten.core.decision import (
    DEAD_LINK_BITS_PER_MS,
    Context,
    Noting,
    Observer,
    Outcomes,
    Scheduler,
    Selective,
    View,
    useful_limit_ms,
)
from hasten.core.errors import InputError
from hasten.core.options import DROP, OptionTable, StreamCosts, option_table
from hasten.core.profile import ExitHead, Profile
from hasten.core.timing import predict_latency
from hasten.runtime.estimate import LinkEstimate
from hasten.runtime.outlook import Outlook
from hasten.runtime.tasks import Task

BuildTime = Callable[[str, int, int], float]
"""(kind, partition, exit) of a segment -> milliseconds that its call takes longer because it is not held."""


@dataclass(frozen=True)
class AgentSettings:
    """What an agent is told about its stream; the rest it measures or hears from the edge."""

    deadline_ms: float
    rate_hz: float
    """Nominal arrival rate, for schedulers that plan with it."""
    slowdown: float = 1.0
    """This device plays a machine so many times slower."""
    gain_terms: tuple[float, float, float] = (0.0, 0.0, 0.0)
    energy_weight_per_mj: float = 0.0
    seed: int = 0
    stream: int = 0
    streams: int = 1
    shared_uplink: bool = True
    arrivals: Arrivals | None = None
    """The arrival process, where it is known."""
    uplink_bits_per_ms: float | None = None
    """The link's rate, where it is known never to change."""

    def __post_init__(self) -> None:
        if not self.slowdown >= 1.0:
            raise InputError("device", "slowdown", self.slowdown, "at least 1 (a machine cannot be made faster)")
        if not 0 < self.deadline_ms < math.inf:
            raise InputError("device", "deadline_ms", self.deadline_ms, "a number above 0")


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen option and what it costs."""

    option: int
    exit: int
    partition: int
    device_ms: float
    edge_ms: float
    payload_bits: float
    latency_ms: float
    """Predicted from the decision on."""

    @property
    def offloads(self) -> bool:
        """Whether anything is sent."""
        return self.payload_bits > 0


class Decider:
    """Holds the scheduler, its context and the one view (B = 1) that is filled anew for each decision.

    Attributes:
        decision_us: how long the scheduler took for the last decision.
        note: what it had to tell of the last decision, if anything.
        facts: what it was told beforehand, for the log: with that and the view each decision can be made again.
        limit_ms: latency beyond which an answer is worthless.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        profile: Profile,
        settings: AgentSettings,
        link: LinkEstimate,
        outlook: Outlook,
        build_ms: BuildTime | None = None,
    ) -> None:
        self.decision_us = 0.0
        self._scheduler, self._profile, self._settings = scheduler, profile, settings
        self._link, self._outlook = link, outlook
        self._build_ms = build_ms
        self.note: str | None = None
        self._notes: dict[str, int] = {}
        self._outcomes: list[tuple[int, float, float]] = []
        self._plans = 0
        self._last_ms = 0.0
        self._from_ms = 0.0
        self.plan(edge_slowdown=1.0, workers=1)

    def plan(self, edge_slowdown: float, workers: int) -> None:
        """Build context and view for the edge as it is known now, and reset the scheduler."""
        s = self._settings
        self._table = option_table([StreamCosts(self._profile, s.slowdown, edge_slowdown, s.energy_weight_per_mj)])
        if self._build_ms is not None:
            self._table = _with_building(self._table, self._profile, self._build_ms)
        self._context = Context(
            options=self._table,
            deadline_ms=np.array([s.deadline_ms]),
            rate_hz=np.array([s.rate_hz]),
            gain_terms=s.gain_terms,
            rtt_ms=self._link.rtt_ms + self._profile.offload_ms,
            workers=workers,
            shared_uplink=s.shared_uplink,
            streams=s.streams,
            seeds=np.array([s.seed * s.streams + s.stream]),
            arrivals=(s.arrivals,) if s.arrivals is not None else (),
            uplink_bits_per_ms=s.uplink_bits_per_ms,
        )
        self.limit_ms = float(useful_limit_ms(self._context)[0])
        self._view = View(
            row=np.zeros(1, np.int64),
            now_ms=np.zeros(1),
            stream=np.zeros(1, np.int64),
            device_wait_ms=np.zeros(1),
            uplink_wait_ms=np.zeros(1),
            edge_wait_ms=np.zeros((1, workers)),
            rate_bits_per_ms=np.zeros(1),
            others_wait_ms=np.zeros((1, s.streams)),
        )
        self._outlook.reconnected(workers)
        self.facts: dict[str, Any] = {
            "plan": self._plans,
            "rtt_ms": self._context.rtt_ms,
            "workers": workers,
            "edge_slowdown": edge_slowdown,
            "slowdown": s.slowdown,
            "rate_hz": s.rate_hz,
            "stream": s.stream,
            "streams": s.streams,
            "shared_uplink": s.shared_uplink,
            "gain_terms": list(s.gain_terms),
            "energy_weight_per_mj": s.energy_weight_per_mj,
        }
        self.take_over(self._scheduler)

    def take_over(self, scheduler: Scheduler) -> None:
        """Have ``scheduler`` decide from now on; one that refuses this device's network changes nothing."""
        scheduler.reset(self._context)
        if scheduler is not self._scheduler:
            self._outcomes = []  # those of another's decisions
        self._scheduler = scheduler
        self._noting = scheduler if isinstance(scheduler, Noting) else None
        self._observer = scheduler if isinstance(scheduler, Observer) else None
        self._notes = {}
        self._plans += 1
        self._from_ms = self._last_ms  # a scheduler's time begins at 0, or the first gap between tasks would be long
        self.facts = self.facts | {"plan": self._plans, "from_ms": self._from_ms}

    def usable(self) -> list[tuple[int, int]]:
        """The (exit, partition) pairs that the scheduler may choose, as far as it tells."""
        scheduler, table = self._scheduler, self._table
        columns = scheduler.usable()[0] if isinstance(scheduler, Selective) else range(int(table.count[0]))
        return [(int(table.exit[0, j]), int(table.partition[0, j])) for j in columns]

    @property
    def rtt_ms(self) -> float:
        """The round trip that decisions reckon with."""
        return self._context.rtt_ms

    def decide(self, now_ms: float) -> Choice | None:
        """Show the outlook to the scheduler; None is a task that it drops. ``now_ms`` counts from the start."""
        outlook, view = self._outlook, self._view
        self._last_ms = now_ms
        view.now_ms[0] = now_ms - self._from_ms
        view.device_wait_ms[0] = outlook.device_wait_ms
        view.uplink_wait_ms[0] = outlook.uplink_wait_ms
        view.edge_wait_ms[0] = outlook.edge_wait_ms
        view.rate_bits_per_ms[0] = outlook.rate_bits_per_ms
        view.others_wait_ms[0, 0] = outlook.device_wait_ms  # the view's stream is 0, whichever of the run's it is
        self._tell()
        started = time.perf_counter()
        option = int(self._scheduler.decide(view).option[0])
        self.decision_us = (time.perf_counter() - started) * 1e6
        self.note = self._new_note()
        return None if option == DROP else self._choice(option)

    def _new_note(self) -> str | None:
        """What the scheduler counted at the last decision."""
        if self._noting is None:
            return None
        before, self._notes = self._notes, self._noting.notes(0)
        return next((name for name, count in self._notes.items() if count > before.get(name, 0)), None)

    def learn(self, task: Task) -> None:
        """Keep a task's outcome for a scheduler that learns from them; told before the next decision."""
        if self._observer is not None and task.option != DROP:
            self._outcomes.append((task.option, task.device_done_ms - task.arrived_ms, task.latency_ms))

    def _tell(self) -> None:
        if self._observer is not None and self._outcomes:
            option, device_done_ms, latency_ms = zip(*self._outcomes, strict=True)
            self._outcomes = []
            first = np.zeros(len(option), np.int64)
            self._observer.observe(
                Outcomes(first, first, np.array(option), np.array(device_done_ms), np.array(latency_ms))
            )

    def _choice(self, option: int) -> Choice:
        """The option with its latency by the timing law at the present outlook."""
        table, outlook = self._table, self._outlook
        device_ms = float(table.device_ms[0, option])
        payload_bits = float(table.payload_bits[0, option])
        edge_ms = float(table.edge_ms[0, option])
        latency_ms = float(
            predict_latency(
                outlook.device_wait_ms,
                outlook.uplink_wait_ms,
                outlook.edge_wait_ms[0],
                device_ms,
                payload_bits,
                edge_ms,
                max(outlook.rate_bits_per_ms, DEAD_LINK_BITS_PER_MS),
                self._context.rtt_ms,
            )
        )
        exit_, partition = int(table.exit[0, option]), int(table.partition[0, option])
        return Choice(option, exit_, partition, device_ms, edge_ms, payload_bits, latency_ms)


def _with_building(table: OptionTable, profile: Profile, build_ms: BuildTime) -> OptionTable:
    """The options with what building a segment that the device cannot keep adds to each call."""

    def extra(exit_: int, partition: int) -> float:
        if partition == profile.exits[exit_ - 1].after_block:
            return build_ms("finish", 0, exit_)
        return build_ms("prefix", partition, 0) if partition else 0.0

    device_ms = table.device_ms.copy()
    for j in range(int(table.count[0])):
        device_ms[0, j] += extra(int(table.exit[0, j]), int(table.partition[0, j]))
    return replace(table, device_ms=device_ms)


@dataclass(frozen=True, slots=True, order=True)
class LocalFinish:
    """One way to finish on the device; the largest is the most accurate, then the slowest."""

    accuracy: float
    device_ms: float
    exit: int
    after_block: int


def local_finishes(profile: Profile, slowdown: float) -> list[list[LocalFinish]]:
    """For each partition the ways to finish on the device from there."""
    ends_ms = np.concatenate([[0.0], np.cumsum([block.device_ms for block in profile.blocks])])

    def way(p: int, number: int, head: ExitHead) -> LocalFinish:
        device_ms = float(ends_ms[head.after_block] - ends_ms[p] + head.device_ms) * slowdown
        return LocalFinish(head.accuracy, device_ms, number, head.after_block)

    return [
        [way(p, number, head) for number, head in enumerate(profile.exits, start=1) if head.after_block >= p]
        for p in range(len(profile.blocks) + 1)
    ]
