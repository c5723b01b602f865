"""Random small scenarios for tests: profiles, streams, links, everything that a scenario file can say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from hasten.core.decision import Clairvoyant, Decision
from hasten.core.rates import rate_trace
from hasten.core.scenario import Realization, scenario_from

COMBINATIONS = [(topology, order) for topology in ("shared", "dedicated") for order in ("grant", "ready")]


def write_profile(folder: Path, rng: np.random.Generator, name: str) -> str:
    blocks = int(rng.integers(2, 5))
    profile = {
        "schema": "hasten.profile/1",
        "name": name,
        "source": "random",
        "input_bytes": int(rng.integers(5_000, 40_000)),
        "blocks": [
            {
                "name": f"b{i}",
                "device_ms": float(rng.uniform(0.5, 15)),
                "edge_ms": float(rng.uniform(0.2, 8)),
                "output_bytes": int(rng.integers(500, 30_000)),
            }
            for i in range(blocks)
        ],
        "exits": [
            {"name": f"e{b}", "after_block": b, "accuracy": a, "device_ms": 0.5, "edge_ms": 0.2}
            for b, a in zip(range(1, blocks + 1), np.sort(rng.uniform(0.3, 0.95, blocks)).tolist(), strict=True)
        ],
    }
    spoilt = rng.spawn(1)[0]  # some or all exits have cuts at which the codec costs a lot
    for head in profile["exits"][:: 2 if spoilt.integers(2) else 1]:
        kept = spoilt.choice([1.0, 0.97, 0.4], size=head["after_block"])
        head["accuracy_by_partition"] = [*(head["accuracy"] * kept).tolist(), head["accuracy"]]
    path = folder / f"{name}.json"
    path.write_text(json.dumps(profile))
    return str(path)


def random_scenario(folder: Path, seed: int, topology: str, order: str, tasks: int = 8, **changes):
    rng = np.random.default_rng([seed, 77])
    streams = [
        {
            "name": f"s{m}",
            "profile": write_profile(folder, rng, f"p{seed}-{m}"),
            "deadline_ms": float(rng.uniform(15, 120)),
            "slowdown": float(rng.uniform(0.5, 2)),
            "arrivals": {"kind": "poisson", "rate_hz": float(rng.uniform(10, 90))},
        }
        for m in range(int(changes.pop("streams", rng.integers(1, 5))))
    ]
    gains = [
        {"kind": "on_time_accuracy"},
        {"kind": "tradeoff", "lambda": 0.3, "rho": 0.1},
        {"kind": "soft", "kappa": 0.7},
    ]
    rate = {"kind": "constant", "mbps": float(rng.uniform(1, 12))}
    if changes.pop("varying", rng.random() < 0.5):
        rate = {"kind": "gauss_markov", "mean_mbps": rate["mbps"], "sigma_mbps": rate["mbps"] * 0.6, "step_ms": 20}
    data = {
        "schema": "hasten.scenario/1",
        "streams": streams,
        "uplink": {"topology": topology, "order": order, "rtt_ms": float(rng.choice([0.0, 4.0])), "rate": rate},
        "edge": {"workers": int(rng.integers(1, 4)), "slowdown": float(rng.uniform(0.5, 3))},
        "gain": gains[int(rng.integers(3))],
        "tasks_per_stream": tasks,
        "view": {"age_ms": float(rng.choice([0.0, 30.0])), "rate_error": float(rng.choice([0.0, 0.3]))},
    }
    data.update(changes)
    return scenario_from(data)


def random_options(scenario, realization, rng):
    """A random option, sometimes DROP, for each task."""
    count = scenario.options.count[realization.stream]
    option = (rng.random(realization.tasks) * count).astype(np.int64)
    return np.where(rng.random(realization.tasks) < 0.1, -1, option)


def with_outages(realization: Realization, rng) -> Realization:
    """The same tasks over links that stall now and then, and repeat."""
    rates = []
    for _ in realization.rates:
        steps = int(rng.integers(2, 8))
        bits = rng.uniform(500, 12_000, steps) * (rng.random(steps) < 0.7)
        from_ms = np.concatenate([[0.0], np.cumsum(rng.uniform(5, 60, steps - 1))])
        period = from_ms[-1] + rng.uniform(5, 60) if rng.random() < 0.7 else np.inf
        rates.append(rate_trace(from_ms, bits, float(period)))
    return Realization(
        realization.seed, realization.arrival_ms, realization.stream, tuple(rates), realization.rate_factor
    )


class Scripted(Clairvoyant):
    """Decides what it was told to, row by row, and keeps what it saw."""

    name = "scripted"

    def __init__(self, script, clairvoyant=False):
        self.script = script
        self.clairvoyant = clairvoyant

    def reset(self, context):
        self.context = context
        self.step = np.zeros(context.batch, dtype=np.int64)
        self.views = [[] for _ in range(context.batch)]

    def decide(self, view):
        option = np.array([self.script[b][self.step[b]] for b in view.row], dtype=np.int64)
        self.step[view.row] += 1
        for i, b in enumerate(view.row):
            self.views[b].append(
                {
                    "now": view.now_ms[i],
                    "stream": view.stream[i],
                    "device": view.device_wait_ms[i],
                    "uplink": view.uplink_wait_ms[i],
                    "edge": view.edge_wait_ms[i].copy(),
                    "others": view.others_wait_ms[i].copy(),
                    "rate": view.rate_bits_per_ms[i],
                }
            )
        return Decision(option)
