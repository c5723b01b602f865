"""The study's trainings: the policies that its sweeps run, and the ablation of the learner.

Nothing here imports the learner before a job runs.
"""

from __future__ import annotations

import base64
import dataclasses
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from hasten.core.scenario import scenario_from
from hasten.study.design import BASES, STREAM_COUNTS, SWEEPS, Conditions, Order, link_growth
from hasten.study.input_files import inputs_of
from hasten.study.result_cache import result_key
from hasten.study.work import Plain

Init = Literal["none", "greedy", "dp", "mixed"]
Replay = Literal["uniform", "prioritized"]
Values = Literal["actions", "backlogs"]

LEARNER_VERSION: dict[Values, int] = {"backlogs": 8, "actions": 7}
"""For either kind of values, changes with whatever changes what a training ends with, so that results of another
learner are not taken for it."""
FEW, MANY = 2, max(STREAM_COUNTS)
BEYOND = 1.25
"""Policies are trained on ranges wider than the sweeps by this factor at either end: they are best somewhat inside."""
ABLATION_UPDATES = 4_000
ABLATION_LOOK = 250
"""Gradient steps between two points of an ablation's learning curves."""
ABLATION_EXPLORE = 0.3
"""All variants explore alike, or a comparison of their initial experience would compare exploration."""
ABLATION_PROFILE = "efficientnet-b0"


@dataclass(frozen=True)
class PolicySpec:
    """One trained policy of the study: a profile, one or several streams, and the order of service."""

    profile: str
    several: bool
    order: Order

    @property
    def scenario(self) -> Plain:
        """The middle of what it is trained for."""
        streams = 3 if self.several else 1
        return BASES[self.profile].conditions(self.profile, streams, self.order, "generated").scenario()

    @property
    def domain(self) -> Plain:
        """The ranges that the sweeps cover and somewhat more, as factors on the scenario."""
        base, growth = BASES[self.profile], link_growth(MANY) if self.several else 1.0
        return {
            "uplink_rate": _span(self.profile, "bandwidth", base.mbps, growth),
            "arrival_rate": _span(self.profile, "arrival-rate", base.rate_hz),
            "deadline": _span(self.profile, "deadline", base.deadline_ms),
            "edge_time": _span(self.profile, "edge-speed", base.edge_slowdown),
            "burst": [1.0, max(SWEEPS["burstiness"].points[self.profile])],
            "streams": [FEW, MANY] if self.several else [1, 1],
        }

    @property
    def title(self) -> str:
        """As a file name."""
        return f"{self.profile}-{f'{FEW}to{MANY}-{self.order}' if self.several else '1'}"


@dataclass(frozen=True)
class TrainingJob:
    """A job: train one policy."""

    name: str
    scenario: Plain
    domain: Plain
    settings: Plain
    """Fields of ``hasten.learn.settings.Settings``."""

    @property
    def cost_s(self) -> float:
        """A step takes some milliseconds, runs and looks included."""
        return 5e-3 * float(self.settings.get("updates", 24_000))

    @property
    def key(self) -> str:
        """Of its cell."""
        facts = {"scenario": self.scenario, "inputs": inputs_of(self.scenario)}
        facts |= {"domain": self.domain, "settings": self.settings}
        version = LEARNER_VERSION[self.settings.get("values", "backlogs")]
        return result_key("training", learner=version, **facts)

    def run(self) -> Plain:
        """One cell: the policy's file and the learning curve."""
        from hasten.learn.api import train
        from hasten.learn.domain import Domain

        ranges: dict[str, Any] = {name: tuple(values) for name, values in self.domain.items()}
        trained = train(scenario_from(self.scenario, "study"), domain=Domain(**ranges), **self.settings)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "policy.onnx"
            trained.save(path)
            policy = base64.b64encode(path.read_bytes()).decode()
        curve = [dataclasses.asdict(point) for point in trained.training.curve]
        return {self.key: {"policy": policy, "curve": curve, "warnings": trained.training.warnings()}}


@dataclass(frozen=True)
class Variant:
    """One line of the ablation."""

    label: str
    init: Init
    replay: Replay
    values: Values = "actions"
    rollouts_from: float = 1.0


VARIANTS = (
    Variant("DQN", "none", "uniform"),
    Variant("+PER", "none", "prioritized"),
    Variant("+HEI greedy", "greedy", "uniform"),
    Variant("+HEI dp", "dp", "uniform"),
    Variant("+HEI mixed", "mixed", "uniform"),
    Variant("+HEI mixed +PER", "mixed", "prioritized"),
    Variant("pairs", "none", "uniform", "backlogs"),
    Variant("pairs +PER", "none", "prioritized", "backlogs"),
    Variant("pairs +HEI mixed", "mixed", "uniform", "backlogs"),
    Variant("pairs +HEI mixed +PER", "mixed", "prioritized", "backlogs"),
    Variant("pairs +HEI mixed +PER +rollouts", "mixed", "prioritized", "backlogs", 0.5),
)


def policy_for(conditions: Conditions) -> PolicySpec:
    """The policy that serves these conditions; one stream makes all orders the same."""
    several = conditions.streams > 1
    return PolicySpec(conditions.profile, several, conditions.order if several else "grant")


def policy_training(spec: PolicySpec, quick: bool) -> TrainingJob:
    """The training of a policy of the sweeps: all defaults of the learner."""
    settings: Plain = {"init": "mixed", "replay": "prioritized", "seed": 0}
    return TrainingJob(spec.title, spec.scenario, spec.domain, settings | (QUICK if quick else {}))


def ablation_trainings(seeds: int, quick: bool) -> dict[tuple[Variant, int], TrainingJob]:
    """The trainings of the ablation: three streams in grant order, every variant with every seed.

    Rates, arrival rates and deadlines differ from run to run, all else is as even as in the paper's setting.
    """
    spec = PolicySpec(ABLATION_PROFILE, True, "grant")
    even: Plain = {"edge_time": [1.0, 1.0], "burst": [1.0, 1.0], "link_variation": [0.0, 0.0]}
    domain = spec.domain | even | {"streams": [3, 3]}
    found = {}
    for variant in VARIANTS:
        for seed in range(seeds):
            settings: Plain = {
                "init": variant.init,
                "replay": variant.replay,
                "values": variant.values,
                "rollouts_from": variant.rollouts_from,
                "rollouts_replay": "uniform",
                "seed": seed,
                "updates": ABLATION_UPDATES,
                "round_updates": ABLATION_LOOK,
                "validate_every": 1,
                "explore": ABLATION_EXPLORE,
                "explore_updates": ABLATION_UPDATES // 2,
            }
            settings |= QUICK | {"hidden": QUICK_HIDDEN[variant.values]} if quick else {}
            found[variant, seed] = TrainingJob(variant.label, spec.scenario, domain, settings)
    return found


QUICK: Plain = {"updates": 200, "round_updates": 100, "validate_every": 1, "demonstrations": 1000}
QUICK_HIDDEN: dict[Values, list[int]] = {"actions": [32], "backlogs": [8, 32]}


def learner_installed() -> bool:
    """Whether policies can be trained here."""
    return all(find_spec(name) is not None for name in ("numba", "threadpoolctl"))


def _span(profile: str, sweep: str, base: float, growth: float = 1.0) -> list[float]:
    values = SWEEPS[sweep].points[profile]
    return [min(values) / base / BEYOND, growth * max(values) / base * BEYOND]
