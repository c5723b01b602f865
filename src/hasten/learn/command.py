"""The body of ``hasten train``."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hasten.core.errors import HastenError, InputError
from hasten.core.output import check_file
from hasten.core.scenario import Scenario
from hasten.learn.api import train
from hasten.learn.curve import CurvePoint, FinishedTraining, Interrupted, TrainedScheduler
from hasten.learn.domain import Domain
from hasten.learn.interruption import interruptible
from hasten.learn.logs import Logged, read_experience
from hasten.learn.settings import Settings
from hasten.policies.policy import load_policy

Progress = Callable[[str, float], None]


def train_to_file(
    scenario: Scenario,
    output: Path,
    domain: Domain,
    progress: Progress,
    logs: Sequence[Path],
    start: Path | None,
    **options: Any,
) -> tuple[FinishedTraining, bool]:
    """Train with live progress and write the policy; ``options`` are those of :func:`hasten.learn.api.train`.

    Returns:
        The training, and whether it was interrupted: then the best policy so far is what was written.

    Raises:
        InputError: ``output`` cannot be written, which is noticed before the training.
        HastenError: it could not be written after all; names where the policy is kept instead.
        Interrupted: by Ctrl-C or SIGTERM, before there was a policy to keep.
    """
    check_file(output)
    updates = options.get("updates") or Settings.usual(options["values"]).updates

    def on_point(point: CurvePoint) -> None:
        progress(f"training: {point}", point.updates / updates)

    progress("training: demonstrations and validation runs", 0.0)
    interrupted = False
    with interruptible((signal.SIGINT, signal.SIGTERM)):
        try:
            scheduler = train(
                scenario,
                domain=domain,
                logs=_experience(scenario, logs),
                start=None if start is None else load_policy(start),
                on_point=on_point,
                **options,
            )
        except Interrupted as interruption:
            if interruption.training is None:
                raise
            scheduler, interrupted = TrainedScheduler(interruption.training), True
    save_somewhere(scheduler, output)
    return scheduler.training, interrupted


def save_somewhere(scheduler: TrainedScheduler, output: Path) -> None:
    """Write a policy, if not to ``output`` then where temporary files go.

    Raises:
        HastenError: not to ``output``; names the other place.
    """
    try:
        scheduler.save(output)
    except InputError as error:
        kept = Path(tempfile.mkdtemp(prefix="hasten-policy-")) / output.name
        scheduler.save(kept)
        raise HastenError(f"{error}; the policy is kept in {kept}") from None


def domain_of(uplink: str | None, arrivals: str | None, deadlines: str | None, streams: str | None) -> Domain:
    """The domain that the command line names; what it does not name is as by default."""
    given: dict[str, Any] = {
        name: _range(option, text)
        for name, option, text in (
            ("uplink_rate", "--uplink", uplink),
            ("arrival_rate", "--arrivals", arrivals),
            ("deadline", "--deadlines", deadlines),
        )
        if text is not None
    }
    if streams is not None:
        low, high = _range("--streams", streams)
        given["streams"] = int(low), int(high)
    return Domain(**given)


def _range(option: str, text: str) -> tuple[float, float]:
    """``0.5:4``, or one number for both ends."""
    low, colon, high = text.partition(":")
    try:
        return float(low), float(high if colon else low)
    except ValueError:
        raise InputError("train", option, text, "two numbers, LOWEST:HIGHEST") from None


def _experience(scenario: Scenario, logs: Sequence[Path]) -> list[Logged]:
    """What the logs hold."""
    if not logs:
        return []
    profiles = {stream.profile.name: stream.profile for stream in scenario.devices}
    if len(profiles) > 1:
        raise InputError("train", "logs", ", ".join(profiles), "a scenario whose streams all have one profile")
    (profile,) = profiles.values()
    return read_experience(logs, profile)
