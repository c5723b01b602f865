"""Where the tasks of each option stop and what they need then, as arrays beside the option table.

See :mod:`hasten.core.confidence` for what stopping early means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hasten.core.profile import Profile

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Stops:
    """Where tasks of each option stop (``core.confidence``), and what they then need; every array is (M, J, E).

    Column k is exit k + 1; from the option's own exit on all columns are what a task needs that goes all the way.
    """

    until: FloatArray
    """Share of tasks that stop at this exit or before."""
    device_ms: FloatArray
    payload_bits: FloatArray
    edge_ms: FloatArray
    accuracy: FloatArray
    worth: FloatArray
    energy_mj: FloatArray

    def columns(self, column: IntArray) -> Stops:
        """The part that ``column`` (M, J') lists; the column behind the last is padding."""
        fill = {"until": 1.0, "device_ms": np.inf, "energy_mj": np.nan}
        picked = {}
        for name, values in vars(self).items():
            padding = np.full((values.shape[0], 1, values.shape[2]), fill.get(name, 0.0))
            padded = np.concatenate([values, padding], axis=1)
            picked[name] = np.take_along_axis(padded, column[:, :, None], axis=1)
        return Stops(**picked)

    def mean(self, values: FloatArray) -> FloatArray:
        """(M, J): the mean of ``values`` (M, J, E) over tasks."""
        share = np.diff(self.until, axis=2, prepend=0.0)
        return np.asarray((share * np.where(share > 0, values, 0.0)).sum(axis=2))


def stream_stops(profile: Profile, rows: FloatArray, energy_weight_per_mj: float) -> FloatArray:
    """The stops (7, J, e) of a stream's options ``rows`` (8, J), in the order of the fields of :class:`Stops`.

    ``rows`` are in the order of the fields of the option table. Whoever stops has done what that exit asks for.
    """
    column = {(int(exit_), int(p)): j for j, (exit_, p) in enumerate(rows[:2].T)}
    found = np.empty((7, rows.shape[1], len(profile.exits)))
    for (exit_, p), j in column.items():
        for k, head in enumerate(profile.exits):
            stopped = min(k + 1, exit_)
            here = stopped < exit_ and head.after_block <= p  # on the device, which then sends nothing
            done = column[stopped, head.after_block if here else p]
            energy_mj = rows[7, done if here else j]
            if profile.confidence is None:
                until, accuracy = float(stopped == exit_), rows[5, j]
            else:
                outcome = profile.confidence.outcomes[exit_ - 1][p]
                until = outcome.until(stopped)
                accuracy = outcome.accuracies[stopped - 1]
            worth = accuracy
            if energy_weight_per_mj > 0:
                worth -= energy_weight_per_mj * energy_mj
            needs = rows[2, done if here else j], rows[3, done], rows[4, done]
            found[:, j, k] = until, *needs, accuracy, worth, energy_mj
    return found


def all_stops(rows: Sequence[FloatArray], width: int) -> Stops:
    """The stops (7, J, e) of all streams, padded to ``width`` options and to the most exits of any."""
    exits = max(row.shape[2] for row in rows)
    found = np.zeros((7, len(rows), width, exits))
    found[0] = 1.0
    found[1] = np.inf
    found[6] = np.nan
    for m, row in enumerate(rows):
        found[:, m, : row.shape[1], : row.shape[2]] = row
        found[:, m, : row.shape[1], row.shape[2] :] = row[:, :, -1:]
    return Stops(*found)
