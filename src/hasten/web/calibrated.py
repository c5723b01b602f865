"""Promised against kept: of the tasks promised to be on time with some share, how many were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hasten.web.tasks import ShownTask

BINS = 10
RECENT_TASKS = 2_000
FEWEST = 5
"""A tenth with fewer tasks is not shown: it would be noise."""


def calibration(tasks: Sequence[ShownTask]) -> list[dict[str, Any]]:
    """For local and for offloaded tasks the (promised, kept, tasks) of each tenth of what was promised.

    Of ``tasks`` the last ``RECENT_TASKS`` count, and of those the ones that were promised anything.
    """
    kinds = (("device", False), ("edge", True))
    sums = [[[0.0, 0.0, 0.0] for _ in range(BINS)] for _ in kinds]
    for task in tasks[-RECENT_TASKS:]:
        if task.promised is not None:
            one = sums[_was_to_be_sent(task)][min(int(BINS * task.promised), BINS - 1)]
            one[0] += task.promised
            one[1] += task.outcome == "on_time"
            one[2] += 1
    return [
        {"kind": kind, "points": [[round(p / n, 4), round(k / n, 4), int(n)] for p, k, n in sums[sent] if n >= FEWEST]}
        for kind, sent in kinds
    ]


def _was_to_be_sent(task: ShownTask) -> bool:
    """As decided: one that the device finished after all was promised as an offloaded one."""
    return task.sent or task.fallback not in (None, "unreachable")
