"""A plan at once: what a simple rule decides online, which no answer of the offline solver may fall short of.

The rule is that of the ``greedy`` scheduler where gains do not fade: the option of the largest gain that is predicted
to be on time, then the earliest. The simulator runs it compiled, in milliseconds even for tens of thousands of tasks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import Context, EdgeChoosing
from hasten.core.options import DROP, OptionTable
from hasten.core.ranking import RankedScheduler, Ranking, rank_bonus_ms
from hasten.core.scenario import Realization, Scenario
from hasten.sim import simulate_realizations

IntArray = NDArray[np.int64]


def incumbent(scenario: Scenario, realization: Realization) -> IntArray:
    """The rule's decisions (N,) as executed: columns of ``scenario.options``, or DROP."""
    result = simulate_realizations(scenario, _LargestGain(), [realization])[0]
    column = _column_of(scenario.options)
    edge = np.zeros(realization.tasks, dtype=np.int64) if result.edge is None else result.edge
    chosen: IntArray = column[edge, realization.stream, result.decisions[:, 0], result.decisions[:, 1]]
    return chosen


class _LargestGain(RankedScheduler, EdgeChoosing):
    """The useful option of the largest gain, ties to the earliest finish."""

    name = "incumbent"

    def reset(self, context: Context) -> None:
        """Rank the undominated options by gain; where gain falls with latency, by what latency it is worth."""
        table, column = context.options.undominated()
        time_weight = context.gain_terms.time_weight
        if time_weight > 0.0:
            bonus_ms = table.worth * context.deadline_ms[:, None] / time_weight
        else:
            _, rank = np.unique(table.worth, return_inverse=True)
            bonus_ms = rank_bonus_ms(context, rank.reshape(table.worth.shape))
        self.choice = Ranking(context, bonus_ms, np.full_like(bonus_ms, -np.inf), (table, column))


def _column_of(options: OptionTable) -> IntArray:
    """(E, M, exits + 1, partitions + 1): the column of a stream's pair at an edge, DROP for (0, 0) and what is not."""
    edges, exits, cuts = options.edge.max() + 1, options.exit.max() + 1, options.partition.max() + 1
    column = np.full((edges, options.streams, exits, cuts), DROP)
    for m, count in enumerate(options.count):
        column[options.edge[m, :count], m, options.exit[m, :count], options.partition[m, :count]] = np.arange(count)
    return column
