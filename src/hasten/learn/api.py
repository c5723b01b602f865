"""``hs.train``: a learned scheduler in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hasten.core.scenario import Scenario
from hasten.learn.curve import TrainedScheduler
from hasten.learn.demonstrations import Init
from hasten.learn.domain import Domain
from hasten.learn.events import event_writer
from hasten.learn.logs import Logged
from hasten.learn.settings import Replay, Settings, Values
from hasten.learn.train import OnPoint, train_policy
from hasten.schedulers.policy import AnyPolicy


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

    Example:
        >>> import hasten as hs
        >>> scheduler = hs.train(hs.load_scenario("examples/three-cameras.yaml"), seed=0)  # doctest: +SKIP
        >>> scheduler.save("policy.onnx")  # doctest: +SKIP
    """
    chosen = Settings.usual(values, init=init, replay=replay, seed=seed, **settings)
    with event_writer(tensorboard, on_point) as told:
        training = train_policy(
            scenario,
            domain,
            chosen,
            logs=logs,
            start=start,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            on_point=told,
        )
    return TrainedScheduler(training)
