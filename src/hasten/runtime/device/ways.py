"""What a device can do by itself: every way to finish a task there, and what its calls cost beyond the profile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hasten.core.options import OptionTable
from hasten.core.profile import Profile

BuildTime = Callable[[str, int, int], float]
"""(kind, partition, exit) of a segment -> milliseconds that its call takes longer because it is not held."""


def building(table: OptionTable, profile: Profile, build_ms: BuildTime | None) -> NDArray[np.float64]:
    """(J,): what building a segment that the device cannot keep adds to each call of an option of ``table``."""
    added_ms = np.zeros(table.device_ms.shape[1])
    if build_ms is None:
        return added_ms
    for j in range(int(table.count[0])):
        exit_, partition = int(table.exit[0, j]), int(table.partition[0, j])
        if partition == profile.exits[exit_ - 1].after_block:
            added_ms[j] = build_ms("finish", 0, exit_)
        elif partition:
            added_ms[j] = build_ms("prefix", partition, 0)
    return added_ms


@dataclass(frozen=True, slots=True, order=True)
class LocalFinish:
    """One way to finish on the device; the largest is the most accurate, then the slowest."""

    accuracy: float
    device_ms: float
    exit: int
    after_block: int


def local_finishes(profile: Profile) -> list[list[tuple[float, int, int]]]:
    """For each partition the ways to finish there on the device: accuracy without a codec, exit, its last block."""
    return [
        [
            (head.accuracy_at(head.after_block), number, head.after_block)
            for number, head in enumerate(profile.exits, start=1)
            if head.after_block >= p
        ]
        for p in range(len(profile.blocks) + 1)
    ]
