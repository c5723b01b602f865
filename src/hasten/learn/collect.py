"""Experience from simulated runs: an actor decides, the simulator runs, whole episodes become transitions.

An actor is anything that decides: a policy that explores, a scheduler whose habits are worth recording, a plan.
Each decision is credited with its own task's gain, also in ready order, where it becomes certain only later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import (
    BoolArray,
    Clairvoyant,
    Context,
    Decision,
    EdgeChoosing,
    FloatArray,
    IntArray,
    Scheduler,
    View,
    is_clairvoyant,
)
from hasten.core.options import DROP, OptionTable
from hasten.core.results import Result
from hasten.features.layout import ActionLayout
from hasten.features.observation_batch import Features
from hasten.learn.domain import Runs
from hasten.learn.transitions import UNKNOWN, Experience, gain_alone, joined, transitions_of_episode
from hasten.sim import simulate_realizations

Observation = NDArray[np.float32]
Mask = NDArray[np.int8]
MOST_POWER = 8.0
"""Of the chance of exploring, in the run explored least."""
TEMPERATURE = 0.1
"""In gain: where values differ by as much, the better action is drawn e times as often."""
Values = Callable[[Observation], NDArray[np.float32]]
"""Action values (B, J+1) of observations (B, F)."""


class Actor(Protocol):
    """Chooses an option (column of the context's table, or DROP) for each decision, knowing its observation."""

    @property
    def clairvoyant(self) -> bool:
        """Whether it knows the future, so that its options need not be predicted to be useful."""

    @property
    def teaches(self) -> bool | BoolArray:
        """Whether the options last chosen (B,) are worth imitating."""

    def reset(self, context: Context, column: IntArray) -> None:
        """Prepare for runs; ``column`` (M, J+1) is the option that each action is, DROP for the last one."""

    def act(self, view: View, observation: Observation, mask: Mask) -> IntArray:
        """(B,): options."""


class EpsilonGreedy:
    """The allowed action of largest value; with some chance another one.

    The chance is ``explore`` in a batch's first run and falls to its eighth power in the last (Horgan et al.,
    "Distributed prioritized experience replay", ICLR 2018), so that some runs are much explored and some are like what
    the policy will meet. Half of these actions are any, all alike; half are drawn the more often the larger their
    value, because with dozens of actions it is between the good ones that differences have to be found out.
    """

    clairvoyant = False
    teaches = False

    def __init__(self, values: Values, explore: float = 0.0, rng: np.random.Generator | None = None) -> None:
        self._values = values
        self._explore = explore
        self._rng = rng or np.random.default_rng(0)

    def reset(self, context: Context, column: IntArray) -> None:
        """Keep what actions mean, and give each run its chance."""
        self._column = column
        self._chance = self._explore ** np.linspace(1.0, MOST_POWER, context.batch)

    def act(self, view: View, observation: Observation, mask: Mask) -> IntArray:
        """Explore or follow the values."""
        values = np.where(mask, self._values(observation), -np.inf)
        action = values.argmax(axis=1)
        if self._explore > 0.0:
            kind = self._rng.random(len(action)) / self._chance[view.row]
            action = np.where(kind < 1.0, likely_action(values, self._rng), action)
            action = np.where(kind < 0.5, random_action(mask, self._rng), action)
        option: IntArray = self._column[view.stream, action]
        return option


class UniformActor:
    """Any allowed action, all alike."""

    clairvoyant = False
    teaches = False

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def reset(self, context: Context, column: IntArray) -> None:
        """Keep what actions mean."""
        self._column = column

    def act(self, view: View, observation: Observation, mask: Mask) -> IntArray:
        """Random allowed options."""
        return self._column[view.stream, random_action(mask, self._rng)]


class Scheduled:
    """Acts as a scheduler decides, which is taken for an expert."""

    teaches = True

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.clairvoyant = is_clairvoyant(scheduler)

    def reset(self, context: Context, column: IntArray) -> None:
        """Reset the scheduler."""
        self._scheduler.reset(context)

    def act(self, view: View, observation: Observation, mask: Mask) -> IntArray:
        """The scheduler's decision."""
        return self._scheduler.decide(view).option


def random_action(mask: Mask, rng: np.random.Generator) -> IntArray:
    """(B,): one of the allowed actions of each row, all with the same chance."""
    return np.asarray((mask * (1.0 - rng.random(mask.shape))).argmax(axis=1))


@dataclass(frozen=True)
class Collected:
    """What was experienced in some runs, run by run."""

    experience: Experience
    expert: BoolArray
    """(T,): whether each begins with an action worth imitating."""
    results: list[Result]

    def first(self, count: int) -> Collected:
        """Only so many rows of it."""
        return Collected(self.experience.take(slice(0, count)), self.expert[:count], self.results)


Record = Callable[[Runs, Actor, np.random.Generator], Collected]
"""Lets an actor decide some runs and keeps what happened."""


def likely_action(values: FloatArray, rng: np.random.Generator) -> IntArray:
    """(B,): action j with a chance proportional to ``exp(values[j] / TEMPERATURE)``; never one of value -inf."""
    return np.asarray((values / TEMPERATURE + rng.gumbel(size=values.shape)).argmax(axis=1))


def collect(runs: Runs, actor: Actor, discount: float, steps: int) -> Collected:
    """Let ``actor`` decide all runs; transitions span ``steps`` decisions."""
    recorder = Recorder(actor, max(run.tasks for run in runs.realizations))
    results = simulate_realizations(runs.scenario, recorder, runs.realizations)
    episodes, expert = [], []
    for row, result in enumerate(results):
        seen = slice(0, len(result.gain))
        obs, mask, action = recorder.observation[row, seen], recorder.mask[row, seen], recorder.action[row, seen]
        alone = recorder.alone[row, seen]
        episodes.append(transitions_of_episode(obs, mask, action, result.gain, alone, discount, steps))
        expert.append(recorder.expert[row, seen][:-1][action[:-1] != UNKNOWN])
    return Collected(joined(episodes), np.concatenate(expert), results)


class ObservationFunction(Protocol):
    """Makes observations (B, F) and masks (B, J+1), dropping allowed, of a run's views."""

    def __call__(self, view: View) -> tuple[Observation, Mask]:
        """Call once for each view, in order."""


MakeObservationFunction = Callable[[Context, OptionTable], ObservationFunction]


def action_observation(context: Context, table: OptionTable) -> ObservationFunction:
    """Observations as :mod:`hasten.features.observation` describes them."""
    features = Features(context, table)

    def observe(view: View) -> tuple[Observation, Mask]:
        observation, mask = features.observe(view)
        mask[:, -1] = 1  # unlike the environment's, a policy may drop by choice, so that later tasks fare better
        return observation, mask

    return observe


class Acting(Clairvoyant, EdgeChoosing):
    """An actor as a scheduler."""

    name = "actor"

    def __init__(self, actor: Actor, observation_function: MakeObservationFunction) -> None:
        self._actor, self._make_observation = actor, observation_function
        self.clairvoyant = actor.clairvoyant

    def reset(self, context: Context) -> None:
        """Prepare observations and actor."""
        table, column = context.options.undominated()
        self._observe_as = self._make_observation(context, table)
        self._actor.reset(context, with_dropping(column))

    def decide(self, view: View) -> Decision:
        """The actor's choice."""
        return Decision(self._actor.act(view, *self._observe_as(view)))


class Recorder(Clairvoyant):
    """An actor as a scheduler that keeps what it saw and did in up to ``tasks`` decisions of each run."""

    name = "actor"

    def __init__(self, actor: Actor, tasks: int) -> None:
        self._actor = actor
        self._tasks = tasks
        self.clairvoyant = actor.clairvoyant

    def reset(self, context: Context) -> None:
        """Prepare features and actor, and make room."""
        table, column = context.options.undominated()
        self._context, self._table = context, table
        self._observe_as = action_observation(context, table)
        column = with_dropping(column)
        rows, actions = context.batch, column.shape[1]
        self._action_of = action_of_option(context, column)
        self._actor.reset(context, column)
        self._done = np.zeros(rows, dtype=np.int64)
        self.observation = np.zeros((rows, self._tasks, ActionLayout(actions - 1).size), dtype=np.float32)
        self.mask = np.zeros((rows, self._tasks, actions), dtype=np.int8)
        self.action = np.full((rows, self._tasks), UNKNOWN)
        self.alone = np.zeros((rows, self._tasks))
        self.expert = np.zeros((rows, self._tasks), dtype=np.bool_)

    def decide(self, view: View) -> Decision:
        """The actor's choice; as an action it is unknown if it is none, or one that the mask does not allow."""
        observation, mask = self._observe_as(view)
        option = self._actor.act(view, observation, mask)
        row, k = view.row, self._done[view.row]
        action = self._action_of[view.stream, option]  # DROP (-1) is the last column
        allowed = mask[np.arange(len(row)), action] != 0
        self.observation[row, k], self.mask[row, k] = observation, mask
        self.action[row, k] = np.where(allowed, action, UNKNOWN)
        self.alone[row, k] = gain_alone(self._context, view, self._table)
        self.expert[row, k] = self._actor.teaches
        self._done[row] += 1
        return Decision(option)


def with_dropping(column: IntArray) -> IntArray:
    """(M, J+1): the option that each action is, DROP for the last one."""
    return np.concatenate([column, np.full((len(column), 1), DROP)], axis=1)


def action_of_option(context: Context, column: IntArray) -> IntArray:
    """(M, K+1): the action that each option of the context's table is, UNKNOWN where none; last that of DROP."""
    streams, actions = column.shape
    action = np.full((streams, context.options.exit.shape[1] + 1), UNKNOWN)
    for m in range(streams):
        for j in np.flatnonzero(column[m] != DROP):
            action[m, column[m, j]] = j
    action[:, -1] = actions - 1
    return action
