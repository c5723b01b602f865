"""A scenario: streams, edges and the ways to them, gain and length; and its realization, the same for every scheduler.

The file format is ``hasten.scenario/1`` (YAML). A realization fixes everything random about a run beforehand:
arrivals, link rates, errors of the estimated rate. Schedulers compared on it meet the very same tasks.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, SerializerFunctionWrapHandler, model_serializer, model_validator

from hasten.core.arrivals import MAX_TASKS, ExplicitArrivals
from hasten.core.confidence import ConfidenceSpec, draw_ease
from hasten.core.decision import Context
from hasten.core.errors import HastenError, InputError
from hasten.core.files import Milliseconds, Record, read_record, validated
from hasten.core.gain import Gain, OnTimeAccuracy
from hasten.core.limits import MAX_OPTION_VALUES, SLACK_AFTER_LAST_ARRIVAL, check_seed, check_size
from hasten.core.noise import tell_stated
from hasten.core.options import OptionTable, StreamCosts, of_several_edges, option_table
from hasten.core.profile_names import load_profile
from hasten.core.rates import RateTrace
from hasten.core.realization import Realization as Realization
from hasten.core.realization import rate_errors
from hasten.core.scenario_parts import (
    MAX_EDGES,
    EdgeSpec,
    NamedEdge,
    Stream,
    StreamSpec,
    UplinkSpec,
    ViewSpec,
    all_differ,
    check_batch_times,
    check_ways,
    links_of,
    noise_of,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Scenario(Record):
    """A validated ``hasten.scenario/1``; see :func:`load_scenario`."""

    schema_id: Literal["hasten.scenario/1"] = Field(alias="schema")
    streams: Annotated[tuple[StreamSpec, ...], Field(min_length=1)]
    edges: Annotated[tuple[NamedEdge, ...], Field(min_length=1, max_length=MAX_EDGES)] | None = None
    uplink: UplinkSpec
    """The way to the edge; of several edges, to the first. Likewise ``edge``."""
    edge: EdgeSpec = EdgeSpec()
    gain: Gain = OnTimeAccuracy()
    tasks_per_stream: Annotated[int, Field(ge=0, le=MAX_TASKS)] | None = None
    horizon_ms: Milliseconds | None = None
    view: ViewSpec = ViewSpec()
    noise: Literal["none", "profile"] = "none"
    confidence: ConfidenceSpec | None = None
    _folder: Path | None = PrivateAttr(default=None)
    _where: str = PrivateAttr(default="scenario")

    @model_validator(mode="before")
    @classmethod
    def _first_edge(cls, data: Any) -> Any:
        """Take ``uplink`` and ``edge`` from the first of several edges."""
        if not isinstance(data, dict) or data.get("edges") is None:
            return data
        for name in ("uplink", "edge"):
            if data.get(name) is not None:
                raise ValueError(f"either edges or {name}, not both")
        first = data["edges"][0] if isinstance(data["edges"], list | tuple) and data["edges"] else None
        parts = dict(first) if isinstance(first, dict | NamedEdge) else {}
        return {**data, **{name: parts[name] for name in ("uplink", "edge") if name in parts}}

    @model_serializer(mode="wrap")
    def _as_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Either ``edges``, or ``uplink`` and ``edge``."""
        data: dict[str, Any] = handler(self)
        left_out = ("edges",) if self.edges is None else ("uplink", "edge")
        return {name: value for name, value in data.items() if name not in left_out}

    @model_validator(mode="after")
    def _ways(self) -> Scenario:
        if self.view.kind == "device":  # nobody knows the order of decisions
            ways = [way.model_copy(update={"uplink": way.uplink.in_ready_order()}) for way in self.edges or ()]
            object.__setattr__(self, "uplink", self.uplink.in_ready_order())
            object.__setattr__(self, "edges", tuple(ways) or None)
        check_ways(self.every_edge, self.view)
        if len(self.every_edge) > 1 and self.confidence is not None:
            raise ValueError("no confidence with several edges: options at several edges know of no early stops")
        return self

    @model_validator(mode="after")
    def _one_length(self) -> Scenario:
        if (self.tasks_per_stream is None) == (self.horizon_ms is None):
            raise ValueError("exactly one of tasks_per_stream and horizon_ms")
        all_differ("streams", [spec.name for spec in self.streams])
        for i, spec in enumerate(self.streams):
            given = len(spec.arrivals.times_ms) if isinstance(spec.arrivals, ExplicitArrivals) else None
            if given is not None and self.tasks_per_stream is not None and given < self.tasks_per_stream:
                raise ValueError(
                    f"streams[{i}].arrivals.times_ms to have {self.tasks_per_stream} times (tasks_per_stream), "
                    f"not {given}; or horizon_ms instead of tasks_per_stream"
                )
        return self

    @property
    def name(self) -> str:
        """The scenario's file name without its ending, or ``scenario``."""
        return Path(self._where).stem

    @property
    def folder(self) -> Path | None:
        """The folder that relative file names start from."""
        return self._folder

    @property
    def every_edge(self) -> tuple[NamedEdge, ...]:
        """All edges that devices choose among, in the order of the options' ``edge``."""
        return self.edges or (NamedEdge(name="edge", uplink=self.uplink, edge=self.edge),)

    @property
    def links(self) -> IntArray:
        """(E, M): which of a realization's rates each stream's way to each edge has."""
        return links_of(self.every_edge, len(self.devices))

    @cached_property
    def devices(self) -> tuple[Stream, ...]:
        """All streams, ``count`` unrolled; raises :class:`InputError` for a profile that cannot be loaded.

        Profiles know of early stops where the scenario asks for them.
        """
        unrolled = []
        loss = None if self.confidence is None else self.confidence.max_accuracy_loss
        for spec in self.streams:
            profile = load_profile(spec.profile, self._folder).stopping(loss)
            for i in range(spec.count):
                name = spec.name if spec.count == 1 else f"{spec.name}-{i + 1}"
                unrolled.append(Stream(name, profile, spec.deadline_ms, spec.slowdown, spec, i / spec.count))
        return tuple(unrolled)

    @cached_property
    def options(self) -> OptionTable:
        """The options of every stream, slow-downs included."""
        weight = self.gain.energy_weight_per_mj
        for stream in self.devices:
            if weight > 0 and stream.profile.device_power_mw is None:
                expected = f"0, because profile {stream.profile.name!r} has no device_power_mw"
                raise InputError(self._where, "gain.energy_weight_per_mj", weight, expected)
        widest = max(stream.profile.options for stream in self.devices) * len(self.every_edge)
        if widest * len(self.devices) > MAX_OPTION_VALUES:
            asked = f"{len(self.devices)} streams with up to {widest} options"
            raise InputError(self._where, "streams", asked, f"at most {MAX_OPTION_VALUES} options in all")
        tables = [
            option_table([StreamCosts(s.profile, s.slowdown, way.edge.slowdown, weight) for s in self.devices])
            for way in self.every_edge
        ]
        return tables[0] if len(tables) == 1 else of_several_edges(tables)

    @cached_property
    def deadlines_ms(self) -> FloatArray:
        """(M,): each stream's relative deadline."""
        return np.array([stream.deadline_ms for stream in self.devices])

    def _rates(self, seed: int, covered_ms: float) -> tuple[RateTrace, ...]:
        """The rates of all links, in the order of ``links``; one object for those about which nothing is random."""
        rates: list[RateTrace] = []
        for way, links in zip(self.every_edge, self.links, strict=True):
            rate, first, end = way.uplink.rate, int(links.min()), int(links.max()) + 1
            if rate.drawn:
                rngs = [np.random.default_rng([seed, 1, link]) for link in range(first, end)]
                rates += [rate.realize(rng, covered_ms, self._folder) for rng in rngs]
            else:
                rates += [rate.realize(np.random.default_rng(0), 0.0, self._folder)] * (end - first)
        return tuple(rates)

    def context(self, seeds: IntArray) -> Context:
        """The facts a scheduler is told before runs with these seeds (B,); those of an edge are of the first."""
        rates = [way.uplink.rate.constant_bits_per_ms() for way in self.every_edge]
        return Context(
            options=self.options,
            deadline_ms=self.deadlines_ms,
            rate_hz=np.array([s.spec.arrivals.mean_rate_hz(self._folder) for s in self.devices]),
            gain_terms=self.gain.terms(),
            rtt_ms=self.uplink.rtt_ms,
            workers=self.edge.workers,
            shared_uplink=self.uplink.topology == "shared",
            ready_order=self.uplink.order == "ready",
            streams=len(self.devices),
            batch=len(seeds),
            seeds=seeds,
            arrivals=tuple(s.spec.arrivals for s in self.devices),
            uplink_bits_per_ms=rates[0] if len(rates) == 1 else None,
            from_devices=self.view.kind == "device",
            exact=self._predicts_exactly,
        )

    @property
    def _predicts_exactly(self) -> bool:
        """Whether the timing law tells at each decision what will be."""
        alone = len(self.devices) == 1  # nobody else's tasks can overtake
        fresh = self.view == ViewSpec()
        in_turn = alone or self.uplink.order == "grant"
        steady = all(way.uplink.rate.constant_bits_per_ms() is not None for way in self.every_edge)
        sure = self.noise == "none" and steady
        return in_turn and fresh and sure

    def need_one_edge(self, what: str) -> None:
        """Raise :class:`InputError` where devices choose among several edges, for ``what`` cannot."""
        if len(self.every_edge) > 1:
            names = [way.name for way in self.every_edge]
            raise InputError(self._where, "edges", names, f"one edge: {what} knows no choice among several")

    def realize(self, seed: int = 0) -> Realization:
        """Draw arrivals, rates, estimation errors, noise and how easy tasks are; each from a random stream of its own.

        Raises:
            InputError: ``seed`` is no whole number from 0 to 2**63 - 1.
        """
        seed = check_seed(seed)
        horizon_ms = self.horizon_ms if self.horizon_ms is not None else np.inf
        arrivals = [
            stream.spec.arrivals.times(
                np.random.default_rng([seed, 0, m]), self.tasks_per_stream, horizon_ms, stream.position, self._folder
            )
            for m, stream in enumerate(self.devices)
        ]
        arrival_ms = np.concatenate(arrivals)
        tasks = [len(times) for times in arrivals]
        stream_of = np.repeat(np.arange(len(arrivals)), tasks)
        order = np.argsort(arrival_ms, kind="stable")  # streams lie in order, so ties are in stream order
        covered_ms = float(arrival_ms.max(initial=0.0)) + SLACK_AFTER_LAST_ARRIVAL * float(self.deadlines_ms.max())
        return Realization(
            seed=seed,
            arrival_ms=np.ascontiguousarray(arrival_ms[order], dtype=np.float64),
            stream=np.ascontiguousarray(stream_of[order], dtype=np.int64),
            rates=self._rates(seed, covered_ms),
            rate_factor=rate_errors(self.view.rate_error, len(arrival_ms), seed),
            noise=noise_of(self.devices, tasks, self.every_edge, seed).part(order) if self.noise == "profile" else None,
            ease=None if self.confidence is None else draw_ease(tasks, seed)[order],
        )


