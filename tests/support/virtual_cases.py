"""A network like the demo's, on a device some 280 times slower than this computer: what the virtual-time tests play."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np

from hasten.core.decision import Context, Decision, View
from hasten.core.profile import Profile
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.virtual.play import Machines, play
from hasten.schedulers import make_scheduler

ACCURACY = (0.60, 0.80, 0.90, 0.95)
BLOCK_MS, HEAD_MS = 25.0, 3.0
BYTES = (3500, 1400, 1200, 1100, 500)


def profile(edge_ms: float = 2.5, accuracy=ACCURACY, **given) -> Profile:
    """Four blocks with an exit behind each: 28, 53, 78 and 103 ms on the device, a tenth of that at the edge."""
    blocks = [
        {"name": f"b{i}", "device_ms": BLOCK_MS, "edge_ms": edge_ms, "output_bytes": size, "encode_ms": 0.03}
        for i, size in enumerate(BYTES[1:], start=1)
    ]
    exits = [
        {"name": f"e{i}", "after_block": i, "accuracy": value, "device_ms": HEAD_MS, "edge_ms": 0.3}
        for i, value in enumerate(accuracy, start=1)
    ]
    return Profile.model_validate(
        {
            "schema": "hasten.profile/1", "name": "played", "source": "made up", "input_bytes": BYTES[0],
            "input_encode_ms": 0.03, "task_ms": 0.5, "offload_ms": 0.4, "blocks": blocks, "exits": exits,
        } | given
    )  # fmt: skip


class Cycle:
    """Chooses options (exit, partition) in turns."""

    name = "cycle"

    def __init__(self, pairs: list[tuple[int, int]]) -> None:
        self._pairs = itertools.cycle(pairs)

    def reset(self, context: Context) -> None:
        self._options = context.options

    def decide(self, view: View) -> Decision:
        return Decision(np.array([self._options.index(0, *next(self._pairs))]))


def periodic(rate_hz: float, tasks: int) -> list[float]:
    return [1000.0 / rate_hz * i for i in range(tasks)]


def run(
    setting=None,
    *,
    deadline_ms=100.0,
    rate_hz=10.0,
    tasks=300,
    scheduler="greedy",
    network=None,
    times_ms=None,
    log=None,
    **given,
):
    """(records, world) of a stream of tasks, periodic unless their times are given."""
    chosen = make_scheduler(scheduler) if isinstance(scheduler, str) else scheduler
    settings = AgentSettings(deadline_ms, rate_hz)
    times = times_ms or periodic(rate_hz, tasks)
    return play(network or profile(), chosen, settings, times, setting, Machines(**given), log)


def worth(records, network=None) -> float:
    """Mean accuracy of what was answered on time: what a stream is worth."""
    exits = (network or profile()).exits
    return float(np.mean([exits[r["answered_exit"] - 1].accuracy if r["outcome"] == "on_time" else 0 for r in records]))


def alone(**given) -> float:
    """What the same stream is worth on a device without an edge."""
    return worth(run(edges=0, **given)[0], given.get("network"))


def between(records, from_s: float, to_s: float = np.inf):
    return [r for r in records if 1000 * from_s <= r["arrival_ms"] < 1000 * to_s]


def offloaded(records) -> float:
    """Share answered by the edge."""
    return float(np.mean([bool(r["bytes"]) and r["fallback"] is None and r["outcome"] == "on_time" for r in records]))


def told(records) -> dict:
    """How tasks ended."""
    return dict(Counter((r["outcome"], r["reason"], r["fallback"]) for r in records))
