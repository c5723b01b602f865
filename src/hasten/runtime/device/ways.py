"""What a device can do by itself: every way to finish a task there, and what its calls cost beyond the profile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hasten.core.options import OptionTable
from hasten.core.profile import ExitHead, Profile

BuildTime = Callable[[str, int, int], float]
"""(kind, partition, exit) of a segment -> milliseconds that its call takes longer because it is not held."""


def with_building(table: OptionTable, profile: Profile, build_ms: BuildTime) -> OptionTable:
    """The options with what building a segment that the device cannot keep adds to each call."""

    def extra(exit_: int, partition: int) -> float:
        if partition == profile.exits[exit_ - 1].after_block:
            return build_ms("finish", 0, exit_)
        return build_ms("prefix", partition, 0) if partition else 0.0

    device_ms = table.device_ms.copy()
    for j in range(int(table.count[0])):
        device_ms[0, j] += extra(int(table.exit[0, j]), int(table.partition[0, j]))
    return replace(table, device_ms=device_ms)


@dataclass(frozen=True, slots=True, order=True)
class LocalFinish:
    """One way to finish on the device; the largest is the most accurate, then the slowest."""

    accuracy: float
    device_ms: float
    exit: int
    after_block: int


def local_finishes(profile: Profile, slowdown: float) -> list[list[LocalFinish]]:
    """For each partition the ways to finish on the device from there; no codec acts on them."""
    ends_ms = np.concatenate([[0.0], np.cumsum([block.device_ms for block in profile.blocks])])

    def way(p: int, number: int, head: ExitHead) -> LocalFinish:
        device_ms = float(ends_ms[head.after_block] - ends_ms[p] + head.device_ms) * slowdown
        return LocalFinish(head.accuracy_at(head.after_block), device_ms, number, head.after_block)

    return [
        [way(p, number, head) for number, head in enumerate(profile.exits, start=1) if head.after_block >= p]
        for p in range(len(profile.blocks) + 1)
    ]
