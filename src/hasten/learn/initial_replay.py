"""The replay memory that a training begins with: demonstrations, and what real devices logged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hasten.core.decision import BoolArray
from hasten.core.scenario import Scenario
from hasten.learn.demonstrations import demonstrate
from hasten.learn.domain import Domain
from hasten.learn.logs import Logged
from hasten.learn.method import Method
from hasten.learn.replay import PrioritizedReplay, UniformReplay
from hasten.learn.settings import Replay, Settings
from hasten.learn.transitions import Experience, joined


def filled_replay(
    scenario: Scenario, domain: Domain, settings: Settings, method: Method, logs: Sequence[Logged]
) -> tuple[UniformReplay, BoolArray, int]:
    """Replay memory with demonstrations and logs in it, which of its places hold an expert's decisions, and how many
    demonstrations there are.
    """
    s = settings
    shown = demonstrate(scenario, domain, s.init, s.demonstrations, method.record, s.seed)
    given = joined([shown.experience, method.of_logs(logs)]) if logs else shown.experience
    expert = np.zeros(len(given) + s.capacity, dtype=np.bool_)
    expert[: len(shown.expert)] = shown.expert
    return replay_of(given, s, s.replay), expert, len(shown.experience)


def replay_of(given: Experience, s: Settings, kind: Replay) -> UniformReplay:
    """Replay memory with ``given`` in it for good."""
    if kind == "uniform":
        return UniformReplay(given, s.capacity)
    return PrioritizedReplay(given, s.capacity, s.alpha, demonstration_bonus=s.demonstration_bonus)
