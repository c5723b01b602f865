"""Driving the label-setting kernels: exact search where it fits, beam search for a good plan at once.

Both run in slices of a fraction of a second, so that a time limit or Ctrl-C ends them with what is known by then.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hasten.core.options import DROP
from hasten.offline.exact.advance import TIE_PRICE_PER_MS, SearchProgress, advance, started
from hasten.offline.exact.labels import Frontier, clip, frontier_of
from hasten.offline.exact.record import DecisionRecord, empty_record, traced
from hasten.offline.instance import Instance
from hasten.offline.time_limit import TimeLimit

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SLICE_WORK = 2e7
"""Label comparisons between two looks at the clock: about a tenth of a second."""
SLICE_TASKS = 50_000
"""No more tasks are decided between two looks at the clock."""
ON_COURSE = 0.8
"""A beam that may still prove its plan goes on if it needs this share of all time that is left."""
DEFAULT_WORK = 2e10
"""Label comparisons after which a search without time limit gives up: about a minute."""
DEFAULT_MEMORY_MB = 1024
SLOW_PACE_PER_S = 1e8
"""Label comparisons per second of a slow machine."""
PROBATION = 0.1
LEAST_PROGRESS = 0.25
"""A search is given up after the share ``PROBATION`` of its budget if it is on course to need four times as much."""
FIRST_RECORD = 1 << 18
BYTES_PER_DECISION = 10


@dataclass(frozen=True)
class Search:
    """What a search over labels found."""

    option: IntArray
    """(N,): columns of the instance's options, or DROP; all DROP when the search stopped early."""
    gain: float
    """Sum over tasks of this plan's gain above dropping all."""
    bound: float
    """No plan exceeds this sum."""
    complete: bool
    """All tasks were decided and no label was cut off, so that the plan is optimal."""
    peak: int
    """Largest number of labels at once."""
    work: float
    """Label comparisons made."""
    stopped: str = ""
    """Why the search is not complete: ``labels``, ``memory``, ``time`` or ``interrupted``."""


def first_frontier(instance: Instance, free_ms: FloatArray | None = None) -> Frontier:
    """The frontier before the first task: everything idle, or free at ``free_ms`` (M + L + W,), workers ascending."""
    costs, rates, tasks = instance
    frontier = frontier_of(np.zeros(costs.streams + costs.links + costs.workers) if free_ms is None else free_ms)
    arrival_ms = np.append(tasks.arrival_ms, np.inf)
    clip(costs, rates, arrival_ms[tasks.first], frontier.state_ms[0])
    return frontier


def beam_search(
    instance: Instance,
    width: int,
    limit: TimeLimit | None = None,
    backlog_price: float = TIE_PRICE_PER_MS,
    free_ms: FloatArray | None = None,
) -> Search:
    """A good plan fast: keep the ``width`` best labels after each task, and when time has run out a single one.

    The plan is feasible; where ``complete`` no label was ever cut off, so it is optimal as well: a beam that is on
    course to that may use more than its share of a limit. When the whole limit is used up, or the user interrupts,
    it stops and leaves no plan. ``free_ms`` is when resources are free at first (:func:`first_frontier`).
    """
    limit = limit or TimeLimit()
    search = _Run(instance, backlog_price, -np.inf, DEFAULT_MEMORY_MB, limit, free_ms)
    while not search.done:
        if search.full:
            return beam_search(instance, 1, limit, backlog_price, free_ms)
        if limit.overdue or limit.cancelled:
            return search.result("interrupted" if limit.cancelled else "time")
        search.slice(width if not limit.expired or search.on_course else 1)
    return search.result("labels" if search.progress.truncated_at >= 0 else "")


def exact_search(
    instance: Instance,
    limit: TimeLimit | None = None,
    incumbent: float = -np.inf,
    memory_limit_mb: float = DEFAULT_MEMORY_MB,
) -> Search:
    """The optimum of a grant-order instance, or as much of it as limits allow.

    Args:
        instance: what to decide; at most 32767 options per stream.
        limit: time limit; without one the search ends after a fixed amount of work, the same on every machine.
        incumbent: sum of gains of a known plan (as :attr:`Search.gain`): labels that cannot reach it are dropped.
        memory_limit_mb: what labels and their decisions may take.

    Returns:
        The search; unless ``complete`` its plan may be empty, its ``bound`` is valid all the same. A ``complete``
        search whose gain does not exceed ``incumbent`` proves the incumbent optimal.
    """
    limit = limit or TimeLimit()
    budget = _Budget(limit)
    search = _Run(instance, TIE_PRICE_PER_MS, incumbent, memory_limit_mb, limit)
    stopped = ""
    while not search.done and not stopped:
        search.slice(search.most_labels, budget.most_stage_work(search.progress.work))
        used = budget.used(search.progress.work)
        if limit.cancelled:
            stopped = "interrupted"
        elif search.progress.truncated_at >= 0 or search.full:
            stopped = "memory"
        elif search.done:
            break
        elif used >= 1.0 or search.progress.stage_too_long or too_slow(used, search.share_done):
            stopped = "time"
    return search.result(stopped)


