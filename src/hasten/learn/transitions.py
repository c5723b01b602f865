"""Experience as flat arrays: what simulated episodes, demonstrations and the logs of real runs all become.

Episodes end by truncation: the tasks go on, only the recording stops. So the value of the last observation is
bootstrapped, and no transition leads from one episode into another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import Context, FloatArray, View, predicted_latency
from hasten.core.errors import HastenError, InputError
from hasten.core.gain import task_gain
from hasten.core.options import OptionTable

E = TypeVar("E", bound="Experience")

UNKNOWN = -1
"""Stands for an action that is none of the policy's, e.g. a dominated option in the log of another scheduler."""


@dataclass(frozen=True)
class Experience:
    """Arrays of T rows each: what a replay memory can hold."""

    MAY_BE_UNKNOWN: ClassVar[frozenset[str]] = frozenset()
    """Arrays in which NaN stands for what nobody knows."""

    def __post_init__(self) -> None:
        for field in fields(self):
            shape = getattr(self, field.name).shape
            if shape[:1] != (len(self),):
                raise HastenError(f"experience: {field.name} of shape {shape}, expected {len(self)} rows")

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def require_finite(self) -> None:
        """Refuse numbers that would make the network's weights NaN.

        Raises:
            InputError: names the array.
        """
        for field in fields(self):
            array = getattr(self, field.name)
            if not np.issubdtype(array.dtype, np.floating):
                continue
            wrong = np.isinf(array) if field.name in self.MAY_BE_UNKNOWN else ~np.isfinite(array)
            if wrong.any():
                raise InputError("experience", field.name, float(array[wrong][0]), "finite numbers")

    def take(self, rows: NDArray[np.int64] | slice) -> Self:
        """These rows only."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class Transitions(Experience):
    """T transitions; features F and actions J+1 as in :mod:`hasten.features.observation`."""

    obs: NDArray[np.float32]
    """(T, F)"""
    mask: NDArray[np.int8]
    """(T, J+1): actions allowed."""
    action: NDArray[np.int64]
    """(T,)"""
    reward: NDArray[np.float32]
    """(T,): discounted sum, from this decision until ``next_obs``, of gains less those that tasks could have had alone.

    What a task could gain alone does not depend on decisions, so taking it off changes no choice. But values become
    small where there is little to lose, and small differences between actions show."""
    next_obs: NDArray[np.float32]
    """(T, F): what is seen one or several decisions later."""
    next_mask: NDArray[np.int8]
    discount: NDArray[np.float32]
    """(T,): what the value of ``next_obs`` is multiplied by: the discount once for every decision between."""


def joined(parts: Iterable[E]) -> E:
    """All rows of several parts of a kind, one behind the other; at least one part."""
    listed = list(parts)
    names = [field.name for field in fields(listed[0])]
    return type(listed[0])(*(np.concatenate([getattr(part, name) for part in listed]) for name in names))


def transitions_of_episode(
    obs: NDArray[np.float32],
    mask: NDArray[np.int8],
    action: NDArray[np.int64],
    gain: NDArray[np.floating],
    alone: NDArray[np.floating],
    discount: float,
    steps: int = 1,
) -> Transitions:
    """The transitions of one episode of N decisions, over ``steps`` decisions each, fewer before the end.

    The last decision, whose successor nobody has seen, only serves as a successor. Transitions that begin with an
    ``UNKNOWN`` action are left out.

    Args:
        obs: (N, F).
        mask: (N, J+1).
        action: (N,).
        gain: (N,), of each decision's task.
        alone: (N,), what it could have gained with every resource for itself (:func:`gain_alone`).
        discount: of one decision.
        steps: n of n-step returns.
    """
    count = max(len(action) - 1, 0)
    start = np.arange(count)
    end = np.minimum(start + steps, count)
    reward = gain - alone
    total, factor = np.zeros(count), np.ones(count)
    for i in range(min(steps, count)):
        within = start[: count - i]
        total[within] += factor[within] * reward[within + i]
        factor[within] *= discount
    found = Transitions(
        obs=obs[:count],
        mask=mask[:count],
        action=action[:count],
        reward=total.astype(np.float32),
        next_obs=obs[end],
        next_mask=mask[end],
        discount=factor.astype(np.float32),
    )
    return found.take(np.flatnonzero(found.action != UNKNOWN))


def gain_alone(context: Context, view: View, options: OptionTable) -> FloatArray:
    """(B,): the best gain of each task at the visible rate if every resource were free."""
    nothing = np.zeros(len(view.row))
    idle = replace(
        view, device_wait_ms=nothing, uplink_wait_ms=nothing, edge_wait_ms=nothing[:, None], unseen_wait_ms=None
    )
    deadline_ms = context.deadline_ms[view.stream][:, None]
    latency_ms = predicted_latency(context, idle, options)
    gain = task_gain(options.worth[view.stream], latency_ms, deadline_ms, *context.gain_terms)
    return np.asarray(gain.max(axis=1))
