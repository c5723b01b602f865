"""How to learn: every number that training depends on besides the scenario and the domain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from difflib import get_close_matches
from numbers import Integral, Real
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


_FROM_0 = ("seed", "demonstrations", "pretrain", "margin_updates", "explore_updates", "alpha", "margin")
_FROM_0_TO_1 = ("discount", "last_learning_rate", "average_rate", "explore", "last_explore", "beta", "rollouts_from")
_FROM_1 = ("updates", "batch", "steps", "target_every", "capacity", "runs", "tasks", "batches", "round_updates")
BOUNDS: dict[str, tuple[float, float]] = (
    dict.fromkeys((*_FROM_0, "learning_rate", "clip_norm", "demonstration_bonus"), (0.0, np.inf))
    | dict.fromkeys(_FROM_0_TO_1, (0.0, 1.0))
    | dict.fromkeys((*_FROM_1, "validate_every"), (1.0, np.inf))
)
"""Smallest and largest value of numbers."""


@dataclass(frozen=True)
class Settings:
    """The defaults train well on the default scenarios; each line says what raising a number does."""

    init: Init = "mixed"
    """Historical experience to start from (``learn.demonstrations``)."""
    replay: Replay = "prioritized"
    seed: int = 0
    values: Values = "backlogs"
    """What the network values: the backlogs that an option leaves (the afterstate), compared in pairs
    (``learn.paired``), or, as usual, each action (``learn.dqn``)."""
    updates: int = 24_000
    """Gradient steps."""
    batch: int = 256
    """Transitions or pairs per step: steadier and slower."""
    hidden: tuple[int, ...] = (64, 128)
    """Widths of layers: for values of backlogs that of the context's and that of the shared one."""
    discount: float = 0.98
    """Of one decision: further ahead, learns slower. Values of actions grow with it, and
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
    rollouts_from: float = 0.5
    """For values of backlogs and several streams: share of the steps after which what another option would have led to
    is simulated (``learn.paired_rollouts``) instead of told by the timing law; 1 for never."""
    rollouts_replay: Replay = "uniform"
    """How pairs from rollouts are drawn: most of their error is noise, and priorities would look for it."""
    validate_every: int = 2
    """Rounds between two evaluations on the validation set, the only times at which the policy to keep can change."""

    @classmethod
    def usual(cls, values: Values = "backlogs", **given: Any) -> Settings:
        """The defaults for values of this kind, but for what is given.

        Raises:
            InputError: a name that is none of a setting, or a value that it cannot have.
        """
        refuse_unknown(given, [field.name for field in fields(cls)])
        return cls(values=values, **((FOR_ACTIONS if values == "actions" else {}) | given))

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_kind(field.name, getattr(self, field.name), field.default)
        if self.values not in ("backlogs", "actions"):
            raise InputError("train", "values", self.values, "backlogs or actions")
        if self.init not in SHARES:
            raise InputError("train", "init", self.init, f"one of {', '.join(SHARES)}")
        for name in ("replay", "rollouts_replay"):
            if getattr(self, name) not in ("uniform", "prioritized"):
                raise InputError("train", name, getattr(self, name), "uniform or prioritized")
        for name, (least, most) in BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                expected = f"a number from {least:g} to {most:g}" if np.isfinite(most) else f"at least {least:g}"
                raise InputError("train", name, value, expected)
        if self.discount == 1.0:
            raise InputError("train", "discount", self.discount, "a number from 0 up to, not including, 1")
        if self.learning_rate == 0.0 or self.clip_norm == 0.0:
            name = "clip_norm" if self.learning_rate else "learning_rate"
            raise InputError("train", name, 0.0, "more than 0")
        if self.values == "backlogs" and (self.steps != 1 or self.margin > 0):
            expected = 'steps 1 and no margin: these are for values="actions"'
            raise InputError("train", "values", self.values, expected)

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


def refuse_unknown(given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse the first name that is not known, with the nearest that is."""
    names = sorted(known)
    for name in given:
        if name not in names:
            near = get_close_matches(name, names, n=1, cutoff=0.5)
            expected = f"a known setting, perhaps {near[0]}" if near else f"one of {', '.join(names)}"
            raise InputError("train", "settings", name, expected)


def _check_kind(name: str, value: object, default: object) -> None:
    """A value must be of its default's kind; what has no default number, ``explore``, is a number or None."""
    if isinstance(default, bool):
        fits, expected = isinstance(value, bool), "True or False"
    elif isinstance(default, int):
        fits, expected = isinstance(value, Integral) and not isinstance(value, bool), "a whole number"
    elif isinstance(default, float) or default is None:
        number = isinstance(value, Real) and not isinstance(value, bool) and bool(np.isfinite(float(value)))
        fits, expected = number or (value is None and default is None), "a finite number"
    elif isinstance(default, tuple):
        fits = isinstance(value, list | tuple) and bool(value) and all(map(_is_width, value))
        expected = "whole numbers above 0"
    else:
        fits, expected = isinstance(value, str), f"text such as {default!r}"
    if not fits:
        raise InputError("train", name, value, expected)


def _is_width(value: object) -> bool:
    return isinstance(value, Integral) and int(value) > 0


def _falling(first: float, last: float, done: float) -> float:
    """From ``first`` to ``last`` as ``done`` goes from 0 to 1, and no further."""
    return float(first + (last - first) * np.clip(done, 0.0, 1.0))
