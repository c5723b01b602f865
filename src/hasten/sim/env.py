"""Gymnasium environments ``hasten/Offload-v0``: decide, task by task, the exit and the partition of every stream.

One step is one task, in order of arrival; one agent decides for all streams. The single and the vector environment
are the same compiled code and give the same transitions.

* **Actions** ``Discrete(J + 1)``: action ``j < J`` is column j of ``env.unwrapped.options`` (the scenario's undominated
  options), action J drops the task. ``info["action_mask"]`` (int8) allows the options that are predicted to be worth
  something at the visible backlogs and rate, and dropping only where there is none. A masked option drops the task in
  ready order; in grant order the expired-task rule looks at its true finish. Dropping by choice always works.
* **Observations** are those of :mod:`hasten.features.observation`: finite float32, independent of the number of
  streams. With several edges actions are exits, partitions and edges, and further columns tell of each edge but the
  first (:class:`hasten.features.layout.EdgeFeature`).
* **Reward**: the task's gain. In grant order it is certain at once. In ready order a reward is the sum of the gains
  that became certain between this decision and the next, at the latest when the answer is back.
* **Episodes** end with the realization's last task by *truncation*; the final observation is that of a task of the same
  stream which would come one mean gap later.
* **Seeds**: ``reset(seed=...)`` seeds ``np_random``, which draws one realization per episode out of ``episodes``
  different ones (None: out of 2**31, so that hardly any comes twice). ``reset(options={"seed": s})`` plays
  ``scenario.realize(s)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.core.limits import check_seed
from hasten.core.options import DROP, OptionTable
from hasten.features.observation import CLIP
from hasten.sim.arrays import IntArray
from hasten.sim.drawn_rows import RENDER_MODES, rows_drawn
from hasten.sim.env_arguments import (
    ScenarioLike,
    checked_episodes,
    checked_number,
    chosen_seed,
    integers,
    scenario_of,
    single_action,
)
from hasten.sim.fleet import Fleet
from hasten.sim.picture import Picture

Observation = NDArray[np.float32]
Info = dict[str, Any]

DIFFERENT_EPISODES = 1024
MAX_ENVIRONMENTS = 1_000_000


class OffloadEnv(gymnasium.Env[Observation, np.int64]):
    """One environment; see the module for spaces and rewards.

    Args:
        scenario: a scenario, the same as plain data, or the path of a scenario file.
        episodes: number of different realizations that episodes are drawn from; None for no limit.
        render_mode: None, or ``rgb_array``: ``render()`` is a picture, (360, 640, 3) of uint8.
    """

    metadata: dict[str, Any] = {"render_modes": RENDER_MODES, "render_fps": 10}  # noqa: RUF012 - Gymnasium's own

    def __init__(
        self,
        scenario: ScenarioLike = None,
        episodes: int | None = DIFFERENT_EPISODES,
        render_mode: str | None = None,
    ) -> None:
        self.scenario = scenario_of(scenario)
        self.render_mode = render_mode
        self._episodes = checked_episodes(episodes)
        self._fleet = Fleet(self.scenario, 1)
        self._drawn = rows_drawn(render_mode, self._fleet, 1)
        self.observation_space, self.action_space = _spaces(self._fleet)
        self._reward, self._ended = np.zeros(1), np.zeros(1, dtype=np.bool_)

    @property
    def options(self) -> OptionTable:
        """The options that actions refer to."""
        return self._fleet.options

    @property
    def column(self) -> IntArray:
        """(M, J): the column that each option has in ``scenario.options``."""
        return self._fleet.column

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Begin an episode; ``options={"seed": s}`` chooses its realization."""
        super().reset(seed=None if seed is None else check_seed(seed, "reset"))
        chosen = chosen_seed(options)
        if chosen is None:
            realization = _draw(self.np_random, self._episodes)
        else:
            realization = check_seed(chosen, "reset", "options.seed")
        observation = self._fleet.new_observation()
        rows = np.zeros(1, dtype=np.int64)
        self._fleet.begin(rows, [realization], observation)
        if self._drawn is not None:
            self._drawn.begun(rows, observation)
        return observation[0], {"action_mask": self._fleet.mask[0]}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, Info]:
        """Decide one task."""
        if not isinstance(action, int | np.integer):
            action = single_action(action)
        actions, observation = np.array([action], dtype=np.int64), self._fleet.new_observation()
        if self._drawn is None:
            self._fleet.advance(actions, observation, self._reward, self._ended)
        else:
            self._drawn.deciding()
            self._fleet.advance(actions, observation, self._reward, self._ended)
            self._drawn.decided(actions, self._reward, observation)
        return observation[0], float(self._reward[0]), False, bool(self._ended[0]), {"action_mask": self._fleet.mask[0]}

    def render(self) -> Picture | None:
        """What is to be decided and what was decided last, (360, 640, 3) of uint8; None without ``rgb_array``.

        At the end of an episode it is the task after the last that the final observation tells of.
        """
        return None if self._drawn is None else self._drawn.pictures()[0]

    def action_masks(self) -> NDArray[np.bool_]:
        """The current mask, by the name that sb3-contrib's MaskablePPO asks for."""
        return np.asarray(self._fleet.mask[0] == 1)

    def option_index(self, action: int, stream: int) -> int:
        """The option in ``scenario.options``, or DROP, that an action means for a stream."""
        return int(self.column[stream, action]) if action < self.column.shape[1] else DROP


