"""How to learn: every number that training depends on besides the scenario and the domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hasten.core.errors import InputError
from hasten.learn.demonstrations import SHARES, Init

Replay = Literal["uniform", "prioritized"]
Values = Literal["backlogs", "actions"]

FOR_ACTIONS: dict[str, Any] = {
    "hidden": (128, 128),
    "discount": 0.9,
    "updates": 30_000,
    "round_updates": 1_000,
}
"""Defaults for values of actions where they differ."""


@dataclass(frozen=True)
class Settings:
    """The defaults train well on the default scenarios; each line says what raising a number does."""

    init: Init = "mixed"
    """Historical experience to start from (``learn.demonstrations``)."""
    replay: Replay = "prioritized"
    seed: int = 0
    values: Values = "backlogs"
    """What the network values: the backlogs that an option leaves, compared in pairs (``learn.paired``), or, as usual,
    each action (``learn.dqn``)."""
    updates: int = 24_000
    """Gradient steps."""
    batch: int = 256
    """Transitions or pairs per step: steadier and slower."""
    hidden: tuple[int, ...] = (64, 128)
    """Widths of layers: for values of backlogs that of the situation's and that of the shared one."""
    discount: float = 0.98
    """Of one decision: looks further ahead, learns slower. Values of actions grow with it, and
    with them their noise, but not what tells actions apart. Differences between pairs hardly grow."""
    predicted_gain: bool = True
    """For values of actions: whether an action's value is its predicted gain, which is known, plus what is learned."""
    steps: int = 1
    """For values of actions: n of n-step returns. Faster credit, more bias by exploration, of which there is much."""
    learning_rate: float = 1e-3
    last_learning_rate: float = 0.05
    """Share of the learning rate left at the end; it falls linearly."""
    target_every: int = 200
    """Steps between copies to the target network."""
    average_rate: float = 1e-3
    """Share by which the evaluated average of weights follows at each step: noisier."""
    clip_norm: float = 10.0
    capacity: int = 160_000
    """Own transitions or pairs kept."""
    demonstrations: int = 20_000
    """Transitions recorded beforehand, kept for good."""
    pretrain: int = 0
    """Steps on demonstrations alone before the first own decision."""
    margin: float = 0.0
    """For values of actions: weight of the large-margin loss on demonstrations at first; 0 for none."""
    margin_updates: int = 4_000
    """Steps until that weight has fallen to 0."""
    explore: float | None = None
    """Chance of an exploring action at first; None is 1 without demonstrations and 0.4 with them."""
    last_explore: float = 0.4
    """At last; what is kept is judged without exploring."""
    explore_updates: int = 10_000
    """Steps until exploration has fallen to its last chance."""
    alpha: float = 0.6
    """Strength of prioritization."""
    beta: float = 0.4
    """Strength of importance weights at first; 1 at the end."""
    demonstration_bonus: float = 0.0
    """Priority of demonstrations above their error."""
    runs: int = 8
    """Simulated runs per batch of runs."""
    tasks: int = 256
    """Tasks of each."""
    batches: int = 8
    """Batches of runs, each of other deadlines and numbers of streams, between ``round_updates`` steps."""
    round_updates: int = 500
    twins_from: float = 0.5
    """For values of backlogs and several streams: share of the steps after which what another option would have led to
    is simulated (``learn.twins``) instead of told by the timing law; 1 for never."""
    twins_replay: Replay = "uniform"
    """How twins are drawn: most of their error is noise, and priorities would look for it."""
    validate_every: int = 2
    """Rounds between two looks at the validation set, the only times at which the policy to keep can change."""

    @classmethod
    def usual(cls, values: Values = "backlogs", **given: Any) -> Settings:
        """The defaults for values of this kind, but for what is given."""
        return cls(values=values, **((FOR_ACTIONS if values == "actions" else {}) | given))

    def __post_init__(self) -> None:
        if self.values not in ("backlogs", "actions"):
            raise InputError("train", "values", self.values, "backlogs or actions")
        if self.init not in SHARES:
            raise InputError("train", "init", self.init, f"one of {', '.join(SHARES)}")
        for name in ("replay", "twins_replay"):
            if getattr(self, name) not in ("uniform", "prioritized"):
                raise InputError("train", name, getattr(self, name), "uniform or prioritized")
        if not 0 <= self.discount < 1:
            raise InputError("train", "discount", self.discount, "a number from 0 up to, not including, 1")
        for name in ("updates", "batch", "steps", "capacity", "runs", "tasks", "batches", "round_updates"):
            if getattr(self, name) < 1:
                raise InputError("train", name, getattr(self, name), "at least 1")
        if self.values == "backlogs" and (self.steps != 1 or self.margin > 0):
            expected = 'steps 1 and no margin: these are for values="actions"'
            raise InputError("train", "values", self.values, expected)
        if not 0 <= self.twins_from <= 1:
            raise InputError("train", "twins_from", self.twins_from, "a number from 0 to 1")
        if self.seed < 0:
            raise InputError("train", "seed", self.seed, "0 or a positive number")

    def explore_at(self, updates: int) -> float:
        """Chance of a random action after so many steps."""
        first = self.explore if self.explore is not None else (1.0 if self.init == "none" else 0.4)
        return _falling(first, self.last_explore, updates / max(self.explore_updates, 1))

    def learning_rate_share(self, updates: int) -> float:
        """Share of the learning rate after so many steps."""
        return _falling(1.0, self.last_learning_rate, updates / self.updates)

    def margin_at(self, updates: int) -> float:
        """Weight of the margin loss after so many steps."""
        return _falling(self.margin, 0.0, updates / max(self.margin_updates, 1))

    def beta_at(self, updates: int) -> float:
        """Strength of importance weights after so many steps; never above 1."""
        return _falling(self.beta, 1.0, updates / self.updates)


def _falling(first: float, last: float, done: float) -> float:
    """From ``first`` to ``last`` as ``done`` goes from 0 to 1, and no further."""
    return float(first + (last - first) * np.clip(done, 0.0, 1.0))
