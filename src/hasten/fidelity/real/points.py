"""What is swept: the arrival rate and the links' mean rate, for several numbers of devices, on two kinds of link.

Each device has an uplink of its own; all share one edge worker. The network is the demo's, profiled on this machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hasten.core.files import data_folder
from hasten.core.profile import Profile
from hasten.core.recordings import read_rates
from hasten.core.scenario import Scenario, scenario_from
from hasten.fidelity.played import DEADLINE_MS, FRAMES_PER_S, RATE_HZ, RTT_MS, link_mbps, slowdowns

Source = Literal["generated", "recorded"]
Sweep = Literal["arrival-rate", "bandwidth"]
SWEEPS: dict[Sweep, tuple[float, ...]] = {"arrival-rate": (4.0, RATE_HZ, 12.0), "bandwidth": (5.0, FRAMES_PER_S, 20.0)}
"""Tasks per second of each stream; whole frames per second that a link's mean rate carries."""
AXES: dict[Sweep, str] = {"arrival-rate": "tasks per second of each stream", "bandwidth": "frames per second of a link"}
DEVICES = (1, 3, 8)
RECORDED_LINK = "mahimahi/TMobile-LTE-short.up.gz"
BEYOND = 1.25
"""Policies are trained on ranges wider than the sweeps by this factor at either end."""


@dataclass(frozen=True)
class PlayedConditions:
    """One place in the grid, whatever the scheduler."""

    devices: int
    source: Source
    rate_hz: float = RATE_HZ
    frames_per_s: float = FRAMES_PER_S

    def scenario(self, package: Path, profile: Profile, seconds: float) -> Scenario:
        """These conditions as devices see them, with the spread of times that the profile measured."""
        device, edge = slowdowns(profile)
        return scenario_from(
            {
                "schema": "hasten.scenario/1",
                "streams": [
                    {
                        "name": "device",
                        "count": self.devices,
                        "profile": str(package),
                        "deadline_ms": DEADLINE_MS,
                        "slowdown": device,
                        "arrivals": {"kind": "poisson", "rate_hz": self.rate_hz},
                    }
                ],
                "uplink": {
                    "topology": "dedicated",
                    "order": "ready",
                    "rtt_ms": RTT_MS,
                    "rate": self._rate(link_mbps(profile, self.frames_per_s)),
                },
                "edge": {"workers": 1, "slowdown": edge},
                "view": {"kind": "device"},
                "noise": "profile",
                "horizon_ms": 1000.0 * seconds,
            },
            "study real",
        )

    def _rate(self, mbps: float) -> dict[str, Any]:
        if self.source == "generated":
            return {"kind": "gauss_markov", "mean_mbps": mbps, "sigma_mbps": mbps, "memory": 0.97, "step_ms": 250}
        duration_ms, recorded = read_rates(RECORDED_LINK, "auto", None)
        scale = mbps / float(np.dot(duration_ms, recorded) / duration_ms.sum())
        return {"kind": "trace", "file": RECORDED_LINK, "scale": scale, "start": "random"}


@dataclass(frozen=True)
class PlayedPanel:
    """What one row of the table averages over: a sweep's points."""

    sweep: Sweep
    devices: int
    source: Source

    @property
    def points(self) -> dict[float, PlayedConditions]:
        """The conditions at each value of what is swept."""
        base = PlayedConditions(self.devices, self.source)
        if self.sweep == "arrival-rate":
            return {value: replace(base, rate_hz=value) for value in SWEEPS[self.sweep]}
        return {value: replace(base, frames_per_s=value) for value in SWEEPS[self.sweep]}


def panels(devices: Sequence[int], sources: Sequence[Source]) -> list[PlayedPanel]:
    """All panels."""
    return [PlayedPanel(sweep, count, source) for source in sources for count in devices for sweep in SWEEPS]


def domain(devices: Sequence[int]) -> dict[str, Any]:
    """What a policy for these numbers of devices is trained on, as factors on the middle of the sweeps."""
    rates, frames = SWEEPS["arrival-rate"], SWEEPS["bandwidth"]
    return {
        "arrival_rate": (min(rates) / RATE_HZ / BEYOND, max(rates) / RATE_HZ * BEYOND),
        "uplink_rate": (min(frames) / FRAMES_PER_S / BEYOND, max(frames) / FRAMES_PER_S * BEYOND),
        "deadline": (1.0, 1.0),
        "edge_time": (1.0, 1.0),
        "burst": (1.0, 1.0),
        "link_variation": (0.0, 0.0),
        "streams": (min(devices), max(devices)),
    }


def recording_present() -> bool:
    """Whether the recorded link is in the data folder."""
    folder = data_folder()
    return folder is not None and (folder / RECORDED_LINK).is_file()
