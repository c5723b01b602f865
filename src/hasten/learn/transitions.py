"""Experience as flat arrays: what simulated episodes, demonstrations and the logs of real runs all become.

Episodes end by truncation: the tasks go on, only the recording stops. So the value of the last observation is
bootstrapped, and no transition leads from one episode into another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import HastenError

UNKNOWN = -1
"""Stands for an action that is none of the policy's, e.g. a dominated option in the log of another scheduler."""


@dataclass(frozen=True)
class Transitions:
    """T transitions; features F and actions J+1 as in :mod:`hasten.core.observation`."""

    obs: NDArray[np.float32]
    """(T, F)"""
    mask: NDArray[np.int8]
    """(T, J+1): actions allowed."""
    action: NDArray[np.int64]
    """(T,)"""
    reward: NDArray[np.float32]
    """(T,): sum of discounted gains from this decision until ``next_obs``."""
    next_obs: NDArray[np.float32]
    """(T, F): what is seen one or several decisions later."""
    next_mask: NDArray[np.int8]
    discount: NDArray[np.float32]
    """(T,): what the value of ``next_obs`` is multiplied by: the discount once for every decision between."""

    def __post_init__(self) -> None:
        count = len(self.obs)
        expected = {"mask": 2, "next_obs": 2, "next_mask": 2, "action": 1, "reward": 1, "discount": 1}
        for name, axes in expected.items():
            shape = getattr(self, name).shape
            if len(shape) != axes or shape[0] != count:
                raise HastenError(f"transitions: {name} of shape {shape}, expected {count} rows and {axes} axes")

    def __len__(self) -> int:
        return len(self.action)

    def take(self, rows: NDArray[np.int64] | slice) -> Transitions:
        """These rows only."""
        return Transitions(*(getattr(self, field.name)[rows] for field in fields(self)))


def joined(parts: Iterable[Transitions]) -> Transitions:
    """All transitions of several parts, one behind the other; at least one part."""
    listed = list(parts)
    return Transitions(
        *(np.concatenate([getattr(part, field.name) for part in listed]) for field in fields(Transitions))
    )


def transitions_of_episode(
    obs: NDArray[np.float32],
    mask: NDArray[np.int8],
    action: NDArray[np.int64],
    reward: NDArray[np.floating],
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
        reward: (N,), the gain of each decision's task.
        discount: of one decision.
        steps: n of n-step returns.
    """
    count = max(len(action) - 1, 0)
    start = np.arange(count)
    end = np.minimum(start + steps, count)
    total = np.zeros(count)
    for i in range(steps):
        within = start + i < end
        total[within] += discount**i * reward[start[within] + i]
    found = Transitions(
        obs=obs[:count],
        mask=mask[:count],
        action=action[:count],
        reward=total.astype(np.float32),
        next_obs=obs[end],
        next_mask=mask[end],
        discount=(discount ** (end - start)).astype(np.float32),
    )
    return found.take(np.flatnonzero(found.action != UNKNOWN))
