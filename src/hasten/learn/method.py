"""The two kinds of values a policy can learn, each with its experience, its network and its gradient step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

import numpy as np

from hasten.core.decision import Context
from hasten.core.errors import InputError
from hasten.core.options import OptionTable
from hasten.core.scenario import Scenario
from hasten.features.layout import ActionLayout, AfterstateLayout
from hasten.learn.afterstate_network import AfterstateNetwork
from hasten.learn.collect import Actor, Collected, ObservationFunction, Values, action_observation, collect
from hasten.learn.domain import Domain, Runs, in_grant_order
from hasten.learn.dqn import DoubleDqn, FloatArray, Learner, Step
from hasten.learn.logs import Logged
from hasten.learn.network import DuelingNetwork
from hasten.learn.paired import PairedDqn
from hasten.learn.paired_rollouts import collect_rollouts
from hasten.learn.pairs import Pairs, afterstate_observation, collect_pairs, pairs_of_log
from hasten.learn.settings import Settings
from hasten.learn.transitions import Experience, Transitions, joined, transitions_of_episode
from hasten.policies.afterstate_policy import AfterstatePolicy
from hasten.policies.policy import AnyPolicy, Policy


class Method(Protocol):
    """One way to learn a policy."""

    @property
    def learner(self) -> Learner[DuelingNetwork] | Learner[AfterstateNetwork]:
        """The network and its optimizer."""

    def observation_function(self, context: Context, table: OptionTable) -> ObservationFunction:
        """What its network sees of a run."""

    def record(self, runs: Runs, actor: Actor, rng: np.random.Generator) -> Collected:
        """Let an actor decide some runs and keep what happened."""

    def has_rollouts(self, streams: int) -> bool:
        """Whether runs of up to so many streams shall be compared with paired rollouts at some time."""

    def rollouts(self, scenario: Scenario, domain: Domain, rng: np.random.Generator) -> Experience:
        """Experience from runs drawn from the domain and their rollouts."""

    def of_logs(self, episodes: Sequence[Logged]) -> Experience:
        """The same as :meth:`record` of what a real device logged."""

    def step(self, batch: Experience, weight: FloatArray, margin: FloatArray | None, rate_share: float) -> Step:
        """One gradient step."""

    @property
    def margins(self) -> tuple[float, ...]:
        """By how much another option may have to be better than Greedy's, ascending: ``learn.improvement_margin``."""

    def acting(self, network: Any) -> Values:
        """The action values by which a network of this kind decides."""

    def load(self, policy: AnyPolicy) -> None:
        """Begin with the weights of a policy."""


class ActionValues:
    """The usual deep Q-network: a dueling network with a value for each action, learned from transitions."""

    margins = (0.0,)

    def __init__(self, options: int, settings: Settings) -> None:
        self._settings = settings
        layout = ActionLayout(options)
        known = layout.gains.start if settings.predicted_gain else None
        network = DuelingNetwork(layout.size, settings.hidden, options + 1, settings.seed, known)
        self.learner = DoubleDqn(network, **_rates(settings))

    def observation_function(self, context: Context, table: OptionTable) -> ObservationFunction:
        """As for every policy of this kind."""
        return action_observation(context, table)

    def record(self, runs: Runs, actor: Actor, rng: np.random.Generator) -> Collected:
        """Transitions."""
        return collect(runs, actor, self._settings.discount, self._settings.steps)

    def has_rollouts(self, streams: int) -> bool:
        """Never."""
        return False

    def rollouts(self, scenario: Scenario, domain: Domain, rng: np.random.Generator) -> Experience:
        """There are none."""
        raise NotImplementedError("values of actions are learned from transitions alone")

    def of_logs(self, episodes: Sequence[Logged]) -> Experience:
        """Transitions."""
        return joined(
            transitions_of_episode(*episode.seen, self._settings.discount, self._settings.steps) for episode in episodes
        )

    def step(self, batch: Experience, weight: FloatArray, margin: FloatArray | None, rate_share: float) -> Step:
        """A double DQN's, with the margin loss where it has a weight."""
        return self.learner.update(cast(Transitions, batch), weight, margin, rate_share)

    def acting(self, network: Any) -> Values:
        """Its own."""
        return cast(DuelingNetwork, network).values

    def load(self, policy: AnyPolicy) -> None:
        """Those of values of actions only."""
        if not isinstance(policy, Policy):
            raise InputError("policy", "values", policy.manifest.values, "actions, as this training learns")
        self.learner.network.load(policy)


class AfterstateValues:
    """A network that values afterstates, the backlogs that an option leaves, learned from pairs of options.

    What another option would have led to is told by the timing law first, in runs simulated in grant order, where that
    is exact. With several streams it is simulated, in the scenario's own order, later on.
    """

    margins = (0.0, 0.01, 0.02, 0.04, 0.06, 0.1, 0.2)

    def __init__(self, layout: AfterstateLayout, settings: Settings) -> None:
        self._settings = settings
        network = AfterstateNetwork(layout, settings.hidden, settings.discount, settings.seed)
        self.learner = PairedDqn(network, **_rates(settings))

    def observation_function(self, context: Context, table: OptionTable) -> ObservationFunction:
        """As for every policy of this kind."""
        return afterstate_observation(context, table)

    def record(self, runs: Runs, actor: Actor, rng: np.random.Generator) -> Collected:
        """Pairs."""
        return collect_pairs(in_grant_order(runs), actor, rng)

    def has_rollouts(self, streams: int) -> bool:
        """With several streams; for one the timing law's word is as good."""
        return streams > 1

    def rollouts(self, scenario: Scenario, domain: Domain, rng: np.random.Generator) -> Experience:
        """Pairs."""
        return collect_rollouts(scenario, domain, self.acting(self.learner.network), self._settings.discount, rng)

    def of_logs(self, episodes: Sequence[Logged]) -> Experience:
        """Pairs."""
        rng = np.random.default_rng([self._settings.seed, 4])
        return joined(pairs_of_log(episode, rng) for episode in episodes)

    def step(self, batch: Experience, weight: FloatArray, margin: FloatArray | None, rate_share: float) -> Step:
        """That of a pair's difference; there is no margin loss."""
        return self.learner.update(cast(Pairs, batch), weight, rate_share)

    def acting(self, network: Any) -> Values:
        """Its own."""
        return cast(AfterstateNetwork, network).values

    def load(self, policy: AnyPolicy) -> None:
        """Those of values of backlogs only."""
        if not isinstance(policy, AfterstatePolicy):
            raise InputError("policy", "values", policy.manifest.values, "backlogs, as this training learns")
        self.learner.network.load(policy)


def method_for(options: int, settings: Settings, several: bool = False) -> Method:
    """The method that the settings name, for J options, at one edge or several.

    Raises:
        InputError: values of actions are to be learned where devices choose among several edges.
    """
    if settings.values == "backlogs":
        return AfterstateValues(AfterstateLayout(options + 1, several), settings)
    if several:
        raise InputError("train", "values", settings.values, "backlogs: values of actions know no choice among edges")
    return ActionValues(options, settings)


def _rates(settings: Settings) -> dict[str, Any]:
    """How fast both kinds of learners go."""
    names = ("learning_rate", "target_every", "average_rate", "clip_norm")
    return {name: getattr(settings, name) for name in names}
