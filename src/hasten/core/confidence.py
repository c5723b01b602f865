"""Early stop by confidence: a task may stop at an earlier exit that it passes on the machine where it runs.

Besides its scheduled exit a task passes every earlier one: those up to its partition on the device, those behind it at
the edge. Where such an exit has a threshold, its head is run, and the task stops there if the calibrated confidence of
its answer reaches it. A package's :class:`Confidence` says with which thresholds, and what came of it on held-out data.

What a task that stops has done is exactly what it would have done if that exit had been scheduled: blocks, the heads of
all exits with a threshold before it, its own. So times need no second law.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from hasten.core.files import Record

Fraction = Annotated[float, Field(ge=0, le=1)]
Loss = Annotated[float, Field(gt=0, le=1)]


class StopRule(Record):
    """When to stop: the stated loss of accuracy, and each exit's threshold; None where it is not looked at."""

    max_accuracy_loss: Loss
    thresholds: Annotated[tuple[Fraction | None, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _last_has_none(self) -> StopRule:
        if self.thresholds[-1] is not None:
            raise ValueError("thresholds to end with null: behind the last exit there is nothing to save")
        return self


class StopOutcome(Record):
    """Where tasks of one (exit, partition) stop: for each exit 1..exit the share, and how many of those are right."""

    shares: tuple[Fraction, ...]
    accuracies: tuple[Fraction, ...]

    @model_validator(mode="after")
    def _shares_of_all(self) -> StopOutcome:
        if len(self.shares) != len(self.accuracies) or not math.isclose(sum(self.shares), 1.0, abs_tol=1e-6):
            raise ValueError("shares that add up to 1, and as many accuracies")
        return self

    def until(self, exit_number: int) -> float:
        """Share of tasks that stop at this exit or before."""
        return 1.0 if exit_number >= len(self.shares) else min(math.fsum(self.shares[:exit_number]), 1.0)

    def exit_of(self, ease: float) -> int:
        """The exit at which a task of this ease stops."""
        return next(k for k in range(1, len(self.shares) + 1) if ease < self.until(k) or k == len(self.shares))

    @property
    def accuracy(self) -> float:
        """Of all tasks."""
        return math.fsum(share * accuracy for share, accuracy in zip(self.shares, self.accuracies, strict=True))


class Confidence(StopRule):
    """A stop rule and what came of it: ``outcomes[exit - 1][partition]``, measured on held-out data."""

    outcomes: tuple[tuple[StopOutcome, ...], ...]

    def require_exits(self, after_block: tuple[int, ...]) -> None:
        """Raise ValueError unless this is of a network with exits behind these blocks."""
        if len(self.thresholds) != len(after_block) or len(self.outcomes) != len(after_block):
            raise ValueError(f"confidence to have {len(after_block)} thresholds and outcomes, one for each exit")
        for number, (after, row) in enumerate(zip(after_block, self.outcomes, strict=True), start=1):
            if len(row) != after + 1 or any(len(outcome.shares) != number for outcome in row):
                raise ValueError(
                    f"confidence.outcomes[{number - 1}] to have {after + 1} entries (partitions 0..{after}) of {number}"
                    " shares"
                )


class ConfidenceSpec(Record):
    """A scenario's ``confidence``: stop early where that costs at most so much accuracy."""

    max_accuracy_loss: Loss


def draw_ease(tasks: Sequence[int], seed: int) -> NDArray[np.float64]:
    """How easy the tasks of streams with these numbers of tasks are, evenly from 0 to 1, one stream behind the other.

    Each stream has a random stream of its own. A task is as easy for one exit as for another: what stops at an exit
    when a later one is scheduled would have stopped there, too, for any other.
    """
    return np.concatenate([np.random.default_rng([seed, 4, m]).random(number) for m, number in enumerate(tasks)])
