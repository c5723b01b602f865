"""How much a scenario may ask for, checked before anything of that size is made; and what a seed is."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hasten.core.arrivals import MAX_TASKS, ExplicitArrivals, MmppArrivals, RecordedArrivals
from hasten.core.errors import InputError
from hasten.core.files import MAX_MS
from hasten.core.rates import GaussMarkovRate

if TYPE_CHECKING:
    from hasten.core.scenario import Scenario

SLACK_AFTER_LAST_ARRIVAL = 4.0
"""Link rates are drawn beyond the last arrival by this many times the longest deadline."""
MAX_SEED = 2**63 - 1
MAX_RATE_STEPS = 20_000_000
"""Steps that generated rates have in a run, all links together: some 64 bytes each."""
MAX_ARRIVAL_STEPS = 5_000_000
"""Seconds of recorded counts, or stays in a state, that the arrivals of a run go through."""
MAX_OPTION_VALUES = 10_000_000
"""Streams times options of the longest profile: 64 bytes each."""


def check_seed(seed: Any, where: str = "realization", field: str = "seed") -> int:
    """Return a seed as a plain integer; anything but a whole number from 0 to 2**63 - 1 is an :class:`InputError`."""
    try:
        number = -1 if isinstance(seed, bool | np.bool_) else operator.index(seed)
    except TypeError:
        number = -1
    if not 0 <= number <= MAX_SEED:
        raise InputError(where, field, seed, "a whole number from 0 to 2**63 - 1")
    return number


def check_size(scenario: Scenario, where: str | Path) -> None:
    """Raise :class:`InputError` where a run of the scenario would not fit into memory or never be drawn."""
    horizon_ms, count = scenario.horizon_ms, scenario.tasks_per_stream
    tasks, arrival_steps, longest_ms = 0.0, 0.0, 0.0
    for spec in scenario.streams:
        arrivals = spec.arrivals
        per_ms = arrivals.mean_rate_hz(scenario.folder) / 1000.0
        span_ms = horizon_ms if horizon_ms is not None else (count or 0) / per_ms
        longest_ms = max(longest_ms, span_ms)
        tasks += spec.count * (len(arrivals.times_ms) if isinstance(arrivals, ExplicitArrivals) else span_ms * per_ms)
        if isinstance(arrivals, MmppArrivals):
            arrival_steps += spec.count * span_ms / float(np.mean(arrivals.dwell_ms))
        elif isinstance(arrivals, RecordedArrivals) and arrivals.counts_seconds(scenario.folder):
            arrival_steps += spec.count * span_ms * arrivals.speedup / 1000.0
    length = "horizon_ms" if horizon_ms is not None else "tasks_per_stream"
    asked = horizon_ms if horizon_ms is not None else count
    if tasks > MAX_TASKS:
        raise InputError(where, length, asked, f"at most {MAX_TASKS} tasks in all, not {tasks:.3g}")
    if longest_ms > MAX_MS:
        raise InputError(where, length, asked, f"a run of at most {MAX_MS:g} ms, not {longest_ms:.3g}")
    if arrival_steps > MAX_ARRIVAL_STEPS:
        expected = f"arrivals of at most {MAX_ARRIVAL_STEPS} steps in all, not {arrival_steps:.3g}"
        raise InputError(where, length, asked, expected)
    slack_ms = SLACK_AFTER_LAST_ARRIVAL * max(spec.deadline_ms for spec in scenario.streams)
    devices = sum(spec.count for spec in scenario.streams)
    steps = 0.0
    for i, way in enumerate(scenario.every_edge):
        rate = way.uplink.rate
        if isinstance(rate, GaussMarkovRate):
            links = devices if way.uplink.topology == "dedicated" else 1
            steps += links * (longest_ms + slack_ms) / rate.step_ms
            if steps > MAX_RATE_STEPS:
                field = "uplink.rate.step_ms" if scenario.edges is None else f"edges[{i}].uplink.rate.step_ms"
                expected = f"at most {MAX_RATE_STEPS} steps in a run, not {steps:.3g}"
                raise InputError(where, field, rate.step_ms, expected)
