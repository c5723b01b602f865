"""What a scenario is made of: its streams, the way to an edge, the edge, what a scheduler sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from hasten.core.arrivals import Arrivals
from hasten.core.errors import InputError
from hasten.core.files import Factor, FileName, Milliseconds, Name, PositiveMs, Record
from hasten.core.noise import Noise, NoisySource, draw_noise
from hasten.core.profile import Profile, batching
from hasten.core.rates import Rate

MAX_EDGES = 64
"""Edges that a device may choose among."""


class StreamSpec(Record):
    """One entry of ``streams``: ``count`` devices alike, each with a stream of its own."""

    name: Name
    count: Annotated[int, Field(ge=1, le=100_000)] = 1
    profile: FileName
    deadline_ms: PositiveMs
    arrivals: Arrivals
    slowdown: Factor = 1.0


class UplinkSpec(Record):
    """The way from the devices to the edge."""

    topology: Literal["shared", "dedicated"] = "shared"
    order: Literal["grant", "ready"] = "grant"
    rtt_ms: Milliseconds = 0.0
    rate: Rate

    def in_ready_order(self) -> UplinkSpec:
        """The same way, which serves what is there first."""
        return self.model_copy(update={"order": "ready"})


class EdgeSpec(Record):
    """The edge node; ``slowdown`` multiplies every profile's edge times, ``queue`` is the order of service.

    Up to ``batch`` tasks of the same cut and exit are run at once, by the times in profiles (``edge_batches``).
    """

    workers: Annotated[int, Field(ge=1, le=1024)] = 1
    slowdown: Factor = 1.0
    queue: Literal["fifo", "deadline"] = "fifo"
    batch: Annotated[int, Field(ge=1, le=1024)] = 1


class NamedEdge(Record):
    """One of several edges that devices choose among, and the way to it."""

    name: Name
    uplink: UplinkSpec
    edge: EdgeSpec = EdgeSpec()


class ViewSpec(Record):
    """What a scheduler sees: the system itself (``fresh``), or what a real device believes of it (``device``).

    Of ``fresh``, backlogs that other devices share are ``age_ms`` old; the link's rate is as old and off by a factor
    ``exp(rate_error * standard normal)``. A device's own backlog is always exact.
    """

    kind: Literal["fresh", "device"] = "fresh"
    age_ms: Milliseconds = 0.0
    rate_error: Annotated[float, Field(ge=0, le=10)] = 0.0

    @model_validator(mode="after")
    def _one_kind(self) -> ViewSpec:
        made_up = [name for name in ("age_ms", "rate_error") if getattr(self, name) > 0]
        if self.kind == "device" and made_up:
            raise ValueError(f"no {made_up[0]} with kind device, whose estimates are as old and wrong as they are")
        return self


@dataclass(frozen=True)
class Stream:
    """One device's stream after ``count`` has been unrolled."""

    name: str
    profile: Profile
    deadline_ms: float
    slowdown: float
    spec: StreamSpec
    position: float
    """Where in a recording this stream starts, as a share of its length."""


def all_differ(what: str, names: Sequence[str]) -> None:
    """Refuse a name that comes twice."""
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise ValueError(f"different names for the {what}, not {twice[0]!r} again")


def check_ways(ways: Sequence[NamedEdge], view: ViewSpec) -> None:
    """Refuse edges that devices cannot choose among."""
    all_differ("edges", [way.name for way in ways])
    order = ways[0].uplink.order
    for i, way in enumerate(ways):
        if way.uplink.order != order:
            raise ValueError(f"edges[{i}].uplink.order to be {order}, as that of the first edge")
    if len(ways) > 1 and (view.age_ms > 0 or view.rate_error > 0):
        raise ValueError("no view.age_ms and no view.rate_error with several edges")
    if any(way.edge.queue == "deadline" for way in ways):
        check_deadline_order(ways, view)
    if any(way.edge.batch > 1 for way in ways):
        check_batches(ways, view)


def check_batches(ways: Sequence[NamedEdge], view: ViewSpec) -> None:
    """Refuse edges that cannot run tasks at once: what waits is not known when it is decided."""
    if len(ways) > 1:
        raise ValueError("edge.batch 1 with several edges")
    if view.kind != "device":
        raise ValueError("view.kind device with edge.batch above 1")


def check_batch_times(where: str | Path, edge: EdgeSpec, devices: Sequence[Stream]) -> None:
    """Refuse with an :class:`InputError` an edge that is to run tasks at once of which none can be."""
    if edge.batch == 1:
        return
    profiles = {id(stream.profile): stream.profile for stream in devices}.values()
    if any(profile.confidence is not None for profile in profiles):
        raise InputError(where, "edge.batch", edge.batch, "1: tasks that may stop early are run one by one")
    if all(batching(profile, edge.batch).edge_batches is None for profile in profiles):
        expected = "1: no profile has times of so few at once (edge_batches; hasten profile --as edge measures them)"
        raise InputError(where, "edge.batch", edge.batch, expected)


def check_deadline_order(ways: Sequence[NamedEdge], view: ViewSpec) -> None:
    """Refuse edges that cannot serve the earliest deadline first: finish times would be fixed, or views not known."""
    if ways[0].uplink.order == "grant" or view.age_ms > 0:
        raise ValueError("uplink.order ready and no view.age_ms with edge.queue deadline")


def links_of(ways: Sequence[NamedEdge], streams: int) -> NDArray[np.int64]:
    """(E, M): number of each stream's link to each edge; a shared one is of all streams."""
    links, first = [], 0
    for way in ways:
        own = np.zeros(streams, np.int64) if way.uplink.topology == "shared" else np.arange(streams)
        links.append(first + own)
        first = int(links[-1].max()) + 1
    return np.stack(links)


def noise_of(devices: Sequence[Stream], tasks: Sequence[int], ways: Sequence[NamedEdge], seed: int) -> Noise:
    """How the tasks of these streams turn out, one stream behind the other; ``tasks`` (M,) counts them."""
    own = zip(devices, tasks, strict=True)
    sources = [NoisySource(stream.profile.spread, stream.slowdown, number) for stream, number in own]
    return draw_noise(sources, [way.edge.slowdown for way in ways], seed)
