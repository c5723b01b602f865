"""Replay memory: demonstrations that stay, and a ring of own experience; drawn uniformly or by priority.

Prioritized replay follows Schaul et al., "Prioritized experience replay" (ICLR 2016), proportional variant, with the
bonus for demonstrations of Hester et al., "Deep Q-learning from demonstrations" (AAAI 2018).
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import compiled
from hasten.learn.transitions import Experience

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class UniformReplay:
    """Every transition with the same chance; the first ``len(demonstrations)`` places never change."""

    def __init__(self, demonstrations: Experience, capacity: int) -> None:
        demonstrations.require_finite()
        self._kind = type(demonstrations)
        self.demonstrations = len(demonstrations)
        self.capacity = self.demonstrations + capacity
        self.size = self.demonstrations
        self._next = self.demonstrations
        self._arrays: dict[str, NDArray[Any]] = {}
        for field in fields(demonstrations):
            first = getattr(demonstrations, field.name)
            self._arrays[field.name] = np.zeros((self.capacity, *first.shape[1:]), first.dtype)
            self._arrays[field.name][: self.size] = first

    def add(self, transitions: Experience) -> IntArray:
        """Put transitions in place of the oldest own ones; returns their places.

        Raises:
            InputError: numbers that are not finite.
        """
        transitions.require_finite()
        ring = self.capacity - self.demonstrations
        transitions = transitions.take(slice(-ring, None))
        place = self.demonstrations + (self._next - self.demonstrations + np.arange(len(transitions))) % ring
        for name, array in self._arrays.items():
            array[place] = getattr(transitions, name)
        if len(place):
            self._next = self.demonstrations + (int(place[-1]) + 1 - self.demonstrations) % ring
            self.size = max(self.size, int(place.max()) + 1)
        return place

    def sample(self, count: int, rng: np.random.Generator) -> tuple[IntArray, FloatArray]:
        """Places (B,) and how much more often each should have been drawn for a uniform draw (B,): here 1."""
        return rng.integers(self.size, size=count), np.ones(count)

    def at(self, place: IntArray) -> Experience:
        """The transitions at these places."""
        return self._kind(*(np.take(array, place, axis=0) for array in self._arrays.values()))

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything as arrays, for a checkpoint."""
        stored = {name: array[: self.size] for name, array in self._arrays.items()}
        return stored | {"next": np.array(self._next)}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Become what ``state`` was taken of."""
        self.size, self._next = len(state[next(iter(self._arrays))]), int(state["next"])
        for name, array in self._arrays.items():
            array[: self.size] = state[name]


class PrioritizedReplay(UniformReplay):
    """A transition's chance is proportional to ``(|error| + epsilon)**alpha``, kept in a sum tree.

    Args:
        demonstrations: kept for good; their priorities have ``demonstration_bonus`` on top.
        capacity: room for own transitions.
        alpha: 0 is uniform.
        epsilon: so that no transition is forgotten; inside the power.
        demonstration_bonus: added to the error of demonstrations.
    """

    def __init__(
        self,
        demonstrations: Experience,
        capacity: int,
        alpha: float = 0.6,
        epsilon: float = 1e-3,
        demonstration_bonus: float = 0.0,
    ) -> None:
        super().__init__(demonstrations, capacity)
        self._alpha, self._epsilon, self._bonus = alpha, epsilon, demonstration_bonus
        self._leaves = 1 << max(self.capacity - 1, 1).bit_length()
        self._tree = np.zeros(2 * self._leaves)
        self.beta = 1.0
        """Strength of the importance weights, 0 (none) to 1 (full)."""
        set_leaves(self._tree, np.arange(self.size), np.ones(self.size))

    def add(self, transitions: Experience) -> IntArray:
        """As for uniform replay; what is new has the largest priority there is, so that it is soon looked at."""
        largest = float(self._tree[self._leaves :].max())
        place = super().add(transitions)
        set_leaves(self._tree, place, np.full(len(place), largest if largest > 0 else 1.0))
        return place

    def sample(self, count: int, rng: np.random.Generator) -> tuple[IntArray, FloatArray]:
        """Places (B,), one from each of ``count`` equal shares of all priority, and importance weights (B,).

        Weights are ``(size * chance)**-beta``, divided by the largest of the batch.
        """
        place = np.empty(count, dtype=np.int64)
        find_leaves(self._tree, (np.arange(count) + rng.random(count)) / count, place)
        chance = self._tree[self._leaves + place] / self._tree[1]
        weight = (self.size * chance) ** -self.beta
        return place, weight / weight.max()

    def set_errors(self, place: IntArray, error: FloatArray) -> None:
        """Note the temporal-difference errors (B,) of the transitions at these places."""
        magnitude = np.abs(error) + self._epsilon + np.where(place < self.demonstrations, self._bonus, 0.0)
        set_leaves(self._tree, place, magnitude**self._alpha)

    def state(self) -> dict[str, NDArray[Any]]:
        """As for uniform replay, and the priorities."""
        return super().state() | {"priority": self._tree[self._leaves : self._leaves + self.size]}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Become what ``state`` was taken of."""
        super().restore(state)
        set_leaves(self._tree, np.arange(self.size), state["priority"])


@compiled
def set_leaves(tree: FloatArray, leaf: IntArray, value: FloatArray) -> None:
    """Set leaves (B,) of a sum tree (2 * leaves,), whose node i has the children 2 i and 2 i + 1 and whose root is 1.

    Sums are added up anew from both children, so that rounding does not build up.
    """
    leaves = len(tree) // 2
    for i in range(len(leaf)):
        node = leaves + leaf[i]
        tree[node] = value[i]
        node //= 2
        while node >= 1:
            tree[node] = tree[2 * node] + tree[2 * node + 1]
            node //= 2


@compiled
def find_leaves(tree: FloatArray, share: FloatArray, leaf: IntArray) -> None:
    """Fill ``leaf`` (B,) with where the running sum of the leaves reaches each ``share`` (B,), 0 to 1, of the total."""
    leaves = len(tree) // 2
    for i in range(len(share)):
        left_of = share[i] * tree[1]
        node = 1
        while node < leaves:
            node *= 2
            if left_of >= tree[node] and tree[node + 1] > 0.0:
                left_of -= tree[node]
                node += 1
        leaf[i] = node - leaves
