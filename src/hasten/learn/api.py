"""``hs.train``: a learned scheduler in one call."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from hasten.core.errors import InputError
from hasten.core.progress import shown
from hasten.core.scenario import Scenario
from hasten.learn.curve import CurvePoint, TrainedScheduler
from hasten.learn.demonstrations import Init
from hasten.learn.domain import Domain
from hasten.learn.event_files import EventWriter
from hasten.learn.logs import Logged
from hasten.learn.settings import Replay, Settings, Values, refuse_unknown
from hasten.learn.train import train_policy
from hasten.learn.trainer import OnPoint
from hasten.policies.afterstate_policy import AfterstatePolicy
from hasten.policies.policy import AnyPolicy, Policy

OWN_ARGUMENTS = ("domain", "logs", "start", "checkpoint", "tensorboard", "on_point")
"""Of :func:`train`: a name that is none of a setting may be meant to be one of these."""


def train(
    scenario: Scenario,
    init: Init = "mixed",
    replay: Replay = "prioritized",
    seed: int = 0,
    *,
    values: Values = "backlogs",
    domain: Domain | None = None,
    logs: Sequence[Logged] = (),
    start: AnyPolicy | None = None,
    checkpoint: str | Path | None = None,
    tensorboard: str | Path | None = None,
    on_point: OnPoint | None = None,
    **settings: Any,
) -> TrainedScheduler:
    """Train a scheduler for a range of scenarios around the given one.

    Args:
        scenario: the middle of the range.
        init: historical experience to start from: ``none``, ``greedy``, ``dp`` or ``mixed``.
        replay: ``uniform`` or ``prioritized``.
        seed: two trainings with the same seed give the same policy.
        values: what the network values: the ``backlogs`` an option leaves, or each of the ``actions``.
        domain: the range of rates, arrival rates, deadlines and numbers of streams; by default around the scenario.
        logs: what real devices logged (:func:`hasten.learn.logs.read_experience`), kept beside the demonstrations.
        start: a policy to go on from.
        checkpoint: a file to go on from if it exists, and to write on the way.
        tensorboard: a folder for TensorBoard event files.
        on_point: told every new point of the learning curve.
        settings: any other field of :class:`hasten.learn.settings.Settings`.

    Returns:
        A scheduler; ``.save(path)`` writes its policy file, ``.training`` is the learning curve.

    Raises:
        InputError: an unknown setting, a scenario in which nothing can be learned, a file that cannot be written.
        Interrupted: a Ctrl-C; its ``training`` holds the best policy so far.

    Examples:
        >>> import hasten as hs
        >>> scheduler = hs.train(hs.load_scenario("examples/three-cameras.yaml"), seed=0)  # doctest: +SKIP
        >>> scheduler.save("policy.onnx")  # doctest: +SKIP
    """
    _check_kinds(scenario, domain, start)
    refuse_unknown(settings, [*(field.name for field in fields(Settings)), *OWN_ARGUMENTS])
    chosen = Settings.usual(values, init=init, replay=replay, seed=seed, **settings)
    with ExitStack() as stack:
        tell = stack.enter_context(shown("training: demonstrations and validation runs"))
        events = None if tensorboard is None else stack.enter_context(EventWriter(tensorboard))

        def on_every(point: CurvePoint) -> None:
            tell(f"training: {point}", point.updates / chosen.updates)
            if events is not None:
                events(point)
            if on_point is not None:
                on_point(point)

        kept = None if checkpoint is None else Path(checkpoint)
        training = train_policy(scenario, domain, chosen, logs=logs, start=start, checkpoint=kept, on_point=on_every)
    if events is None:
        return TrainedScheduler(training)
    notes = (*training.notes, events.failure) if events.failure else training.notes
    return TrainedScheduler(replace(training, notes=notes))


def _check_kinds(scenario: object, domain: object, start: object) -> None:
    if not isinstance(scenario, Scenario):
        raise InputError("train", "scenario", scenario, "a scenario, as hs.load_scenario gives")
    if domain is not None and not isinstance(domain, Domain):
        raise InputError("train", "domain", domain, "a hasten.learn.domain.Domain")
    if start is not None and not isinstance(start, Policy | AfterstatePolicy):
        raise InputError("train", "start", start, "a policy, as hasten.policies.policy.load_policy gives")
