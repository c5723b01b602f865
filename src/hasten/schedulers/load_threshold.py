"""Load threshold: the exit from the total backlog, by thresholds; at its most accurate cut in time, then the earliest.

The load is the sum of the visible waits for device, uplink and edge as a share of the deadline. Below the first
threshold the final exit is taken, below the second the one before it, and so on; a threshold of 0 rules its exit out.
:func:`tune_load_threshold` finds thresholds for a scenario on training runs; without that they are spread evenly over
the deadline. Early exits by queue length are compared, in another setting, by CEED (INFOCOM 2025).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from hasten.core.decision import Context, IntArray
from hasten.core.errors import HastenError, InputError
from hasten.core.options import OptionTable
from hasten.core.ranking import LoadWindow, RankedScheduler, Ranking, rank_bonus_ms
from hasten.core.scenario import Scenario

TRAINING_SEEDS = tuple(range(1_000_000, 1_000_008))
"""Seeds for tuning, far from those that anyone evaluates on."""
TUNING_STEPS = (0.4, 0.2, 0.1)
"""Tuning moves thresholds by these shares of the deadline, in turn, as long as a move improves."""


class LoadThreshold(RankedScheduler):
    """Exit by thresholds on the backlog; ``load-threshold:0.2,0.6`` gives ascending shares of the deadline."""

    def __init__(self, argument: str = "") -> None:
        self.name = f"load-threshold:{argument}" if argument else "load-threshold"
        self._given = _shares(argument)

    def reset(self, context: Context) -> None:
        """Lay out each stream's thresholds: the load allows one exit, of which the most accurate cut in time is taken.

        Of cuts as accurate as each other the one that finishes earliest is taken.

        Raises:
            HastenError: a stream's number of exits does not fit the given thresholds.
        """
        exits = context.options.exit
        low, high = np.full(exits.shape, np.inf), np.full(exits.shape, np.inf)
        for m, number in enumerate(exits.max(axis=1)):
            shares = np.arange(1, number) / number if self._given is None else np.array(self._given)
            if len(shares) != number - 1:
                raise HastenError(
                    f"scheduler {self.name}: {len(shares)} thresholds, expected {number - 1} for stream {m}, which has "
                    f"{number} exits"
                )
            bounds = np.concatenate([[-np.inf], shares, [np.inf]])[::-1]  # the final exit lies below the first
            for exit_number in range(1, number + 1):
                low[m, exits[m] == exit_number] = bounds[exit_number]
                high[m, exits[m] == exit_number] = bounds[exit_number - 1]
        useful_ms = rank_bonus_ms(context, _rank_within_exits(context.options))
        self.choice = Ranking(context, useful_ms, np.zeros(exits.shape), window=LoadWindow(low, high))


def _rank_within_exits(options: OptionTable) -> IntArray:
    """(M, J): the rank of each option's accuracy among those of its stream's exit, from 0; equals share a rank."""
    rank = np.zeros(options.exit.shape, dtype=np.int64)
    for m in range(options.streams):
        for exit_number in np.unique(options.exit[m]):
            own = options.exit[m] == exit_number
            rank[m, own] = np.unique(options.accuracy[m, own], return_inverse=True)[1]
    return rank


def tune_load_threshold(scenario: Scenario, seeds: Sequence[int] = TRAINING_SEEDS) -> LoadThreshold:
    """Find thresholds of large mean gain on runs with ``seeds``, by moving one at a time while that improves.

    The search starts from thresholds spread evenly, or from the first exit alone where that is better.
    All streams need the same number of exits; they share the thresholds. The result's name holds them, so that it
    can be made again by ``make_scheduler``.

    Raises:
        HastenError: the streams differ in their number of exits, or have only one.
    """
    from hasten.sim import simulate_realizations  # only tuning needs the simulator, deciding does not

    exits = {len(stream.profile.exits) for stream in scenario.devices}
    if len(exits) != 1 or exits == {1}:
        raise HastenError(f"load-threshold: tuning needs streams of one number of exits above 1, got {sorted(exits)}")
    number = exits.pop() - 1
    realizations = [scenario.realize(seed) for seed in seeds]
    tried: dict[tuple[float, ...], float] = {}

    def gain(shares: tuple[float, ...]) -> float:
        if shares not in tried:
            results = simulate_realizations(scenario, _with_shares(shares), realizations)
            tried[shares] = float(np.mean([result.mean_gain for result in results]))
        return tried[shares]

    spread = tuple(round((i + 1) / (number + 1), 2) for i in range(number))
    best = max((spread, (0.0,) * number), key=gain)
    for step in TUNING_STEPS:
        while True:
            better = max(_moved(best, step), key=gain)
            if gain(better) <= gain(best):
                break
            best = better
    return _with_shares(best)


def _moved(shares: tuple[float, ...], step: float) -> list[tuple[float, ...]]:
    """All ways to move one threshold by ``step``, pushing its neighbours along where they would be passed."""
    moved = []
    for i, share in enumerate(shares):
        up = round(share + step, 2)
        moved.append((*shares[:i], *(max(other, up) for other in shares[i:])))
        down = max(round(share - step, 2), 0.0)
        moved.append((*(min(other, down) for other in shares[: i + 1]), *shares[i + 1 :]))
    return moved


def _with_shares(shares: tuple[float, ...]) -> LoadThreshold:
    return LoadThreshold(",".join(f"{share:g}" for share in shares))


def _shares(argument: str) -> tuple[float, ...] | None:
    """Ascending shares of the deadline from the text behind the colon."""
    if not argument:
        return None
    try:
        shares = tuple(float(part) for part in argument.split(","))
    except ValueError:
        shares = ()
    ascending = all(a <= b for a, b in pairwise(shares))
    if not shares or not ascending or not all(0 <= share < np.inf for share in shares):
        raise InputError("schedulers", "load-threshold", argument, "ascending shares of the deadline, as in 0.2,0.6")
    return shares
