"""What comes out of a training: the policy, the learning curve, and what is worth saying about them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from hasten.core.scenario import Scenario
from hasten.core.version import own_version
from hasten.learn.domain import Domain, training_range_of
from hasten.learn.settings import Settings
from hasten.learn.validation import Score
from hasten.policies.manifest import ImprovementMargins, PolicyManifest, network_options
from hasten.policies.policy import AnyPolicy
from hasten.schedulers.learned import Learned


@dataclass(frozen=True)
class CurvePoint:
    """One point of the learning curve."""

    updates: int
    """Gradient steps so far."""
    transitions: int
    """Own decisions so far; demonstrations do not count."""
    seconds: float
    """Time spent learning, validation not included."""
    loss: float
    """Of the last step's batch."""
    largest_value: float
    """Largest target in that batch."""
    explore: float
    """Chance of a random action."""
    score: Score
    """Of the averaged network on the validation set."""

    def __str__(self) -> str:
        score = self.score
        return (
            f"{self.updates} steps, {self.seconds:.0f} s: gain {score.gain:.4f} ({score.over_greedy:+.1%} "
            f"to greedy), {score.share:.2%} of the plan that knows all arrivals"
        )


@dataclass(frozen=True)
class FinishedTraining:
    """A finished training."""

    policy: AnyPolicy
    """The best on the validation set."""
    curve: tuple[CurvePoint, ...]
    best: CurvePoint
    """The point of the curve that the policy is from; its score is that of the policy, margins and guard included."""
    stopped: str = ""
    """Why it ended before its time; empty if it did not."""
    notes: tuple[str, ...] = ()
    """What went wrong on the way and did not end it."""

    def warnings(self) -> list[str]:
        """What a user has to know before using the policy."""
        found, score = list(self.notes), self.best.score
        if self.stopped:
            found.append(f"training stopped early, the best policy so far is kept: {self.stopped}")
        if score.collapsed:
            found.append(f"the policy has collapsed: it takes one action in {score.commonest:.1%} of decisions")
        if score.gain < score.greedy:
            found.append(f"the policy gains {score.gain:.4f} where greedy gains {score.greedy:.4f}: use greedy")
        return found


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM ended a training.

    Attributes:
        training: with the best policy so far, with the usual margin, as none was chosen; None before the first
        evaluation.
    """

    def __init__(self, training: FinishedTraining | None) -> None:
        super().__init__("interrupted" if training else "interrupted before any policy was judged: nothing is kept")
        self.training = training


class TrainedScheduler(Learned):
    """The learned scheduler together with how it was trained."""

    def __init__(self, training: FinishedTraining) -> None:
        super().__init__(training.policy)
        self.training = training


def learned_hidden(manifest: PolicyManifest) -> tuple[int, ...]:
    """Widths of the layers that were trained, without what they carry through (:meth:`DuelingNetwork.policy`)."""
    carried = manifest.width if manifest.values == "actions" and manifest.training.get("predicted_gain") else 0
    return tuple(width - carried for width in manifest.hidden)


def manifest_of(
    scenario: Scenario, domain: Domain, settings: Settings, hidden: tuple[int, ...], margins: ImprovementMargins | None
) -> PolicyManifest:
    """What the file of a policy with layers of these widths will say, but for how good it is: see :func:`judged`."""
    chosen = {name: value for name, value in dataclasses.asdict(settings).items() if name not in ("hidden", "values")}
    return PolicyManifest(
        hasten=own_version(),
        values=settings.values,
        hidden=hidden,
        leads=margins,
        networks=network_options([stream.profile.name for stream in scenario.devices], scenario.options),
        edges=len(scenario.every_edge),
        order=scenario.uplink.order,
        view=scenario.view.kind,
        gain_terms=scenario.gain.terms(),
        envelope=training_range_of(scenario, domain),
        training=chosen | {"scenario": scenario.name},
    )


def judged(policy: AnyPolicy, best: CurvePoint) -> AnyPolicy:
    """The same policy, its manifest now saying how good it is."""
    score = {f"validation_{name}": value for name, value in dataclasses.asdict(best.score).items()}
    found = policy.manifest.training | {"kept_after": best.updates} | score
    return dataclasses.replace(policy, manifest=policy.manifest.model_copy(update={"training": found}))
