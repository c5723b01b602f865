"""A task's life on a device, and its line in the log: exactly one outcome, with a reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.task_log import Facts, LoggedTask, Seen
from hasten.core.timing import is_on_time
from hasten.runtime.device.backlog_estimate import Transfer
from hasten.runtime.outputs import ExitAnswer, Outputs
from hasten.runtime.wire.tasks import EdgeAnswer
from hasten.split.inputs import Frame

if TYPE_CHECKING:
    from hasten.runtime.device.chosen_option import ChosenOption

Array = NDArray[np.generic]


class Outcome(Enum):
    """How a task ended."""

    ON_TIME = "on_time"
    LATE = "late"
    DROPPED = "dropped"
    INVALID = "invalid"


class Reason(Enum):
    """Why it ended so."""

    ANSWERED = "answered"
    """There is an answer; late if the deadline had passed."""
    EXPIRED = "expired"
    """Dropped at the decision: the chosen option would have been useless by its end."""
    SCHEDULER = "scheduler"
    """Dropped by the scheduler itself."""
    CANCELLED_DEVICE = "cancelled_device"
    """Too late when the device would have started it."""
    CANCELLED_UPLINK = "cancelled_uplink"
    """Too late when it would have been handed to the link."""
    CANCELLED_EDGE = "cancelled_edge"
    """Too late when the edge would have started it."""
    NO_EXIT_IN_TIME = "no_exit_in_time"
    """The edge failed it and no exit could answer on the device before the deadline."""
    NO_ANSWER = "no_answer"
    """The edge neither answered nor failed before the agent stopped waiting."""
    FAILED = "failed"
    """The segment could not be run on the device."""
    INVALID = "invalid"
    """The network's output is not finite: there is no class to tell."""
    BAD_ANSWER = "bad_answer"
    """The edge's answer cannot be true, and no exit could answer on the device before the deadline."""
    STOPPED = "stopped"
    """The agent was ended before."""
    SUPERSEDED = "superseded"
    """A newer frame took its place before it was decided."""
    WITHDRAWN = "withdrawn"
    """Whoever gave the task has taken it back."""


class Fallback(Enum):
    """Why the device finished a task otherwise than was decided."""

    UNREACHABLE = "unreachable"
    """There was no connection when it arrived; exit and partition are those of the device's own choice."""
    LOST = "lost"
    """The connection broke while it was away."""
    SILENT = "silent"
    """The answer was no longer to be expected in time."""
    LATE = "late"
    """Link or edge, or the device's own part at its turn, would have been too late."""
    REFUSED = "refused"
    """The edge did not take it, or had said when to try again and it was too early for that."""
    BAD_ANSWER = "bad_answer"
    """The answer cannot be true: of another exit, of no class, or without a probability."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A task before it arrives: when, relative to the start, and its frame."""

    at_ms: float
    sample: int
    frame: Frame
    """Of each input (1, *input shape)."""
    label: int | None
    judge: Callable[[Outputs], float] | None = None
    """Where the target is known and no class: says how good outputs are, 0 to 1."""


