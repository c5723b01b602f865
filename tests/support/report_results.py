"""Results as schedulers bring them, made by hand: what a report has to cope with."""

from __future__ import annotations

import numpy as np

import hasten as hs
from hasten.core.results import Result

HOSTILE = "<img src=x onerror=hacked()></script><script>hacked()</script>"
"""A name that runs a script in any page that does not escape it."""


def scenario(name="cam", rates=10):
    """Two streams of 40 ms and a shared link."""
    stream = {"name": name, "count": 2, "profile": "alexnet-pi", "deadline_ms": 40}
    stream |= {"arrivals": {"kind": "periodic", "rate_hz": 10}}
    uplink = {"rate": {"kind": "constant", "mbps": rates}}
    return hs.scenario_from(
        {"schema": "hasten.scenario/1", "streams": [stream], "uplink": uplink, "tasks_per_stream": 4}, "two cameras"
    )


def result(scheduler="greedy", seed=0, **more):
    """Eight tasks at 0, 0, 100, ... ms: four answered after 10, 20, 30, 50 ms, two lost on the way, two dropped."""
    latency_ms = np.array([10.0, 20.0, 30.0, 50.0, np.inf, np.inf, np.inf, np.inf])
    decisions = np.array([(1, 0), (2, 1), (3, 3), (3, 2), (2, 2), (2, 2), (0, 0), (0, 0)])
    arrival_ms = np.repeat(np.arange(4) * 100.0, 2)
    values = {
        "scheduler": scheduler,
        "seed": seed,
        "arrival_ms": arrival_ms,
        "stream": np.tile([0, 1], 4),
        "decisions": decisions,
        "finish_ms": arrival_ms + latency_ms,
        "deadline_ms": np.full(8, 40.0),
        "accuracy": np.array([0.5, 0.6, 0.8, 0.8, 0.0, 0.0, 0.0, 0.0]),
        "gain": np.array([0.5, 0.6, 0.8, 0.0, 0.0, 0.0, 0.0, 0.0]),
        "uplink_bytes": 1000.0,
    }
    return Result(**(values | more))
