"""The greedy rule over a part of the options: device-only, edge-only, one fixed option, one fixed exit.

With a single option per stream the rule always takes it, unless it is predicted to be useless: then the task is
dropped, as for every scheduler.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hasten.core.decision import Context, EdgeChoosing, Selective
from hasten.core.errors import HastenError, InputError
from hasten.core.options import DROP, OptionTable
from hasten.core.ranking import RankedScheduler
from hasten.schedulers.greedy import best_gain

Part = Callable[[OptionTable, int], list[int]]
"""Which columns of a stream's row a scheduler may use."""


class Restricted(RankedScheduler, Selective, EdgeChoosing):
    """The greedy rule over the part of each stream's options that ``part`` names."""

    def __init__(self, name: str, part: Part) -> None:
        self.name = name
        self._part = part

    def reset(self, context: Context) -> None:
        """Pick the columns; a stream without any is an error."""
        options = context.options
        parts = [self._part(options, m) for m in range(options.streams)]
        for m, columns in enumerate(parts):
            if not columns:
                raise HastenError(f"scheduler {self.name}: stream {m} has no such option")
        self._parts = parts
        self.choice = best_gain(context, *options.columns(parts))

    def usable(self) -> list[list[int]]:
        """The columns of each stream's part: a device needs no other segments."""
        return self._parts


def device_only(argument: str = "") -> Restricted:
    """All on the device: at the final exit, or (``deepest``) at the best exit that meets the deadline."""
    return _one_sided("device-only", argument, lambda options, m: options.payload_bits[m] == 0)


def edge_only(argument: str = "") -> Restricted:
    """All at the edge: at the final exit, or (``deepest``) at the best exit that meets the deadline."""
    return _one_sided("edge-only", argument, lambda options, m: options.partition[m] == 0)


def fixed(argument: str = "") -> Restricted:
    """Always the pair ``EXIT,PARTITION``, at the first edge or that of number ``EDGE``, from 0."""
    try:
        exit_number, partition, *number = (int(part) for part in argument.split(","))
        (edge,) = number or [0]
    except ValueError:
        raise InputError("schedulers", "fixed", argument, "EXIT,PARTITION[,EDGE] as in fixed:2,1") from None

    def part(options: OptionTable, m: int) -> list[int]:
        if (exit_number, partition) == (0, 0):
            raise InputError("schedulers", "fixed", argument, "an exit from 1")
        index = options.index(m, exit_number, partition, edge)
        return [] if index == DROP else [index]

    return Restricted(f"fixed:{exit_number},{partition}" + (f",{edge}" if edge else ""), part)


def fixed_exit(argument: str = "") -> Restricted:
    """Always the exit ``EXIT``: at its partition of largest gain under the visible backlogs, then the earliest."""
    if not argument.isdigit() or int(argument) < 1:
        raise InputError("schedulers", "fixed-exit", argument, "an exit number from 1, as in fixed-exit:2")
    number = int(argument)
    return Restricted(
        f"fixed-exit:{number}", lambda options, m: [int(j) for j in np.flatnonzero(options.exit[m] == number)]
    )


def _one_sided(name: str, argument: str, side: Callable[[OptionTable, int], np.ndarray]) -> Restricted:
    """Options of one side only, at the final exit or at all exits."""
    if argument not in ("", "deepest"):
        raise InputError("schedulers", name, argument, f"{name} or {name}:deepest")

    def part(options: OptionTable, m: int) -> list[int]:
        n = int(options.count[m])
        allowed = side(options, m)[:n]
        if argument == "":
            allowed &= options.exit[m, :n] == options.exit[m, :n].max()
        return [int(j) for j in np.flatnonzero(allowed)]

    return Restricted(f"{name}:{argument}" if argument else name, part)