@dataclass(eq=False, slots=True)
class Task:
    """A task on its way. Times are this device's clock in ms, durations ms."""

    number: int
    arrival: Arrival
    arrived_ms: float
    deadline_ms: float
    limit_ms: float
    """Until when an answer is worth anything (this device's clock)."""
    planned_for_ms: float = math.nan
    """The deadline that the scheduler which decided it is planned with."""
    option: int = -1
    exit: int = 0
    partition: int = 0
    edge: int = 0
    """Where the rest was to run, by its number among the device's edges; 0 where all was to run here."""
    predicted_ms: float = math.inf
    decision_us: float = 0.0
    seen: Seen | None = None
    """What the scheduler saw."""
    facts: Facts | None = None
    """What it knew beforehand."""
    note: str | None = None
    """What it had to tell of the decision."""
    tensors: list[Array] = field(default_factory=list)
    """What the device has of it, kept until the outcome is known."""
    held_cut: int = 0
    """The partition point at which the device holds the tensors."""
    decided: ChosenOption | None = None
    """What was decided, and what it should cost."""
    choice: ChosenOption | None = None
    """The same, or what takes its place at another edge."""
    moved: Fallback | None = None
    """Why it goes on at another edge than was decided,"""
    moved_ms: float = 0.0
    """and how long after its arrival."""
    transfer: Transfer | None = None
    planned_rate_bits_per_ms: float = 0.0
    """Of the link to its edge, as it was believed when the task was to be sent."""
    sent_ms: float = math.nan
    device_idle: bool = False
    """Whether it found the device idle when it was queued there,"""
    link_idle: bool = False
    """and the link when it was sent: what it then took beyond its own work and transfer is overhead."""
    device_done_ms: float = math.nan
    wire_bytes: int = 0
    parts: dict[str, float] = field(default_factory=dict)
    fallback: Fallback | None = None
    outcome: Outcome | None = None
    reason: Reason | None = None
    finish_ms: float = math.inf
    answered_exit: int = 0
    answered_partition: int = 0
    """Blocks that ran on the device for this answer; all those before its exit where the device finished it."""
    answered_by: str | None = None
    """The edge that gave the answer; None where the device did, or there is none."""
    class_index: int | None = None
    confidence: float | None = None
    outputs: Outputs = field(default_factory=dict)
    """What the exit that answered gave; empty where an edge was not asked for it."""
    score: float | None = None
    """How good they are, 0 without an answer; None where nobody can tell, and of classes."""

    rescuing: bool = False
    """Whether the device is finishing it after all."""
    held_answer: tuple[int, ExitAnswer] | None = None
    """Partition and what was found here in case the edge's better answer does not come."""

    @property
    def ended(self) -> bool:
        """Whether the outcome is known."""
        return self.outcome is not None

    @property
    def answered(self) -> bool:
        """Whether it ended with an answer."""
        return self.reason is Reason.ANSWERED

    @property
    def latency_ms(self) -> float:
        """From arrival to answer; infinity without one."""
        return self.finish_ms - self.arrived_ms

    @property
    def time_ms(self) -> float:
        """How much time it had when its edge was chosen."""
        return self.deadline_ms - self.moved_ms

    @property
    def device_overhead_ms(self) -> float:
        """What the device's part took beyond its work."""
        worked_ms = self.parts.get("device", 0.0) + self.parts.get("encode", 0.0)
        return self.device_done_ms - self.arrived_ms - worked_ms

    def came_back(self, now_ms: float, answer: EdgeAnswer, half_rtt_ms: float) -> None:
        """Note where the time since sending went; the way back is taken to be half the round trip."""
        network_ms = now_ms - self.sent_ms - answer.edge_total_ms
        downlink_ms = min(half_rtt_ms, network_ms)
        self.parts |= {
            "uplink": network_ms - downlink_ms,
            "edge_queue": answer.queue_us / 1000.0,
            "edge": answer.compute_us / 1000.0,
            "decode": answer.decode_us / 1000.0,
            "downlink": downlink_ms,
        }

    def answer(self, now_ms: float, partition: int, found: ExitAnswer) -> None:
        """An answer is there, with blocks 1..``partition`` run on the device."""
        self.finish_ms, self.answered_partition = now_ms, partition
        self.class_index, self.confidence, self.outputs, self.answered_exit = found
        on_time = bool(is_on_time(self.latency_ms, self.deadline_ms))
        self.end(Outcome.ON_TIME if on_time else Outcome.LATE, Reason.ANSWERED)

    def end(self, outcome: Outcome, reason: Reason) -> None:
        """The one outcome; the tensors are let go."""
        self.outcome, self.reason = outcome, reason
        self.tensors = []

    def be_judged(self) -> None:
        """Find the score of a task that has ended."""
        if self.arrival.judge is not None:
            self.score = self.arrival.judge(self.outputs) if self.answered else 0.0

    def record(self, start_ms: float) -> dict[str, Any]:
        """The task's line in the log."""
        assert self.seen is not None and self.facts is not None  # since its decision
        label = self.arrival.label
        return LoggedTask(
            task=self.number,
            arrival_ms=round(self.arrived_ms - start_ms, 4),
            sample=self.arrival.sample,
            label=label,
            option=self.option,
            exit=self.exit,
            partition=self.partition,
            edge=self.edge,
            predicted_ms=_finite(self.predicted_ms),
            promised=_share(self.decided),
            decision_us=round(self.decision_us, 2),
            note=self.note,
            seen=self.seen,
            facts=self.facts,
            parts={name: round(value, 4) for name, value in self.parts.items()},
            bytes=self.wire_bytes,
            outcome=self.outcome.value if self.outcome else None,
            reason=self.reason.value if self.reason else None,
            fallback=self.fallback.value if self.fallback else None,
            latency_ms=_finite(self.latency_ms),
            deadline_ms=self.deadline_ms,
            answered_exit=self.answered_exit,
            answered_partition=self.answered_partition,
            answered_by=self.answered_by,
            class_index=self.class_index,
            confidence=None if self.confidence is None else round(self.confidence, 5),
            correct=self.class_index == label if self.answered and label is not None else None,
            score=None if self.score is None else round(self.score, 5),
        ).line()


def _share(choice: ChosenOption | None) -> float | None:
    return None if choice is None or choice.promised is None else round(choice.promised, 4)


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
