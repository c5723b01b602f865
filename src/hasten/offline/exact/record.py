"""The record of decisions that led to labels, and how a plan is read from it; compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import allocating, compiled, inlined
from hasten.offline.exact.labels import Frontier

IntArray = NDArray[np.int64]


class DecisionRecord(NamedTuple):
    """Decisions that led to labels: a forest of (parent, task, option)."""

    parent: NDArray[np.int32]
    task: NDArray[np.int32]
    option: NDArray[np.int16]


def empty_record(capacity: int) -> DecisionRecord:
    """Room for this many decisions."""
    return DecisionRecord(np.empty(capacity, np.int32), np.empty(capacity, np.int32), np.empty(capacity, np.int16))


@inlined
def noted(record: DecisionRecord, entry: int, parent: int, task: int, option: int) -> int:
    """Write a decision to an ``entry`` of the record; returns the entry."""
    record.parent[entry], record.task[entry], record.option[entry] = parent, task, option
    return entry


@compiled
def traced(record: DecisionRecord, node: int, plan: IntArray) -> None:
    """Write the decisions that led to ``node`` into ``plan`` (N,)."""
    while node >= 0:
        plan[record.task[node]] = record.option[node]
        node = record.parent[node]


@allocating
def compacted(record: DecisionRecord, used: int, frontier: Frontier, count: int, plan: IntArray) -> int:
    """Forget decisions that no label goes back to, and write those that all go back to into ``plan``.

    Renumbers ``record`` and ``frontier.node`` in place; returns how many entries are left.
    """
    needed = np.zeros(used, np.bool_)
    for i in range(count):
        if frontier.node[i] >= 0:
            needed[frontier.node[i]] = True
    for i in range(used - 1, -1, -1):
        if needed[i] and record.parent[i] >= 0:
            needed[record.parent[i]] = True
    start = 0
    while start < used:  # tasks at whose end only one label is still needed are decided
        end, alive, last = start, 0, -1
        while end < used and record.task[end] == record.task[start]:
            if needed[end]:
                alive += 1
                last = end
            end += 1
        if alive != 1 or end == used:
            break
        plan[record.task[last]] = record.option[last]
        start = end
    number = np.full(used, -1, np.int32)
    left = 0
    for i in range(start, used):
        if needed[i]:
            parent = record.parent[i]
            record.parent[left] = number[parent] if parent >= 0 else -1
            record.task[left], record.option[left] = record.task[i], record.option[i]
            number[i] = left
            left += 1
    for i in range(count):
        if frontier.node[i] >= 0:
            frontier.node[i] = number[frontier.node[i]]
    return left
