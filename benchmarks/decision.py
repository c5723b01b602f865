"""Time of one decision (B = 1, as in a device agent) for every scheduler, back to back and after a pause.

The budget is 20 microseconds, the learned scheduler's features, network (two layers of 128) and guard included; its
weights are random here, which costs the same. Back to back shows the code's own cost; after a pause of 50 ms caches are
cold, as they are on a device between two tasks. Greedy is the peer: ratios are to it.
"""

from __future__ import annotations

import time

import numpy as np

from hasten.core.decision import Scheduler, View
from hasten.core.errors import HastenError
from hasten.core.scenario import Scenario, scenario_from
from hasten.schedulers import make_scheduler, schedulers
from hasten.schedulers.guard import observed_envelope
from hasten.schedulers.learned import Learned
from hasten.schedulers.policy import Layer, Manifest, Policy, network_options

ARGUMENTS = {"fixed": "fixed:2,1", "fixed-exit": "fixed-exit:2", "load-threshold": "load-threshold"}
WARM, PAUSED = 2000, 30


def scenario(streams: int) -> Scenario:
    """The alexnet-pi scenario with so many streams."""
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [
                {
                    "name": "cam",
                    "count": streams,
                    "profile": "alexnet-pi",
                    "deadline_ms": 80,
                    "arrivals": {"kind": "poisson", "rate_hz": 15},
                }
            ],
            "uplink": {"rate": {"kind": "constant", "mbps": 10 * streams / 3}},
            "edge": {"slowdown": 4},
            "tasks_per_stream": 100,
        }
    )


def random_policy(chosen: Scenario) -> Policy:
    """A policy of the usual size for a scenario, with random weights."""
    manifest = Manifest(
        hasten="0",
        hidden=(128, 128),
        networks=network_options([stream.profile.name for stream in chosen.devices], chosen.options),
        gain_terms=chosen.gain.terms(),
        envelope=observed_envelope(chosen, [chosen.realize(0)]),
    )
    rng = np.random.default_rng(0)

    def layer(n_in: int, n_out: int) -> Layer:
        return 0.1 * rng.standard_normal((n_in, n_out)).astype(np.float32), np.zeros(n_out, dtype=np.float32)

    trunk = (layer(manifest.features, 128), layer(128, 128))
    return Policy(manifest, trunk, layer(128, 1), layer(128, manifest.width + 1))


def _make(name: str, chosen: Scenario) -> Scheduler:
    return Learned(random_policy(chosen)) if name == "dqn" else make_scheduler(ARGUMENTS.get(name, name))


def decision_us(name: str, streams: int) -> tuple[float, float]:
    """Median microseconds of one decision, back to back and after a pause."""
    chosen = scenario(streams)
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
        time.sleep(pause_s)
        view.now_ms[0] += 60.0
        start = time.perf_counter()
        scheduler.decide(view)
        return (time.perf_counter() - start) * 1e6

    warm = [once(0.0) for _ in range(WARM)]
    paused = [once(0.05) for _ in range(PAUSED)]
    return float(np.median(warm)), float(np.median(paused))


def main() -> None:
    """Print the table."""
    greedy = decision_us("greedy", 1)[0]
    print(f"{'scheduler':18}{'streams':>8}{'back to back us':>17}{'after a pause us':>18}{'x greedy':>10}")
    for name in schedulers():
        streams = 1 if name == "mdp" else 3
        try:
            warm, paused = decision_us(name, streams)
        except HastenError as error:
            print(f"{name:18} not run: {error}")
            continue
        print(f"{name:18}{streams:>8}{warm:>17.1f}{paused:>18.1f}{warm / greedy:>10.2f}")


if __name__ == "__main__":
    main()
