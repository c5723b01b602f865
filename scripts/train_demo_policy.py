"""Train the policy that ships for the demo: ``src/hasten/policies/weights/digits.onnx``.

    python scripts/train_demo_policy.py [--updates N] [--seed N]

Some minutes on one core. To be run again when the demo's network changes, its weights, codecs or cuts, because a policy
names the options, bytes and accuracies that it is for. It is trained for the demo's scenario with a profile measured on
this machine, for devices that see what devices see, over the rates of ``hasten study real``. It is for the whole
network and for that of ``hasten demo --quick``, whose accuracies are measured on fewer pictures: it knows all options
of both, as another computer's times may leave others undominated.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from hasten.core.scenario import Scenario, scenario_from
from hasten.demo import DEVICES, SECONDS, SHIPPED_POLICY, demo_scenario, profiled_network
from hasten.fidelity.real.points import domain
from hasten.learn.api import train
from hasten.learn.domain import Domain
from hasten.policies.manifest import NetworkOptions, fingerprint
from hasten.policies.policy import AnyPolicy, save_policy
from hasten.schedulers.learned import Learned

UPDATES = 8_000


def demo_of(quick: bool, folder: Path) -> Scenario:
    """The demo's scenario with its network, profiled now."""
    folder.mkdir()
    package = profiled_network("digits", quick, folder, lambda what, done: None)
    return scenario_from(demo_scenario(str(package.path), package.profile, SECONDS), "demo")


def all_options(scenario: Scenario) -> NetworkOptions:
    """Every option of the scenario's network."""
    table = scenario.options
    pairs = tuple(zip(table.exit[0].tolist(), table.partition[0].tolist(), strict=True))
    return NetworkOptions(profile=scenario.devices[0].profile.name, fingerprint=fingerprint(table, 0), options=pairs)


def for_all_options(policy: AnyPolicy, scenarios: list[Scenario]) -> AnyPolicy:
    """The same policy, which values backlogs and not options, for every option of these scenarios' networks."""
    networks = tuple(dict.fromkeys(all_options(scenario) for scenario in scenarios))
    return dataclasses.replace(policy, manifest=policy.manifest.model_copy(update={"networks": networks}))


def main() -> None:
    """Train, check, save."""
    parser = argparse.ArgumentParser(description="Train the policy that ships for the demo.")
    parser.add_argument("--updates", type=int, default=UPDATES)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scenarios = [demo_of(quick, Path(folder) / str(quick)) for quick in (False, True)]
        learned = train(
            scenarios[0],
            seed=arguments.seed,
            updates=arguments.updates,
            domain=Domain(**domain((DEVICES,))),
            on_point=lambda point: print(point, flush=True),
        )
        policy = for_all_options(learned.policy, scenarios)
        for scenario in scenarios:
            Learned(policy).reset(scenario.context(np.zeros(1, dtype=np.int64)))  # it is for both
        SHIPPED_POLICY.parent.mkdir(exist_ok=True)
        save_policy(SHIPPED_POLICY, policy)
    print(f"wrote {SHIPPED_POLICY}, {SHIPPED_POLICY.stat().st_size} bytes")


if __name__ == "__main__":
    main()
