"""What the edge's load forecast is worth: the same tasks in virtual time with and without it.

The demo's scenario with a made-up network: device 250 ms and edge 25 ms for the whole of it, deadline 150 ms, Poisson
arrivals at 8 Hz, dedicated Gauss-Markov links that carry ten whole frames a second on average. Without the forecast
the edge tells every device that there are no others. Printed is on-time accuracy in per cent, and the mean paired
difference over the seeds in points with its 95 % interval.

Usage: python benchmarks/load_forecast.py [--devices 1,3,8] [--seeds N] [--seconds S]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from hasten.core.profile import Profile
from hasten.core.scenario import Scenario, scenario_from
from hasten.runtime.edge import core
from hasten.runtime.virtual.cluster import run_virtual_scenario
from hasten.study.statistics import interval

BYTES = (3500, 1400, 1200, 1100, 500)
ACCURACY = (0.60, 0.80, 0.90, 0.95)
BLOCK_MS, HEAD_MS, EDGE_SHARE = 60.0, 10.0, 0.1
DEADLINE_MS, RATE_HZ, RTT_MS, FRAMES_PER_SECOND = 150.0, 8.0, 6.0, 10.0
SCHEDULERS = ("greedy", "greedy:point", "edgent")


def network() -> Profile:
    """Four blocks with an exit behind each."""
    blocks = [
        {"name": f"b{i}", "device_ms": BLOCK_MS, "edge_ms": EDGE_SHARE * BLOCK_MS, "output_bytes": size}
        for i, size in enumerate(BYTES[1:], start=1)
    ]
    heads = {"device_ms": HEAD_MS, "edge_ms": EDGE_SHARE * HEAD_MS}
    exits = [heads | {"name": f"e{i}", "after_block": i, "accuracy": a} for i, a in enumerate(ACCURACY, start=1)]
    return Profile.model_validate(
        {
            "schema": "hasten.profile/1",
            "name": "made up",
            "source": "made up",
            "input_bytes": BYTES[0],
            "task_ms": 0.5,
            "offload_ms": 0.4,
            "blocks": blocks,
            "exits": exits,
        }
    )


def scenario_of(profile: Path, devices: int, seconds: float) -> Scenario:
    mean_mbps = FRAMES_PER_SECOND * 8 * BYTES[0] / 1e6
    stream = {"name": "camera", "count": devices, "profile": str(profile), "deadline_ms": DEADLINE_MS}
    rate = {"kind": "gauss_markov", "mean_mbps": mean_mbps, "sigma_mbps": mean_mbps, "memory": 0.97, "step_ms": 250}
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [stream | {"arrivals": {"kind": "poisson", "rate_hz": RATE_HZ}}],
            "uplink": {"topology": "dedicated", "order": "ready", "rtt_ms": RTT_MS, "rate": rate},
            "edge": {"workers": 1},
            "horizon_ms": 1000.0 * seconds,
        }
    )


def worth(scenario: Scenario, seeds: range) -> dict[str, NDArray[np.float64]]:
    """By scheduler, on-time accuracy in per cent (seeds,)."""
    outcome = run_virtual_scenario(scenario, SCHEDULERS, seeds).complete()
    return {
        name: np.array(
            [100 * np.where(r.on_time, r.accuracy, 0.0).mean() for r in outcome.results if r.scheduler == name]
        )
        for name in SCHEDULERS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", default="1,3,8")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    print(f"{'devices':>7} {'scheduler':12} {'without':>8} {'with':>6}  difference, 95 % interval")
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "profile.json"
        profile.write_text(network().to_json(), encoding="utf-8")
        for devices in map(int, args.devices.split(",")):
            scenario = scenario_of(profile, devices, args.seconds)
            with_forecast = worth(scenario, range(args.seeds))
            with mock.patch.object(core, "others_work", lambda of_all, own, now_ms: (0.0, 0.0)):
                without = worth(scenario, range(args.seeds))
            for name in SCHEDULERS:
                gained = interval(with_forecast[name] - without[name])
                bounds = f"{gained.mean:+.2f} [{gained.low:+.2f}, {gained.high:+.2f}]"
                print(f"{devices:7} {name:12} {without[name].mean():8.2f} {with_forecast[name].mean():6.2f}  {bounds}")


if __name__ == "__main__":
    main()