def too_slow(used: float, done: float) -> bool:
    """Whether a search that used this share of its budget for this share of the tasks is not worth going on."""
    return used > PROBATION and done < LEAST_PROGRESS * used


class _Budget:
    """Time where there is a time limit, else an amount of work, the same on every machine."""

    def __init__(self, limit: TimeLimit) -> None:
        self._limit = limit
        self._whole_s = limit.left_s

    def used(self, work: float) -> float:
        """Share of the budget used (1: all)."""
        if np.isinf(self._whole_s):
            return work / DEFAULT_WORK
        return 1.0 - self._limit.left_s / self._whole_s if self._whole_s > 0 else 1.0

    def most_stage_work(self, work: float) -> float:
        """Label comparisons that a single task may take: as many as can be done in the time left, at a slow pace."""
        left = DEFAULT_WORK - work if np.isinf(self._whole_s) else SLOW_PACE_PER_S * self._limit.left_s
        return max(left, SLICE_WORK)


class _Run:
    """One search in progress."""

    def __init__(
        self,
        instance: Instance,
        backlog_price: float,
        prune_below: float,
        memory_limit_mb: float,
        limit: TimeLimit,
        free_ms: FloatArray | None = None,
    ) -> None:
        self._limit = limit
        self._began_s = limit.spent_s
        self._long_stages = False
        self._instance = instance
        self._backlog_price = backlog_price
        self._prune_below = prune_below
        self._frontier = first_frontier(instance, free_ms)
        self._record: DecisionRecord = empty_record(FIRST_RECORD)
        self._plan = np.full(len(instance.tasks.arrival_ms), DROP, dtype=np.int64)
        self.progress: SearchProgress = started(instance)
        width = self._frontier.state_ms.shape[1]
        options = instance.costs.worth.shape[1] + 1
        bytes_per_label = 2 * (16 * width + 16) + 2 * 56 * options
        half = 0.5 * memory_limit_mb * 2**20
        self.most_labels = max(int(half / bytes_per_label), 1)
        self._most_recorded = max(int(half / BYTES_PER_DECISION), 1)

    @property
    def done(self) -> bool:
        """Whether every task is decided, or nothing is left to decide about."""
        return self.progress.task == len(self._plan) or self.progress.labels == 0

    @property
    def full(self) -> bool:
        """Whether the record of decisions would outgrow its memory."""
        return self.progress.record_full and len(self._record.parent) >= self._most_recorded

    @property
    def share_done(self) -> float:
        """Share of the tasks decided."""
        return self.progress.task / max(len(self._plan), 1)

    @property
    def on_course(self) -> bool:
        """Whether no label was cut off so far and, at the pace so far, all tasks will be decided in time."""
        if self.progress.truncated_at >= 0 or self.share_done == 0.0:
            return False
        needed_s = (self._limit.spent_s - self._began_s) * (1.0 / self.share_done - 1.0)
        return needed_s < ON_COURSE * self._limit.whole_left_s

    def slice(self, most_labels: int, most_stage_work: float = np.inf) -> None:
        """Go on for about a tenth of a second, or until one task more is decided.

        Where a task takes longer, it is decided on a thread, so that this one notices signals meanwhile.
        """
        if self.progress.record_full:
            self._grow_record()
        if not self._long_stages:
            self._advance(most_labels, min(most_stage_work, SLICE_WORK))
            if not self.progress.stage_too_long or most_stage_work <= SLICE_WORK:
                return
            self._long_stages = True
        with ThreadPoolExecutor(1) as thread:
            going_on = thread.submit(self._advance, most_labels, most_stage_work)
        going_on.result()

    def _advance(self, most_labels: int, most_stage_work: float) -> None:
        progress, self._frontier = advance(
            self._instance,
            self.progress,
            self._frontier,
            self._record,
            self._plan,
            min(self.progress.task + SLICE_TASKS, len(self._plan)),
            most_labels,
            self._prune_below,
            self._backlog_price,
            self.progress.work + SLICE_WORK,
            most_stage_work,
            self._limit.stop,
        )
        self.progress = SearchProgress(*progress)

    def result(self, stopped: str) -> Search:
        """What is known now; an interrupted slice leaves no plan behind."""
        progress, gain = self.progress, 0.0
        if progress.labels and self.done and stopped != "interrupted":
            best = int(np.argmax(self._frontier.gain[: progress.labels]))
            gain = float(self._frontier.gain[best])
            traced(self._record, int(self._frontier.node[best]), self._plan)
        complete = self.done and progress.truncated_at < 0
        bound = max(gain, self._prune_below) if complete else progress.bound
        return Search(self._plan, gain, bound, complete, progress.peak, progress.work, stopped)

    def _grow_record(self) -> None:
        old = self._record
        self._record = empty_record(min(4 * len(old.parent), self._most_recorded))
        self._record.parent[: len(old.parent)] = old.parent
        self._record.task[: len(old.task)] = old.task
        self._record.option[: len(old.option)] = old.option
