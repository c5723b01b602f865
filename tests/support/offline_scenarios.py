"""Scenarios and prices that several tests of the offline solver share."""

from __future__ import annotations

import numpy as np

from hasten.core.scenario import scenario_from

SLACK = 1e-6


def alexnet(streams: int, tasks: int, **changes):
    data = {
        "schema": "hasten.scenario/1",
        "streams": [
            {
                "name": "cam",
                "count": streams,
                "profile": "alexnet-pi",
                "deadline_ms": 80,
                "arrivals": {"kind": "poisson", "rate_hz": 15},
            }
        ],
        "uplink": {"rate": {"kind": "constant", "mbps": 10}},
        "edge": {"slowdown": 4},
        "tasks_per_stream": tasks,
    }
    return scenario_from(data | changes)


def random_prices(grid, rng):
    """Prices in stretches, many of them zero; per cell, around the worth of a task for a few milliseconds."""
    shape = (grid.links + 1, grid.cells)
    stretch = np.repeat(rng.random((grid.links + 1, grid.cells // 7 + 1)), 7, axis=1)[:, : grid.cells]
    return np.where(stretch < 0.5, 0.0, 0.1 * grid.cell_ms * rng.random(shape) * rng.random())
