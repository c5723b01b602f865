"""What tasks need that stop where they stop, as the kernels read it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.options import OptionTable

FloatArray = NDArray[np.float64]


class TaskNeeds(NamedTuple):
    """What a task needs that stops at an exit (``core.stops``); where none stops early, what its option needs.

    Arrays are (M, J * E), options' exits one behind the other; :func:`hasten.sim.service.needs_column` finds a task's.
    """

    until: FloatArray
    """(M, J, E): share of tasks that stop at each exit or before; (0, 0, 1) where none stops early."""
    device_ms: FloatArray
    payload_bits: FloatArray
    edge_ms: FloatArray
    worth: FloatArray


def pack_needs(options: OptionTable) -> TaskNeeds:
    """What tasks need that stop where they stop."""
    stops = options.stops
    if stops is None:
        return TaskNeeds(np.ones((0, 0, 1)), options.device_ms, options.payload_bits, options.edge_ms, options.worth)
    flat = (len(stops.until), -1)
    needs = stops.device_ms, stops.payload_bits, stops.edge_ms, stops.worth
    return TaskNeeds(stops.until, *(np.ascontiguousarray(values).reshape(flat) for values in needs))
