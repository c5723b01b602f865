"""A fleet of environments that step together: the arrays behind both the single and the vector environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gymnasium
import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import direct
from hasten.core.errors import InputError
from hasten.core.scenario import Scenario
from hasten.features.layout import ActionLayout
from hasten.features.observation_kernel import new_memory, new_setting
from hasten.sim.arrays import BoolArray, FloatArray, IntArray, Links, Log, State, Tasks, new_log, new_state, pack_rules
from hasten.sim.beliefs import StreamBeliefs, new_beliefs
from hasten.sim.episodes import EpisodePool
from hasten.sim.finishes import finishes_of
from hasten.sim.fleet_steps import Play, Transition, advance, assign, begin, pass_time
from hasten.sim.world import World


class Fleet:
    """``rows`` environments of one scenario, each playing a realization of its own."""

    def __init__(self, scenario: Scenario, rows: int) -> None:
        self.options, self.column = scenario.options.undominated()
        self._rules = pack_rules(scenario, self.options)
        self._finishes = finishes_of(scenario, self.options)
        self._rows = rows
        self._workers = scenario.edge.workers
        self._pool = EpisodePool(scenario)
        self._seeds = [0] * rows
        self._generation = 0
        context = scenario.context(np.zeros(1, dtype=np.int64))
        streams, actions = len(context.deadline_ms), self.options.exit.shape[1] + 1
        self._play = Play(
            first_task=np.zeros(rows, dtype=np.int64),
            number=np.zeros(rows, dtype=np.int64),
            position=np.zeros(rows, dtype=np.int64),
            mask=np.zeros((rows, actions), dtype=np.int8),
            rows=np.arange(rows),
            memory=new_memory(rows, streams, len(scenario.every_edge)),
            setting=new_setting(context, self.options),
            room=0,
        )
        self._state, self._log, self._beliefs = self._arrays(0)
        self._episodes: tuple[Tasks, Links] | None = None
        self._world: World | None = None
        self._advance: Callable[..., int] | None = None

    @property
    def layout(self) -> ActionLayout:
        """Of observations."""
        return ActionLayout(int(self.options.exit.shape[1]), len(self._rules.ways.rtt_ms))

    @property
    def mask(self) -> NDArray[np.int8]:
        """A copy of the actions allowed now (rows, J+1)."""
        return self._play.mask.copy()

    def at(self, row: int) -> tuple[int, int]:
        """Number in its episode, from 0, and stream of the task that a row is to decide; at the end of the last one."""
        assert self._episodes is not None  # begun
        position, last = int(self._play.position[row]), int(self._play.number[row]) - 1
        task = int(self._play.first_task[row]) + min(position, last)
        return position, int(self._episodes[0].stream[task])

    def new_observation(self) -> NDArray[np.float32]:
        """Room for one observation of each row."""
        return np.empty((self._rows, self.layout.size), dtype=np.float32)

    def begin(self, rows: IntArray, seeds: Sequence[int], observation: NDArray[np.float32]) -> None:
        """Let ``rows`` begin the realizations with these ``seeds``; fills their rows of ``observation``."""
        for row, seed in zip(rows, seeds, strict=True):
            self._seeds[row] = seed
        episodes = self._pool.rows(seeds, self._seeds)
        if self._pool.generation != self._generation:  # all episodes have moved
            self._generation = self._pool.generation
            self._assign(np.arange(self._rows), self._pool.rows(self._seeds, self._seeds))
        tasks, links = self._assign(rows, episodes)
        self._make_room(int(tasks.number[episodes].max(initial=0)))
        self._world = World(self._rules, tasks, links, self._state, self._log, self._beliefs)
        begin(rows, observation, self._play, self._world)
        if self._rules.from_devices:
            nothing = np.zeros(self._rows), np.zeros(self._rows, dtype=np.bool_)
            pass_time(rows, Transition(observation, *nothing), self._play, self._world)

    def _assign(self, rows: IntArray, episodes: IntArray) -> tuple[Tasks, Links]:
        """Let ``rows`` play ``episodes`` of the pool; returns its tasks and the rows' links."""
        tasks, pool = self._pool.tasks, self._pool.links
        if self._episodes is None:
            shape = (self._rows, pool.begin.shape[1])
            begin, end, period_ms = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64), np.zeros(shape)
        else:
            begin, end, period_ms = self._episodes[1][:3]
        links = pool._replace(begin=begin, end=end, period_ms=period_ms)
        assign(rows, episodes, self._play, tasks, pool, links)
        self._episodes = tasks, links
        return tasks, links

    def advance(self, action: IntArray, observation: NDArray[np.float32], reward: FloatArray, ended: BoolArray) -> int:
        """Step all rows, filling the arrays; returns how many have ended their episode.

        All arrays are contiguous, ``action`` of int64.
        """
        if self._world is None:
            raise gymnasium.error.ResetNeeded("reset() comes before step()")
        actions = self._play.mask.shape[1]
        expected = f"{self._rows} whole numbers from 0 to {actions - 1}"
        if action.shape != (self._rows,):
            raise InputError("step", "actions", f"{action.size} numbers", expected)
        arguments = action, Transition(observation, reward, ended), self._play, self._world
        if self._advance is None:
            self._advance = direct(advance, *arguments)
        endings = self._advance(*arguments)
        if endings >= 0 and self._rules.from_devices:
            pass_time(self._play.rows, *arguments[1:])
        if endings < 0:
            wrong = action[(action < 0) | (action >= actions)]
            raise InputError("step", "actions", int(wrong[0]), expected)
        return endings

    def _arrays(self, room: int) -> tuple[State, Log, StreamBeliefs]:
        """State, log and beliefs with ``room`` tasks per row; in grant order a row needs one slot only to be known."""
        slots = self._rows * room if self._rules.ready else self._rows
        return (
            new_state(self._rules, self._rows, slots, room),
            new_log(self._rules, self._rows, self._rows * room, self._workers),
            new_beliefs(self._rules, self._rows, self._rows * room, room, self._finishes),
        )

    def _make_room(self, longest: int) -> None:
        """Make room for episodes of ``longest`` tasks, keeping what the rows in play have there."""
        room = self._play.room
        if longest <= room:
            return
        state, log, beliefs = self._arrays(longest)
        # What devices can do by themselves is the same whatever the room.
        olds, news = self._state + self._log + self._beliefs[:-1], state + log + beliefs[:-1]
        for old, new in zip(olds, news, strict=True):
            if len(old) == self._rows * room and len(new) == self._rows * longest:
                trailing = old.shape[1:]
                target = new.reshape(self._rows, longest, *trailing)
                target[:, :room] = old.reshape(self._rows, room, *trailing)
            elif len(old) == len(new):
                new[tuple(slice(length) for length in old.shape)] = old
        self._state, self._log, self._beliefs = state, log, beliefs
        self._play = self._play._replace(room=longest)
