"""What the study compares: sweeps over one condition each, around default conditions, on two profiles.

The defaults and ranges are those of profile A (EfficientNet-B0 on a phone-class device) and C (AlexNet on a Raspberry
Pi) in the project's problem formulation, section 7.5: from idle, where nothing is left to gain, to overload. They are
our choice, not the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from hasten.core.arrivals import RecordedArrivals
from hasten.core.files import data_folder
from hasten.core.profile_names import load_profile
from hasten.core.recordings import read_rates

Order = Literal["grant", "ready"]
Source = Literal["generated", "recorded"]

STREAM_COUNTS = (1, 3, 8)
TASKS = {1: 960}
"""Tasks of a run over all streams; of one stream more, since its offline optimum is found at once."""
TASKS_OF_SEVERAL = 240
STREAMS_PER_LINK = 3
"""More streams than this get an uplink that grows with their number, so that it is not all that limits them."""
BURST_SHARE = 0.2
"""Share of time that bursty arrivals spend in their busy state."""
BURST_MS = 500.0
"""Mean length of a burst."""


@dataclass(frozen=True)
class Conditions:
    """One cell of the study's grid, whatever the scheduler."""

    profile: str
    streams: int
    order: Order
    source: Source
    rate_hz: float
    """Mean arrivals of each stream per second."""
    mbps: float
    """Mean rate of the shared uplink."""
    deadline_ms: float
    edge_slowdown: float
    burst: float = 1.0
    """Arrival rate in bursts as a multiple of the mean; 1 is a Poisson process."""

    @property
    def tasks_per_stream(self) -> int:
        """Length of a run."""
        return TASKS.get(self.streams, TASKS_OF_SEVERAL) // self.streams

    def scenario(self) -> dict[str, Any]:
        """These conditions as the data of a scenario file."""
        base = BASES[self.profile]
        return {
            "schema": "hasten.scenario/1",
            "streams": [
                {
                    "name": "cam",
                    "count": self.streams,
                    "profile": self.profile,
                    "deadline_ms": self.deadline_ms,
                    "slowdown": base.device_slowdown,
                    "arrivals": self._arrivals(base),
                }
            ],
            "uplink": {"topology": "shared", "order": self.order, "rate": self._rate(base)},
            "edge": {"workers": 1, "slowdown": self.edge_slowdown},
            "tasks_per_stream": self.tasks_per_stream,
        }

    def _arrivals(self, base: Base) -> dict[str, Any]:
        if self.burst > 1.0:
            calm = (1.0 - BURST_SHARE * self.burst) / (1.0 - BURST_SHARE)
            return {
                "kind": "mmpp",
                "rates_hz": [self.burst * self.rate_hz, max(calm, 0.0) * self.rate_hz],
                "dwell_ms": [BURST_MS, BURST_MS * (1.0 - BURST_SHARE) / BURST_SHARE],
            }
        if self.source == "generated":
            return {"kind": "poisson", "rate_hz": self.rate_hz}
        speedup = self.rate_hz / _recorded_hz(base.arrivals_file)
        return {"kind": "trace", "file": base.arrivals_file, "speedup": speedup, "start": "random"}

    def _rate(self, base: Base) -> dict[str, Any]:
        if self.source == "generated":
            return {"kind": "constant", "mbps": self.mbps}
        scale = self.mbps / _recorded_mbps(base.link_file)
        return {"kind": "trace", "file": base.link_file, "scale": scale, "start": "random"}


@dataclass(frozen=True)
class Base:
    """Default conditions of a profile, and the recordings that it meets."""

    label: str
    deadline_ms: float
    rate_hz: float
    mbps: float
    device_slowdown: float
    edge_slowdown: float
    arrivals_file: str
    link_file: str

    def conditions(self, profile: str, streams: int, order: Order, source: Source) -> Conditions:
        """The defaults for so many streams."""
        mbps = self.mbps * link_growth(streams)
        return Conditions(profile, streams, order, source, self.rate_hz, mbps, self.deadline_ms, self.edge_slowdown)


BASES = {
    "efficientnet-b0": Base(
        "A: EfficientNet-B0, phone-class device, CPU edge",
        deadline_ms=150,
        rate_hz=6,
        mbps=10,
        device_slowdown=1 / 3,
        edge_slowdown=1,
        arrivals_file="arrivals/azure_llm_2023/AzureLLMInferenceTrace_conv.csv.gz",
        link_file="mahimahi/TMobile-LTE-short.up.gz",
    ),
    "alexnet-pi": Base(
        "C: AlexNet, Raspberry Pi, GPU edge slowed down four times",
        deadline_ms=80,
        rate_hz=15,
        mbps=10,
        device_slowdown=1,
        edge_slowdown=4,
        arrivals_file="arrivals/azure_llm_2023/AzureLLMInferenceTrace_code.csv.gz",
        link_file="mahimahi/Verizon-LTE-short.up.gz",
    ),
}


@dataclass(frozen=True)
class Sweep:
    """One condition that is varied while the others stay at their defaults."""

    name: str
    field: str
    axis: str
    """What a plot's horizontal axis says."""
    points: dict[str, tuple[float, ...]]
    """Values for each profile."""
    recorded_streams: tuple[int, ...] = (3,)
    """Numbers of streams that are also run on recordings."""


