"""Policies with random weights for a scenario, and scenarios for them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import numpy as np

from hasten.core.scenario import Scenario, scenario_from
from hasten.policies.afterstate_policy import AfterstatePolicy, tensor_shapes
from hasten.policies.manifest import ImprovementMargins, PolicyManifest, TrainingRange, network_options
from hasten.policies.policy import AnyPolicy, Layer, Policy


def cameras(count: int = 3, profile: str = "alexnet-pi", tasks: int = 200, **more: Any) -> Scenario:
    """Streams with one network behind a shared uplink."""
    stream = {"name": "cam", "count": count, "profile": profile, "deadline_ms": 80.0}
    stream["arrivals"] = {"kind": "poisson", "rate_hz": 15}
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [stream],
            "uplink": {"rate": {"kind": "constant", "mbps": 10}},
            "tasks_per_stream": tasks,
            **more,
        }
    )


def among_edges(edges: int = 2, count: int = 2, tasks: int = 200, order: str = "ready", **more: Any) -> Scenario:
    """Streams that choose among edges, which differ in all: the first has a shared link, every other one none."""
    plain = cameras(count, tasks=tasks, **more).model_dump(by_alias=True)
    ways = [
        {
            "name": f"edge-{i}",
            "uplink": {
                "topology": ("shared", "dedicated")[i % 2],
                "order": order,
                "rtt_ms": 3.0 * i,
                "rate": {"kind": "gauss_markov", "mean_mbps": 8.0 + 2.0 * i, "sigma_mbps": 5.0},
            },
            "edge": {"slowdown": 3.0 + i, "workers": 1 + i % 2},
        }
        for i in range(edges)
    ]
    return scenario_from(
        {name: part for name, part in plain.items() if name not in ("uplink", "edge")} | {"edges": ways}
    )


MARGINS = ImprovementMargins(streams=(2, 4), deadline_ms=(40.0, 120.0), lead=((0.2, 0.1), (0.1, 0.02)))
WIDE = TrainingRange(
    rate_mbps=(0.01, 1000),
    rate_hz=(0.01, 1000),
    deadline_ms=(1, 10_000),
    streams=(1, 64),
    device_ms=(0, 10_000),
    edge_ms=(0, 10_000),
)


def random_policy(
    scenario: Scenario,
    seed: int = 0,
    hidden: tuple[int, ...] = (128, 128),
    training_range: TrainingRange = WIDE,
    values: Literal["actions", "backlogs"] = "actions",
) -> AnyPolicy:
    """A policy for the scenario's networks that prefers options at random, yet depending on everything it sees."""
    rng = np.random.default_rng(seed)
    names = [stream.profile.name for stream in scenario.devices]
    manifest = PolicyManifest(
        hasten="0.1.0",
        values=values,
        hidden=hidden,
        margins=MARGINS if values == "backlogs" else None,
        networks=network_options(names, scenario.options),
        edges=len(scenario.every_edge),
        gain_terms=scenario.gain.terms(),
        training_range=training_range,
        training={"seed": seed},
    )

    def layer(n_in: int, n_out: int) -> Layer:
        scale = np.sqrt(2.0 / n_in)
        weight = (rng.standard_normal((n_in, n_out)) * scale).astype(np.float32)
        return weight, (0.1 * rng.standard_normal(n_out)).astype(np.float32)

    if manifest.values == "backlogs":
        return random_backlog_policy(manifest, rng)
    widths = [manifest.features, *hidden]
    trunk = tuple(layer(a, b) for a, b in pairwise(widths))
    if trunk:  # observations are seldom negative: without their mean, they all look alike to random weights
        trunk = ((5 * trunk[0][0], trunk[0][1] - 2 * trunk[0][0].sum(axis=0)), *trunk[1:])
    return Policy(manifest, trunk, layer(widths[-1], 1), layer(widths[-1], manifest.width + 1))


def random_backlog_policy(manifest: PolicyManifest, rng: np.random.Generator) -> AfterstatePolicy:
    """Costs of a tenth of a gain or so, differing between backlogs and contexts, and shortfalls around a fifth."""
    weights = {
        name: (rng.standard_normal(shape) / np.sqrt(max(shape[0], 4) if len(shape) > 1 else 4)).astype(np.float32)
        for name, shape in tensor_shapes(manifest.hidden, manifest.edges > 1).items()
    }
    weights["left"] *= np.float32(4.0)
    weights["head"] *= np.float32(0.3)  # with larger ones some draws take one option always
    weights["head_bias"][1] = 0.2
    return AfterstatePolicy(manifest, **weights)
