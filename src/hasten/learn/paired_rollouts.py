"""Experience from paired rollouts: the same run simulated again, with another option at some of its decisions.

Arrivals and links do not depend on decisions, so a run and its rollout differ by what was decided alone: the difference
of what all their tasks gained is what the option was worth. Unlike the timing law's word (:mod:`hasten.learn.pairs`)
it holds in ready order too, where a tensor may overtake those of earlier tasks, and on links of which nobody knows how
they go on. It is noisier, because the runs' later decisions differ as well.

Of every ``2 * span`` decisions of a run, the first is a *branch point*: each rollout takes another option there. The
decision ``span`` later is where both are evaluated, and whose value stands for the rest of the runs. Until the next
branch point both go on as the policy says, so that hardly anything of the old difference is left there. What is gained
in between counts alike, however late: with a discount the backlog of the stream's own device, which only its own next
tasks meet, would seem cheaper than that of the uplink, which the very next task meets. (Rollouts with common random
numbers: Bertsekas, Tsitsiklis and Wu, "Rollout algorithms for combinatorial optimization", Journal of Heuristics 3,
1997; here their differences are regressed, with a value at the end as in n-step returns.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import Context, Decision, EdgeChoosing, FloatArray, IntArray, View
from hasten.core.scenario import Scenario
from hasten.features.afterstates import context_of, greedy_action
from hasten.features.among_edges import afterstate_features
from hasten.learn.collect import Values, with_dropping
from hasten.learn.domain import Domain, Runs, draw_runs
from hasten.learn.pairs import Pairs, afterstates_after, another, shortfall_of
from hasten.sim import simulate_realizations

RUNS = 64
"""Different runs of a batch: many, because a step of the simulation costs hardly more for many rows than for few."""
ROLLOUTS = 7
"""Of each run."""
TASKS, BRANCH_POINTS = 300, 3
"""Least number of tasks and, with the most streams, of branch points of a run."""
SPAN_PER_STREAM = 3
"""Tasks of each stream from a branch point to its evaluation."""
GREEDY_SHARE = 0.5
"""Share of branch points at which a rollout does what Greedy would do, if that differs: no decision matters more."""


def collect_rollouts(
    scenario: Scenario, domain: Domain, values: Values, discount: float, rng: np.random.Generator
) -> Pairs:
    """Pairs from a batch of runs drawn from the domain, in which the policy of these action values decides."""
    _, streams = domain.streams_of(scenario)
    tasks = max(TASKS, BRANCH_POINTS * 2 * SPAN_PER_STREAM * streams)
    return pairs_of_rollouts(draw_runs(scenario, domain, rng, RUNS, tasks), values, discount, rng)


def pairs_of_rollouts(runs: Runs, values: Values, discount: float, rng: np.random.Generator) -> Pairs:
    """Simulate these runs, each with its rollouts, and compare."""
    span = span_of(runs)
    recorder = RolloutRecorder(values, max(run.tasks for run in runs.realizations), span, rng)
    results = simulate_realizations(
        runs.scenario, recorder, [run for run in runs.realizations for _ in range(1 + ROLLOUTS)]
    )
    overtakes = runs.scenario.uplink.order == "ready"
    return recorder.pairs([result.gain for result in results], discount, overtakes)


def span_of(runs: Runs) -> int:
    """Decisions from a branch point to its evaluation."""
    return SPAN_PER_STREAM * len(runs.scenario.devices)


class RolloutRecorder(EdgeChoosing):
    """Decides as a policy does, but at branch points; keeps what was seen and done there and at evaluations.

    Row 0 of every ``1 + ROLLOUTS`` rows never branches: the others are its rollouts.
    """

    name = "rollouts"

    def __init__(self, values: Values, tasks: int, span: int, rng: np.random.Generator) -> None:
        """For up to ``tasks`` decisions a run."""
        self._values, self._slots, self._span, self._rng = values, tasks // span + 1, span, rng

    def reset(self, context: Context) -> None:
        """Choose when each run branches first, and make room."""
        table, column = context.options.undominated()
        self._features = afterstate_features(context, table)
        self._column = with_dropping(column)
        rows, actions = context.batch, self._column.shape[1]
        self._first = np.repeat(self._rng.integers(2 * self._span, size=rows // (1 + ROLLOUTS)), 1 + ROLLOUTS)
        self._done = np.zeros(rows, dtype=np.int64)
        self.seen = np.zeros((rows, self._slots, self._features.layout.size), dtype=np.float32)
        self.mask = np.zeros((rows, self._slots, actions), dtype=np.int8)
        self.action = np.zeros((rows, self._slots), dtype=np.int64)

    def decide(self, view: View) -> Decision:
        """The policy's choice; another one at a rollout's branch points."""
        seen, mask, _ = self._features.observe(view)
        action = np.where(mask, self._values(seen), -np.inf).argmax(axis=1)
        after = self._done[view.row] - self._first[view.row]
        at = np.flatnonzero((after >= 0) & (after % self._span == 0))
        if len(at):
            row, slot = view.row[at], after[at] // self._span
            branches = (row % (1 + ROLLOUTS) > 0) & (slot % 2 == 0)
            action[at] = np.where(branches, self._branch(seen[at], mask[at], action[at]), action[at])
            self.seen[row, slot], self.mask[row, slot], self.action[row, slot] = seen[at], mask[at], action[at]
        self._done[view.row] += 1
        return Decision(self._column[view.stream, action])

    def _branch(self, seen: NDArray[np.float32], mask: NDArray[np.int8], action: IntArray) -> IntArray:
        """(B,): other actions than these, where there are any."""
        greedy = greedy_action(seen)
        wanted = (greedy != action) & (np.take_along_axis(mask, greedy[:, None], axis=1)[:, 0] != 0)
        wanted &= self._rng.random(len(action)) < GREEDY_SHARE
        return np.where(wanted, greedy, another(seen, mask, action, self._rng))

    def pairs(self, gains: Sequence[FloatArray], discount: float, overtakes: bool) -> Pairs:
        """What the branches of all rollouts led to, and what the runs without them did, in order of rows.

        Where tensors overtake each other an option changes what becomes of tasks that arrived earlier, too.

        Args:
            gains: (N,) of each row, of all its tasks.
            discount: of the value at the evaluation.
            overtakes: whether they do.
        """
        span, rows = self._span, np.arange(len(gains))
        plain = rows - rows % (1 + ROLLOUTS)
        gain = np.zeros((len(gains), max(map(len, gains))))
        for i, of_tasks in enumerate(gains):
            gain[i, : len(of_tasks)] = of_tasks
        more = gain - gain[plain]
        before = np.pad(np.cumsum(more, axis=1), ((0, 0), (1, 0)))  # what all tasks before each one gained more
        evaluations = np.maximum(np.array([len(of_tasks) for of_tasks in gains]) - 1 - self._first, 0) // span
        slots = np.arange(0, self.action.shape[1], 2)
        branches = (slots < evaluations[:, None]) & (self.action[:, slots] != self.action[plain][:, slots])
        row, at = np.nonzero(branches)
        slot, both = slots[at], np.stack([row, plain[row]], axis=1)
        task = self._first[row] + span * slot
        earliest = np.maximum(task - span, 0) if overtakes else task
        between = before[row, task + span] - before[row, earliest] - more[row, task]
        seen, action = self.seen[both, slot[:, None]], self.action[both, slot[:, None]]
        flat = seen.reshape(-1, seen.shape[2])
        return Pairs(
            context=context_of(seen),
            afterstate=afterstates_after(flat, action.reshape(-1, 1)).reshape(-1, 2, self._features.layout.backlogs),
            shortfall=shortfall_of(flat, action.ravel(), gain[both, task[:, None]].ravel()).reshape(-1, 2),
            between=between.astype(np.float32),
            discount=np.full(len(row), discount, dtype=np.float32),
            next_obs=self.seen[both, slot[:, None] + 1],
            next_mask=self.mask[both, slot[:, None] + 1],
        )