@dataclass(frozen=True)
class Panel:
    """Those conditions of a sweep that one curve runs over."""

    sweep: str
    profile: str
    streams: int | None
    """None where the number of streams is what is swept."""
    order: Order
    source: Source

    @property
    def label(self) -> str:
        """For the head of a plot or a row of a table."""
        if self.streams is None:
            return f"{self.order} order"
        return "1 stream" if self.streams == 1 else f"{self.streams} streams, {self.order} order"


SWEEPS = {
    sweep.name: sweep
    for sweep in (
        Sweep(
            "arrival-rate",
            "rate_hz",
            "tasks per second of each stream",
            {"efficientnet-b0": (2, 4, 6, 8, 10), "alexnet-pi": (5, 10, 15, 20, 30, 40)},
            STREAM_COUNTS,
        ),
        Sweep(
            "bandwidth",
            "mbps",
            "shared uplink, Mbit/s",
            {"efficientnet-b0": (5, 10, 15, 20, 30, 40), "alexnet-pi": (2, 5, 10, 20, 40)},
            STREAM_COUNTS,
        ),
        Sweep(
            "deadline",
            "deadline_ms",
            "deadline, ms",
            {"efficientnet-b0": (100, 150, 200, 300, 400), "alexnet-pi": (40, 60, 80, 120, 160)},
        ),
        Sweep(
            "streams",
            "streams",
            "streams that share an uplink of 10 Mbit/s and one edge worker",
            {"efficientnet-b0": (1, 2, 3, 4, 6, 8), "alexnet-pi": (1, 2, 3, 4, 6, 8)},
        ),
        Sweep(
            "edge-speed",
            "edge_slowdown",
            "edge times as a multiple of the profile's",
            {"efficientnet-b0": (0.5, 1, 1.5, 2, 3), "alexnet-pi": (1, 2, 4, 8, 16)},
        ),
        Sweep(
            "burstiness",
            "burst",
            "arrival rate in bursts as a multiple of the mean",
            {"efficientnet-b0": (1, 2, 3, 4, 5), "alexnet-pi": (1, 2, 3, 4, 5)},
        ),
    )
}


@dataclass(frozen=True)
class Point:
    """A place in a panel: the value of what is swept, and the conditions there."""

    panel: Panel
    x: float
    conditions: Conditions


def points_of(sweep: Sweep, sources: Sequence[Source], quick: bool = False) -> list[Point]:
    """Every point of a sweep; with ``quick`` the lowest, middle and highest value, one profile, three streams."""
    profiles = list(sweep.points)[:1] if quick else list(sweep.points)
    found = []
    for profile in profiles:
        values = sweep.points[profile]
        if quick:
            values = (values[0], values[len(values) // 2], values[-1])
        for panel in _panels(sweep, profile, sources, quick):
            base = BASES[profile].conditions(profile, panel.streams or STREAMS_PER_LINK, panel.order, panel.source)
            found += [_at(sweep, panel, base, value) for value in values]
    return found


def _panels(sweep: Sweep, profile: str, sources: Sequence[Source], quick: bool) -> list[Panel]:
    if sweep.field == "streams":
        return [Panel(sweep.name, profile, None, order, source) for source in sources for order in ORDERS]
    panels = []
    for source in sources:
        counts = STREAM_COUNTS if source == "generated" else sweep.recorded_streams
        for streams in (c for c in counts if c == STREAMS_PER_LINK or not quick):
            orders = ORDERS if streams > 1 else ORDERS[:1]  # one stream makes all orders the same
            panels += [Panel(sweep.name, profile, streams, order, source) for order in orders]
    return panels


ORDERS: tuple[Order, ...] = ("grant", "ready")


def _at(sweep: Sweep, panel: Panel, base: Conditions, value: float) -> Point:
    """The point where the swept condition has this value; an uplink is given as that of one to three streams."""
    if sweep.field == "streams":
        return Point(panel, value, replace(base, streams=int(value)))
    if sweep.field == "mbps":
        value = value * link_growth(base.streams)
    changes: dict[str, Any] = {sweep.field: value}
    return Point(panel, value, replace(base, **changes))


def link_growth(streams: int) -> float:
    """Factor on the uplink's rate for so many streams."""
    return max(streams, STREAMS_PER_LINK) / STREAMS_PER_LINK


def recordings_present() -> bool:
    """Whether every recording that the study uses is in the data folder."""
    folder = data_folder()
    files = [name for base in BASES.values() for name in (base.arrivals_file, base.link_file)]
    return folder is not None and all((folder / name).is_file() for name in files)


def facts(profile: str) -> str:
    """One sentence on a profile's defaults."""
    base = BASES[profile]
    exits = ", ".join(f"{head.accuracy:.3f}" for head in load_profile(profile).exits)
    return (
        f"Profile {base.label}. Exits of accuracy {exits}; deadline {base.deadline_ms:g} ms, {base.rate_hz:g} tasks "
        f"per second of each stream, shared uplink of {base.mbps:g} Mbit/s for up to {STREAMS_PER_LINK} streams and "
        f"proportionally more beyond, one edge worker."
    )


def _recorded_hz(file: str) -> float:
    return RecordedArrivals(kind="trace", file=file).mean_rate_hz(None)


def _recorded_mbps(file: str) -> float:
    duration_ms, mbps = read_rates(file, "auto", None)
    return float(np.dot(duration_ms, mbps) / duration_ms.sum())
