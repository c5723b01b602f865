"""A device's log as a scenario: its own arrivals, and the link's rate as the device estimated it at each decision.

What the log cannot tell is left out: the load that other devices brought to uplink and edge shows only in the
estimated rate. Where the edge changed on the way, only what came after that is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.core.noise import NoisySource, TimeSpread, draw_noise
from hasten.core.profile import Profile
from hasten.core.rates import BITS_PER_MS_PER_MBPS, RateTrace, rate_trace
from hasten.core.scenario import Realization, Scenario, load_scenario
from hasten.core.task_log import Facts, LoggedTask

FloatArray = NDArray[np.float64]

MEASURED_SHARE, MEASURED_MS = 0.25, 5.0
"""A round trip or an edge's times that a device measured may differ so much within a recording."""
FEWEST_TASKS = 20
"""A recording of fewer tasks says nothing."""
BLOCK_TASKS = 25
"""Mean number of tasks of a block of a resample."""


@dataclass(frozen=True)
class DeviceRecording:
    """N tasks of one device and one edge; times from the first arrival on."""

    arrival_ms: FloatArray
    """(N,)"""
    rate_from_ms: FloatArray
    """(N,): when each rate was estimated."""
    bits_per_ms: FloatArray
    """(N,)"""
    length_ms: float
    deadline_ms: float
    facts: Facts

    def split(self, share: float) -> tuple[DeviceRecording, DeviceRecording]:
        """The first part of the tasks and the rest."""
        first = int(share * len(self.arrival_ms))
        return self._part(slice(None, first)), self._part(slice(first, None))

    def _part(self, rows: slice) -> DeviceRecording:
        return _recording(
            self.arrival_ms[rows], self.rate_from_ms[rows], self.bits_per_ms[rows], self.deadline_ms, self.facts
        )

    def resample(self, seed: int, spread: TimeSpread | None) -> Realization:
        """A run of the same length from blocks of this one, drawn anew with their arrivals and rates together.

        ``spread`` is the profile's, by which the tasks' times turn out.
        """
        rng = np.random.default_rng(seed)
        block_ms = self.length_ms * min(BLOCK_TASKS / len(self.arrival_ms), 0.5)
        arrivals, starts, rates = [], [], []
        for block in range(int(np.ceil(self.length_ms / block_ms))):
            begin_ms, offset_ms = rng.uniform(0.0, self.length_ms - block_ms), block * block_ms
            inside = (self.arrival_ms >= begin_ms) & (self.arrival_ms < begin_ms + block_ms)
            arrivals.append(self.arrival_ms[inside] - begin_ms + offset_ms)
            first, last = np.searchsorted(self.rate_from_ms, [begin_ms, begin_ms + block_ms], side="right")
            first = max(int(first) - 1, 0)
            starts.append(np.maximum(self.rate_from_ms[first:last] - begin_ms, 0.0) + offset_ms)
            rates.append(self.bits_per_ms[first:last])
        arrival_ms = np.concatenate(arrivals)
        tasks = len(arrival_ms)
        trace = rate_trace(np.concatenate(starts), np.concatenate(rates))
        source = NoisySource(spread, self.facts.slowdown, tasks)
        noise = draw_noise([source], [self.facts.edge_slowdown, *self.facts.further_edge_slowdowns], seed)
        return Realization(seed, arrival_ms, np.zeros(tasks, dtype=np.int64), (trace,), np.ones(tasks), noise)

    def rates(self) -> RateTrace:
        """The estimated rate over time."""
        return rate_trace(self.rate_from_ms, self.bits_per_ms)


def recording_of(tasks: Sequence[LoggedTask], where: str | Path) -> DeviceRecording:
    """The last tasks of a log that were decided on the same facts, as far as these are not measured anew now and then.

    Raises:
        InputError: there are too few of them, or the link never had a rate.
    """
    last: list[LoggedTask] = []
    for task in reversed(tasks):
        if not _alike(task.facts, tasks[-1].facts):
            break
        last.append(task)
    last.reverse()
    if len(last) < FEWEST_TASKS:
        raise InputError(where, "tasks", len(last), f"at least {FEWEST_TASKS} since the edge last changed")
    found = _recording(
        np.array([task.arrival_ms for task in last]),
        np.array([task.seen.now_ms for task in last]),
        np.array([task.seen.rate_bits_per_ms for task in last]),
        last[0].deadline_ms,
        last[0].facts,
    )
    if not found.bits_per_ms.any():
        raise InputError(where, "seen.rate_bits_per_ms", 0.0, "a link with a rate at some time")
    return found


