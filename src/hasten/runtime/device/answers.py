"""What a program gets for a frame: exactly one answer, whatever became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hasten.runtime.device.tasks import Task
from hasten.split.package import Package

Array = NDArray[np.generic]
RanOn = Literal["device", "split", "edge"]

MAX_LISTED = 256
"""An output with more elements is summed up in a line of JSON."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Answer:
    """What became of one frame."""

    outcome: str
    """``on_time``, ``late``, ``dropped`` or ``invalid`` (the network's output is not finite)."""
    reason: str
    """Why, as in the task log: ``answered``, ``expired``, ...; ``superseded`` by a newer frame, or ``withdrawn``."""
    number: int
    """Counts the frames of a device from 0, in order of arrival."""
    deadline_ms: float
    """From its arrival."""
    latency_ms: float
    """From arrival to answer; infinity without one."""
    label: int | None = None
    """The most likely class; None without an answer, and where exits give no logits."""
    name: str | None = None
    """The class's name, where the package has names."""
    confidence: float | None = None
    """The class's probability."""
    outputs: Mapping[str, Array] = field(default_factory=dict)
    """Output name -> array, of the exit that answered. Of a classifier ``logits`` (classes,); empty if its edge was not
    asked for them. Empty without an answer."""
    exit: int = 0
    """The exit that answered, from 1; 0 without an answer."""
    partition: int = 0
    """Blocks that ran on the device for it."""
    ran_on: RanOn | None = None
    """Where those blocks and the rest ran; None without an answer."""
    edge: str | None = None
    """Which edge answered, ``HOST:PORT``; None where the device did by itself, and without an answer."""
    fallback: str | None = None
    """Why the device finished it otherwise than was decided, as in the task log; None if all went as decided."""

    @property
    def answered(self) -> bool:
        """Whether there is an answer, on time or late."""
        return self.exit > 0

    @property
    def on_time(self) -> bool:
        """Whether there is an answer and its deadline was met."""
        return self.outcome == "on_time"

    def line(self) -> dict[str, Any]:
        """Plain data for a line of JSON: of outputs that are no logits what :func:`plain_output` says of each."""
        line: dict[str, Any] = {
            "frame": self.number,
            "outcome": self.outcome,
            "reason": self.reason,
            "class": self.label,
            "name": self.name,
            "confidence": None if self.confidence is None else round(self.confidence, 5),
            "exit": self.exit,
            "partition": self.partition,
            "ran_on": self.ran_on,
            "edge": self.edge,
            "fallback": self.fallback,
            "latency_ms": round(self.latency_ms, 4) if self.answered else None,
            "deadline_ms": self.deadline_ms,
            "on_time": self.on_time,
        }
        if self.label is None and self.outputs:
            line["outputs"] = {name: plain_output(array) for name, array in self.outputs.items()}
        return line


def plain_output(array: Array) -> dict[str, Any]:
    """An output as plain data: type, shape, and the values of a small one; of a larger one least, largest and mean."""
    plain: dict[str, Any] = {"dtype": array.dtype.name, "shape": list(array.shape)}
    if array.size <= MAX_LISTED:
        return plain | {"values": array.tolist()}
    return plain | {"min": array.min().item(), "max": array.max().item(), "mean": float(array.mean(dtype=np.float64))}


class Answers:
    """Makes answers of ended tasks of one package."""

    def __init__(self, package: Package) -> None:
        self._after_block = [exit_.after_block for exit_ in package.manifest.exits]
        self._names = package.manifest.class_names

    def of(self, task: Task) -> Answer:
        """The answer of a task that has ended."""
        assert task.outcome is not None and task.reason is not None  # it has ended
        label = task.class_index
        return Answer(
            outcome=task.outcome.value,
            reason=task.reason.value,
            number=task.number,
            deadline_ms=task.deadline_ms,
            latency_ms=task.latency_ms,
            label=label,
            name=self._names[label] if label is not None and self._names else None,
            confidence=task.confidence,
            outputs=task.outputs,
            exit=task.answered_exit,
            partition=task.answered_partition,
            ran_on=self._ran_on(task) if task.answered else None,
            edge=task.answered_by,
            fallback=task.fallback.value if task.fallback else None,
        )

    def _ran_on(self, task: Task) -> RanOn:
        if task.answered_partition == self._after_block[task.answered_exit - 1]:
            return "device"
        return "split" if task.answered_partition else "edge"
