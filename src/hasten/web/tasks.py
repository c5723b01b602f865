"""A task as the page shows it, made from a line of a task log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hasten.core.options import DROP
from hasten.core.rates import BITS_PER_MS_PER_MBPS
from hasten.core.task_log import LoggedTask

OUTCOMES = ("on_time", "late", "dropped", "invalid")
"""A task's outcome on the wire is its place in here."""
AT_DECISION = ("expired", "scheduler", "superseded", "withdrawn")
"""Reasons of tasks that end when they arrive."""

Accuracy = Mapping[tuple[int, int], float]
"""Expected accuracy of each (exit, partition) of a stream; empty where it is not known."""


@dataclass(frozen=True, slots=True)
class ShownTask:
    """One task that has ended. Times in ms from the start of the round, waits and durations in ms."""

    number: int
    arrival_ms: float
    ended_ms: float
    deadline_ms: float
    latency_ms: float | None
    """None without an answer."""
    outcome: str
    reason: str
    fallback: str | None
    exit: int
    partition: int
    """What answered; without an answer what was decided. Exit 0: nothing was."""
    worth: float | None
    """1 or 0 where the label is known, else the expected accuracy when on time and 0 when not; None: not known."""
    measured: bool
    promised: float | None
    """The share of tasks like it that are on time, as the device promised at the decision."""
    sent: bool
    """Whether the edge was to do a part."""
    edge: str | None
    """Which of several edges answered."""
    rate_mbps: float
    """The link's rate as the device believed it at the decision,"""
    device_wait_ms: float
    uplink_wait_ms: float
    edge_wait_ms: float
    """and the backlogs."""
    stages: tuple[tuple[str, float], ...]
    """(name, duration) one after the other."""

    @property
    def place(self) -> str:
        """Where it ran: ``device``, ``split`` or ``edge``; ``none`` without a decision."""
        if self.exit == 0:
            return "none"
        return ("split" if self.partition else "edge") if self.sent else "device"


def shown_task(task: LoggedTask, accuracy: Accuracy) -> ShownTask:
    """What the page shows of a logged task of a stream with these accuracies."""
    outcome = task.outcome or ("dropped" if task.latency_ms is None else "on_time")
    answered = task.answered_exit > 0
    exit_ = task.answered_exit if answered else task.exit
    partition = task.partition
    if answered and task.answered_partition is not None:
        partition = task.answered_partition
    parts = task.parts or {}
    reason = task.reason or ""
    return ShownTask(
        number=task.task,
        arrival_ms=task.arrival_ms,
        ended_ms=_ended_ms(task, reason),
        deadline_ms=task.deadline_ms,
        latency_ms=task.latency_ms,
        outcome=outcome,
        reason=reason,
        fallback=task.fallback,
        exit=exit_,
        partition=partition,
        worth=_worth(task, outcome == "on_time", accuracy.get((exit_, partition))),
        measured=task.label is not None,
        promised=task.promised if task.option != DROP else None,
        sent="edge" in parts if answered else task.fallback is None and "encode" in parts,
        edge=task.answered_by if task.seen.further_edges else None,
        rate_mbps=task.seen.rate_bits_per_ms / BITS_PER_MS_PER_MBPS,
        device_wait_ms=task.seen.device_wait_ms,
        uplink_wait_ms=task.seen.uplink_wait_ms,
        edge_wait_ms=min(task.seen.edge_wait_ms),
        stages=tuple(task.stages()),
    )


def _ended_ms(task: LoggedTask, reason: str) -> float:
    """When its outcome was known: what has no answer and went on its way is given up at its deadline."""
    if task.latency_ms is not None:
        return task.arrival_ms + task.latency_ms
    return task.arrival_ms if reason in AT_DECISION else task.arrival_ms + task.deadline_ms


def _worth(task: LoggedTask, on_time: bool, expected: float | None) -> float | None:
    if task.label is not None:
        return float(on_time and bool(task.correct))
    if not on_time:
        return 0.0
    return expected if task.score is None else task.score