def load_scenario(path: str | Path) -> Scenario:
    """Load and check a scenario file, its profiles and traces included.

    Raises:
        InputError: names the file, the field (with its line), the value and what was expected.
    """
    if not isinstance(path, str | Path):
        raise InputError("load_scenario", "path", path, "the path of a scenario file")
    return _checked(read_record(Scenario, Path(path)), Path(path))


def scenario_from(data: Any, where: str | Path = "scenario") -> Scenario:
    """Build a scenario from plain data; ``where`` names it in errors and is where relative files are looked up."""
    return _checked(validated(Scenario, data, where), where)


def check_scenario(scenario: Any, where: str) -> Scenario:
    """Return ``scenario``; anything but a scenario, such as a path, is an :class:`InputError` of ``where``."""
    if not isinstance(scenario, Scenario):
        raise InputError(where, "scenario", scenario, "a Scenario, as load_scenario(path) returns it")
    return scenario


def _checked(scenario: Scenario, where: str | Path) -> Scenario:
    """Check what a scenario refers to, and how much it asks for."""
    scenario._where = str(where)
    scenario._folder = Path(where).parent if isinstance(where, Path) else None
    try:
        check_size(scenario, where)
        _ = scenario.options, scenario.context(np.zeros(1, dtype=np.int64))
        check_batch_times(where, scenario.edge, scenario.devices)
        for way in scenario.every_edge:
            way.uplink.rate.realize(np.random.default_rng(0), 1.0, scenario.folder)
    except InputError as error:
        if error.where == str(where):
            raise
        raise InputError(f"{where}: {error.where}", error.field, error.value, error.expected) from None
    except HastenError as error:
        raise HastenError(f"{where}: {error}") from None
    if scenario.noise == "profile":
        tell_stated({stream.profile.name: stream.profile.spread for stream in scenario.devices})
    return scenario
