"""Time of one decision (B = 1, as in a device agent) for every scheduler, back to back and after a pause.

The budget is 20 microseconds, the learned scheduler's features, network and guard included; its weights are random
here, which costs the same. Its time depends on the number of options that a network offers (12 undominated ones in
alexnet-pi, 35 in efficientnet-b0), so it stands there for both. Back to back shows the code's own cost: the least of 20
medians of 200 decisions, as other work comes and goes. After a pause of 50 ms caches are cold, as they are on a device
between two tasks. Greedy is the peer: ratios are to it.
"""

from __future__ import annotations

import time

import numpy as np

from hasten.core.decision import Scheduler, View
from hasten.core.errors import HastenError
from hasten.core.scenario import Scenario, scenario_from
from hasten.policies.afterstate_policy import AfterstatePolicy, tensor_shapes
from hasten.policies.guard import observed_range
from hasten.policies.manifest import ImprovementMargins, PolicyManifest, network_options
from hasten.policies.policy import AnyPolicy, Float32, Layer, Policy
from hasten.schedulers import make_scheduler, scheduler_names
from hasten.schedulers.learned import Learned

ARGUMENTS = {"fixed": "fixed:2,1", "fixed-exit": "fixed-exit:2", "load-threshold": "load-threshold"}
GROUPS, WARM, PAUSED = 20, 200, 30
DEADLINE_MS = {"alexnet-pi": 80, "efficientnet-b0": 150}
MARGINS = ImprovementMargins(streams=(1,), deadline_ms=(100.0,), lead=((0.01,),))
"""Looking for Greedy's option takes time, too."""
LEARNED = {"policy, backlogs": "backlogs", "policy, actions": "actions"}
"""The two kinds of policies."""


def scenario(streams: int, profile: str) -> Scenario:
    """A scenario with so many streams of a network."""
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [
                {
                    "name": "cam",
                    "count": streams,
                    "profile": profile,
                    "deadline_ms": DEADLINE_MS[profile],
                    "arrivals": {"kind": "poisson", "rate_hz": 15},
                }
            ],
            "uplink": {"rate": {"kind": "constant", "mbps": 10 * streams / 3}},
            "edge": {"slowdown": 4 if profile == "alexnet-pi" else 1},
            "tasks_per_stream": 100,
        }
    )


def random_policy(chosen: Scenario, values: str) -> AnyPolicy:
    """A policy of the usual size for a scenario, with random weights."""
    manifest = PolicyManifest(
        hasten="0",
        values=values,
        hidden=(128, 128) if values == "actions" else (64, 128),
        leads=None if values == "actions" else MARGINS,
        networks=network_options([stream.profile.name for stream in chosen.devices], chosen.options),
        gain_terms=chosen.gain.terms(),
        envelope=observed_range(chosen, [chosen.realize(0)]),
    )
    rng = np.random.default_rng(0)

    def some(*shape: int) -> Float32:
        return 0.1 * rng.standard_normal(shape).astype(np.float32)

    def layer(n_in: int, n_out: int) -> Layer:
        return some(n_in, n_out), np.zeros(n_out, dtype=np.float32)

    if values == "backlogs":
        return AfterstatePolicy(manifest, **{name: some(*shape) for name, shape in tensor_shapes((64, 128)).items()})
    trunk = (layer(manifest.features, 128), layer(128, 128))
    return Policy(manifest, trunk, layer(128, 1), layer(128, manifest.width + 1))


def _make(name: str, chosen: Scenario) -> Scheduler:
    if name in LEARNED:
        return Learned(random_policy(chosen, LEARNED[name]))
    return make_scheduler(ARGUMENTS.get(name, name))


def decision_us(name: str, streams: int, profile: str = "alexnet-pi") -> tuple[float, float]:
    """Microseconds of one decision: back to back, the least median of some groups, and the median after a pause."""
    chosen = scenario(streams, profile)
    scheduler = _make(name, chosen)
    scheduler.reset(chosen.context(np.zeros(1, dtype=np.int64)))
    view = View(
        row=np.zeros(1, np.int64),
        now_ms=np.zeros(1),
        stream=np.zeros(1, np.int64),
        device_wait_ms=np.full(1, 5.0),
        uplink_wait_ms=np.full(1, 8.0),
        edge_wait_ms=np.full((1, 1), 3.0),
        rate_bits_per_ms=np.full(1, 1e4 * streams / 3),
        others_wait_ms=np.zeros((1, streams)),
    )

    def once(pause_s: float) -> float:
        if pause_s > 0:
            time.sleep(pause_s)
        view.now_ms[0] += 60.0
        start = time.perf_counter()
        scheduler.decide(view)
        return (time.perf_counter() - start) * 1e6

    warm = [np.median([once(0.0) for _ in range(WARM)]) for _ in range(GROUPS)]
    paused = [once(0.05) for _ in range(PAUSED)]
    return float(min(warm)), float(np.median(paused))


def main() -> None:
    """Print the table."""
    greedy = decision_us("greedy", 1)[0]
    print(
        f"{'scheduler':18}{'network':17}{'streams':>8}{'back to back us':>17}{'after a pause us':>18}{'x greedy':>10}"
    )
    rows = [(name, "alexnet-pi") for name in (*scheduler_names(), *LEARNED) if name != "policy"]
    rows += [(name, "efficientnet-b0") for name in ("greedy", *LEARNED)]
    for name, profile in rows:
        streams = 1 if name == "mdp" else 3
        try:
            warm, paused = decision_us(name, streams, profile)
        except HastenError as error:
            print(f"{name:18} not run: {error}")
            continue
        print(f"{name:18}{profile:17}{streams:>8}{warm:>17.1f}{paused:>18.1f}{warm / greedy:>10.2f}")


if __name__ == "__main__":
    main()
