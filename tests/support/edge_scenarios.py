"""Tiny scenarios whose devices choose among two edges, and their optimum by trying everything."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
from sim_cases import write_profile

import hasten as hs
from hasten.sim import Replayer


def tiny(folder: Path, seed: int, order: str) -> hs.Scenario:
    """Two streams of two tasks close together; two edges that differ in all; few options."""
    rng = np.random.default_rng([seed, 5])
    profile = json.loads(Path(write_profile(folder, rng, f"p{seed}")).read_text())
    profile["blocks"] = profile["blocks"][:1]
    profile["exits"] = profile["exits"][:1]
    (folder / f"p{seed}.json").write_text(json.dumps(profile))
    streams = [
        {"name": f"s{m}", "profile": str(folder / f"p{seed}.json"), "deadline_ms": float(rng.uniform(25, 60))}
        | {"arrivals": {"kind": "explicit", "times_ms": np.sort(rng.uniform(0, 15, 2)).tolist()}}
        for m in range(2)
    ]
    edges = [
        {
            "name": name,
            "uplink": {"order": order, "topology": str(rng.choice(["shared", "dedicated"])), "rtt_ms": rtt_ms}
            | {"rate": {"kind": "gauss_markov", "mean_mbps": mbps, "sigma_mbps": 4.0, "step_ms": 5.0}},
            "edge": {"workers": workers, "slowdown": float(rng.uniform(0.5, 2))},
        }
        for name, rtt_ms, mbps, workers in (("a", 2.0, 12.0, 1), ("b", 5.0, 9.0, 2))
    ]
    gain = [{"kind": "on_time_accuracy"}, {"kind": "soft", "kappa": 0.5}, {"kind": "tradeoff", "lambda": 0.3, "rho": 0}]
    data = {"schema": "hasten.scenario/1", "streams": streams, "edges": edges, "gain": gain[seed % 3]}
    return hs.scenario_from(data | {"tasks_per_stream": 2})


def optimum(scenario: hs.Scenario, realization: hs.Realization) -> float:
    replayer = Replayer(scenario, realization)
    each = [range(-1, int(scenario.options.count[m])) for m in realization.stream]
    return max(replayer.total_gain(np.array(plan)) for plan in itertools.product(*each))
