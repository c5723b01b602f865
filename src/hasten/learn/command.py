"""The body of ``hasten train``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hasten.core.errors import InputError
from hasten.core.scenario import Scenario
from hasten.learn.api import train
from hasten.learn.curve import Point, Training
from hasten.learn.domain import Domain
from hasten.learn.logs import Logged, read_experience
from hasten.learn.settings import Settings
from hasten.schedulers.policy import load_policy

Progress = Callable[[str, float], None]


def train_to_file(
    scenario: Scenario,
    output: Path,
    domain: Domain,
    progress: Progress,
    logs: Sequence[Path],
    start: Path | None,
    **options: Any,
) -> Training:
    """Train with live progress and write the policy; ``options`` are those of :func:`hasten.learn.api.train`."""
    if not output.parent.is_dir():
        raise InputError(output, "folder", str(output.parent), "a folder that exists")
    updates = options.get("updates") or Settings.usual(options["values"]).updates

    def on_point(point: Point) -> None:
        progress(f"training: {point}", point.updates / updates)

    progress("training: demonstrations and validation runs", 0.0)
    scheduler = train(
        scenario,
        domain=domain,
        logs=_experience(scenario, logs),
        start=None if start is None else load_policy(start),
        on_point=on_point,
        **options,
    )
    scheduler.save(output)
    return scheduler.training


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