def _alike(facts: Facts, last: Facts) -> bool:
    """Whether only what a device measures differs, and not by much."""
    measured = {name: getattr(last, name) for name in ("plan", "from_ms", "rtt_ms", "edge_slowdown", "slowdown")}
    near = math.isclose(facts.rtt_ms, last.rtt_ms, rel_tol=MEASURED_SHARE, abs_tol=MEASURED_MS)
    as_fast = math.isclose(facts.edge_slowdown, last.edge_slowdown, rel_tol=MEASURED_SHARE)
    as_fast &= math.isclose(facts.slowdown, last.slowdown, rel_tol=MEASURED_SHARE)
    return near and as_fast and replace(facts, **measured) == last


def _recording(
    arrival_ms: FloatArray, now_ms: FloatArray, bits_per_ms: FloatArray, deadline_ms: float, facts: Facts
) -> DeviceRecording:
    """Times from the first arrival; the recording ends one mean gap after the last."""
    begin_ms = float(arrival_ms[0])
    from_ms = np.maximum(now_ms - begin_ms, 0.0)
    from_ms[0] = 0.0
    order = np.argsort(from_ms, kind="stable")  # a late decision's rate may follow the next arrival
    span_ms = float(arrival_ms[-1]) - begin_ms
    length_ms = max(span_ms * len(arrival_ms) / max(len(arrival_ms) - 1, 1), 1.0)
    return DeviceRecording(arrival_ms - begin_ms, from_ms[order], bits_per_ms[order], length_ms, deadline_ms, facts)


def write_scenario(recording: DeviceRecording, profile: Profile, folder: Path) -> Scenario:
    """Write ``recorded.yaml`` with what it refers to into ``folder``; it starts anywhere in the recording.

    Its views are those that a device has, and times turn out as the profile says they do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profile.json").write_text(profile.to_json(), encoding="utf-8")
    (folder / "arrivals.txt").write_text("".join(f"{t!r}\n" for t in recording.arrival_ms.tolist()), encoding="utf-8")
    trace = recording.rates()
    mbps = (trace.bits_per_ms / BITS_PER_MS_PER_MBPS).tolist()
    rows = zip(trace.from_ms.tolist(), mbps, strict=True)
    ending = f"{max(recording.length_ms, float(trace.from_ms[-1]) + 1.0)!r},{mbps[-1]!r}\n"
    text = "time_ms,mbps\n" + "".join(f"{t!r},{rate!r}\n" for t, rate in rows) + ending
    (folder / "rates.csv").write_text(text, encoding="utf-8")
    facts = recording.facts
    time_weight, late_gain, fade = facts.gain_terms
    gain: dict[str, object] = {"kind": "on_time_accuracy"}
    if fade > 0:
        gain = {"kind": "soft", "kappa": fade}
    elif time_weight > 0 or late_gain != 0:
        gain = {"kind": "tradeoff", "lambda": time_weight, "rho": -late_gain}
    data = {
        "schema": "hasten.scenario/1",
        "streams": [
            {
                "name": "recorded",
                "profile": "profile.json",
                "deadline_ms": recording.deadline_ms,
                "slowdown": facts.slowdown,
                "arrivals": {"kind": "trace", "file": "arrivals.txt", "start": "random"},
            }
        ],
        "uplink": {
            "order": "ready",
            "rtt_ms": facts.rtt_ms,
            "rate": {"kind": "trace", "file": "rates.csv", "format": "csv", "start": "random"},
        },
        "edge": {"workers": facts.workers, "slowdown": facts.edge_slowdown},
        "gain": gain | {"energy_weight_per_mj": facts.energy_weight_per_mj},
        "view": {"kind": "device"},
        "noise": "profile",
        "tasks_per_stream": len(recording.arrival_ms),
    }
    path = folder / "recorded.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return load_scenario(path)