class OffloadVectorEnv(VectorEnv[Observation, IntArray, NDArray[Any]]):
    """``num_envs`` environments in one compiled call per step; otherwise like :class:`OffloadEnv`.

    Autoreset is same-step: a row whose episode ended shows the first observation of its next episode, the last one of
    the old being in ``info["final_obs"]``, its mask in ``info["final_info"]``. All returned arrays are new.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": RENDER_MODES,
        "render_fps": 10,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        scenario: ScenarioLike = None,
        episodes: int | None = DIFFERENT_EPISODES,
        render_mode: str | None = None,
    ) -> None:
        self.num_envs = num_envs = checked_number("num_envs", num_envs, MAX_ENVIRONMENTS)
        self.render_mode = render_mode
        self._episodes = checked_episodes(episodes)
        self.scenario = scenario_of(scenario)
        self._fleet = Fleet(self.scenario, num_envs)
        self._drawn = rows_drawn(render_mode, self._fleet, num_envs)
        self.single_observation_space, self.single_action_space = _spaces(self._fleet)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._generators: list[np.random.Generator] = []

    @property
    def options(self) -> OptionTable:
        """The options that actions refer to."""
        return self._fleet.options

    @property
    def column(self) -> IntArray:
        """(M, J): the column that each option has in ``scenario.options``."""
        return self._fleet.column

    def reset(
        self, *, seed: int | Sequence[int | None] | IntArray | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Begin an episode in every row.

        ``seed`` s seeds row i with s + i, a sequence each row. ``options={"seed": s}`` plays realization s in all rows,
        or, where s is a sequence, one of its own in each. Rows begin their next episode by themselves, so that there is
        no ``reset_mask``.

        Raises:
            InputError: a seed is no whole number of at least 0, there are not as many as rows, or an unknown option.
        """
        seeds = self._seeds(seed, "seed", step=1)
        chosen = self._seeds(chosen_seed(options), "options.seed", step=0)
        if not self._generators:
            self._generators = [seeding.np_random()[0] for _ in range(self.num_envs)]
        for row, row_seed in enumerate(seeds):
            if row_seed is not None:
                self._generators[row] = seeding.np_random(row_seed)[0]
        realizations = [self._draw(row) if fixed is None else fixed for row, fixed in enumerate(chosen)]
        observation = self._fleet.new_observation()
        rows = np.arange(self.num_envs)
        self._fleet.begin(rows, realizations, observation)
        if self._drawn is not None:
            self._drawn.begun(rows, observation)
        return observation, self._info()

    def step(
        self, actions: IntArray
    ) -> tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """Decide one task in every row."""
        observation = self._fleet.new_observation()
        reward, truncated = np.empty(self.num_envs), np.empty(self.num_envs, dtype=np.bool_)
        if not isinstance(actions, np.ndarray) or actions.dtype.kind not in "iu":
            actions = integers("actions", actions)
        actions = np.ascontiguousarray(actions, dtype=np.int64)
        if self._drawn is None:
            ended = self._fleet.advance(actions, observation, reward, truncated)
        else:
            self._drawn.deciding()
            ended = self._fleet.advance(actions, observation, reward, truncated)
            self._drawn.decided(actions, reward, observation)
        final = self._restart(observation, truncated) if ended else {}
        return observation, reward, np.zeros(self.num_envs, dtype=np.bool_), truncated, {**final, **self._info()}

    def render(self) -> tuple[Picture, ...] | None:
        """A picture of each row, as that of :class:`OffloadEnv`; None without ``rgb_array``."""
        return None if self._drawn is None else self._drawn.pictures()

    def _restart(self, observation: Observation, ended: NDArray[np.bool_]) -> Info:
        """Begin the next episode of the rows that have ended; returns what ``info`` says of their last."""
        rows = np.flatnonzero(ended)
        last = np.full(self.num_envs, None, dtype=object)
        mask = np.zeros_like(self._fleet.mask)
        mask[rows] = self._fleet.mask[rows]
        for row in rows:
            last[row] = observation[row].copy()
        self._fleet.begin(rows, [self._draw(int(row)) for row in rows], observation)
        if self._drawn is not None:
            self._drawn.begun(rows, observation)
        return {
            "final_obs": last,
            "_final_obs": ended.copy(),
            "final_info": {"action_mask": mask, "_action_mask": ended.copy()},
            "_final_info": ended.copy(),
        }

    def _seeds(self, seed: object, field: str, step: int) -> list[int | None]:
        """A seed for each row: ``seed + step * row`` of a single one, those of a sequence, None for a row without."""
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, Sequence | np.ndarray) and np.ndim(seed) == 1 and not isinstance(seed, str | bytes):
            if len(seed) != self.num_envs:
                raise InputError("reset", field, seed, f"{self.num_envs} seeds, one for each row, not {len(seed)}")
            return [None if own is None else check_seed(own, "reset", field) for own in seed]
        first = check_seed(seed.item() if isinstance(seed, np.ndarray) and seed.ndim == 0 else seed, "reset", field)
        return [check_seed(first + step * row, "reset", field) for row in range(self.num_envs)]

    def _draw(self, row: int) -> int:
        return _draw(self._generators[row], self._episodes)

    def _info(self) -> Info:
        return {"action_mask": self._fleet.mask, "_action_mask": np.ones(self.num_envs, dtype=np.bool_)}


def _spaces(fleet: Fleet) -> tuple[gymnasium.Space[Observation], gymnasium.spaces.Discrete]:
    """Features are never negative but for predicted gains."""
    low = np.zeros(fleet.layout.size, dtype=np.float32)
    low[fleet.layout.gains] = -CLIP
    high = np.full(fleet.layout.size, CLIP, dtype=np.float32)
    box = cast("gymnasium.Space[Observation]", gymnasium.spaces.Box(low, high, dtype=np.float32))
    return box, gymnasium.spaces.Discrete(fleet.mask.shape[1])


def _draw(generator: np.random.Generator, episodes: int | None) -> int:
    """The seed of the next episode's realization."""
    return int(generator.integers(episodes if episodes is not None else 2**31))
