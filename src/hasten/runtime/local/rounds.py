"""What a run tells of each of its rounds in its folder, so that others can read it while it goes on and afterwards.

Beside the logs of a round lie ``NAME.round.json`` (``hasten.round/1``: when it began, its streams with their logs, its
links) and ``NAME.events.log`` (what happened to it besides tasks: faults, and what somebody changed by hand).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from hasten.core.errors import InputError
from hasten.core.files import FileName, Mbps, Milliseconds, Name, PositiveMs, Record, parse_json, read_text, validated
from hasten.core.output import write_text
from hasten.core.rates import BITS_PER_MS_PER_MBPS, RateTrace, rate_trace
from hasten.core.scenario import Realization, Scenario
from hasten.core.scenario_parts import Stream

SUFFIX = ".round.json"
EVENTS_SUFFIX = ".events.log"
AFTER_LAST_MS = 60_000.0
"""Of a link's rates those until so long after the last arrival are told."""


def _plain_name(name: str) -> str:
    if Path(name).name != name:
        raise ValueError("the name of a file in the same folder")
    return name


class RoundStream(Record):
    """One stream of a round. ``accuracy`` has (exit, partition, expected accuracy) for each pair that can answer."""

    name: Name
    log: Annotated[FileName, AfterValidator(_plain_name)]
    deadline_ms: PositiveMs
    blocks: Annotated[int, Field(ge=1)]
    exits: tuple[Name, ...]
    accuracy: tuple[tuple[int, int, float], ...]


class LinkRates(Record):
    """A link's rate in steps; ``mbps[i]`` from ``from_ms[i]`` on, anew after ``period_ms``."""

    from_ms: Annotated[tuple[Milliseconds, ...], Field(min_length=1)]
    mbps: tuple[Mbps, ...]
    period_ms: PositiveMs | None = None

    def trace(self) -> RateTrace:
        """The same as a trace."""
        period_ms = np.inf if self.period_ms is None else self.period_ms
        return rate_trace(np.array(self.from_ms), BITS_PER_MS_PER_MBPS * np.array(self.mbps), period_ms)


class RoundEdge(Record):
    """One of several edges, and the links to it: one for all streams, or one for each."""

    name: Name
    links: tuple[LinkRates, ...]


class Round(Record):
    """One round: a scheduler on one realization. ``began_s`` is the time of day of time 0, seconds of Unix time."""

    schema_id: Literal["hasten.round/1"] = Field(alias="schema")
    scenario: str
    scheduler: str
    seed: int
    began_s: float
    ended: bool
    streams: Annotated[tuple[RoundStream, ...], Field(min_length=1)]
    links: tuple[LinkRates, ...]
    """One for all streams, or one for each; of several edges those to the first."""
    edges: tuple[RoundEdge, ...] = ()
    """All of them, where there are several."""


class RoundEvent(Record):
    """What happened to a round at ``at_ms``; ``rate_factor`` multiplies the links' rates from then on."""

    at_ms: float
    kind: Name
    text: str
    rate_factor: Annotated[float, Field(ge=0)] | None = None


class RoundFiles:
    """Writes what a folder tells of one round."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path, self._events = folder / f"{name}{SUFFIX}", folder / f"{name}{EVENTS_SUFFIX}"
        self._told: Round | None = None

    def begin(self, told: Round) -> None:
        """The round begins; events of an earlier one of this name are forgotten."""
        self._events.unlink(missing_ok=True)
        self._write(told)

    def event(self, kind: str, text: str, rate_factor: float | None = None) -> RoundEvent:
        """Something happened just now."""
        assert self._told is not None  # begun
        at_ms = 1000.0 * (time.time() - self._told.began_s)
        event = RoundEvent(at_ms=round(at_ms, 1), kind=kind, text=text, rate_factor=rate_factor)
        with self._events.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event.model_dump(), allow_nan=False) + "\n")
        return event

    def end(self) -> None:
        """The round has ended."""
        if self._told is not None:
            self._write(self._told.model_copy(update={"ended": True}))

    def _write(self, told: Round) -> None:
        self._told = told
        write_text(self._path, json.dumps(told.model_dump(by_alias=True), allow_nan=False) + "\n")


def read_round(path: Path) -> Round:
    """The round that a file tells of; :class:`InputError` where it is not what it has to be."""
    told = validated(Round, parse_json(read_text(path), path), path)
    links = [*told.links, *(link for edge in told.edges for link in edge.links)]
    if any(len(link.mbps) != len(link.from_ms) for link in links):
        raise InputError(path, "links", "from_ms and mbps of other lengths", "a rate for each step")
    return told


def round_name(scheduler: str, seed: int) -> str:
    """What the files of a round begin with."""
    name = "".join(c if c.isalnum() or c in "-,." else "_" for c in scheduler)
    return f"{name}-{seed}"


def log_path(folder: Path, scheduler: str, seed: int, stream: str) -> Path:
    """Where the log of one stream's tasks in one round goes."""
    return folder / f"{round_name(scheduler, seed)}-{stream}.jsonl"


def round_facts(scenario: Scenario, scheduler: str, realization: Realization, folder: Path, began_s: float) -> Round:
    """What is told of a round of a scenario whose logs are in ``folder``."""
    seed = realization.seed
    edges = tuple(
        RoundEdge(name=way.name, links=link_facts(scenario, realization, e))
        for e, way in enumerate(scenario.every_edge)
    )
    return Round(
        schema="hasten.round/1",
        scenario=scenario.name,
        scheduler=scheduler,
        seed=seed,
        began_s=began_s,
        ended=False,
        streams=tuple(stream_facts(s, log_path(folder, scheduler, seed, s.name)) for s in scenario.devices),
        links=edges[0].links,
        edges=edges if len(edges) > 1 else (),
    )


def stream_facts(stream: Stream, log: Path) -> RoundStream:
    """What a round tells of a stream whose tasks are logged at ``log``."""
    profile = stream.profile
    pairs = [(e, p) for e, exit_ in enumerate(profile.exits, start=1) for p in range(exit_.after_block + 1)]
    return RoundStream(
        name=stream.name,
        log=log.name,
        deadline_ms=stream.deadline_ms,
        blocks=len(profile.blocks),
        exits=tuple(exit_.name for exit_ in profile.exits),
        accuracy=tuple((e, p, round(profile.accuracy(e, p), 5)) for e, p in pairs),
    )


def link_facts(scenario: Scenario, realization: Realization, edge: int) -> tuple[LinkRates, ...]:
    """The rates of the links to an edge, as far as the round may meet them."""
    until_ms = float(realization.arrival_ms.max(initial=0.0)) + AFTER_LAST_MS
    return tuple(_link(trace, until_ms) for trace in realization.rates_of(scenario.links[edge]))


def _link(trace: RateTrace, until_ms: float) -> LinkRates:
    count = max(int(np.searchsorted(trace.from_ms, until_ms)), 1)
    steps: Sequence[float] = trace.from_ms[:count].tolist()
    mbps = (trace.bits_per_ms[:count] / BITS_PER_MS_PER_MBPS).tolist()
    repeats = np.isfinite(trace.period_ms) and trace.period_ms < until_ms
    return LinkRates(from_ms=tuple(steps), mbps=tuple(mbps), period_ms=float(trace.period_ms) if repeats else None)
