"""A scenario: streams, uplink, edge, gain and length; and its realization, the same for every scheduler.

The file format is ``hasten.scenario/1`` (YAML). A realization fixes everything random about a run beforehand:
arrivals, link rates, errors of the estimated rate. Schedulers compared on it meet the very same tasks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, model_validator

from hasten.core.arrivals import MAX_TASKS, Arrivals, ExplicitArrivals
from hasten.core.confidence import ConfidenceSpec, draw_ease
from hasten.core.decision import Context
from hasten.core.errors import HastenError, InputError
from hasten.core.files import Factor, FileName, Milliseconds, Name, PositiveMs, Record, read_record, validated
from hasten.core.gain import Gain, OnTimeAccuracy
from hasten.core.limits import MAX_OPTION_VALUES, SLACK_AFTER_LAST_ARRIVAL, check_seed, check_size
from hasten.core.noise import draw_noise, tell_stated
from hasten.core.options import OptionTable, StreamCosts, option_table
from hasten.core.profile import Profile
from hasten.core.profile_names import load_profile
from hasten.core.rates import Rate, RateTrace
from hasten.core.realization import Realization as Realization

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


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


class EdgeSpec(Record):
    """The edge node; ``slowdown`` multiplies every profile's edge times."""

    workers: Annotated[int, Field(ge=1, le=1024)] = 1
    slowdown: Factor = 1.0


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


class Scenario(Record):
    """A validated ``hasten.scenario/1``; see :func:`load_scenario`."""

    schema_id: Literal["hasten.scenario/1"] = Field(alias="schema")
    streams: Annotated[tuple[StreamSpec, ...], Field(min_length=1)]
    uplink: UplinkSpec
    edge: EdgeSpec = EdgeSpec()
    gain: Gain = OnTimeAccuracy()
    tasks_per_stream: Annotated[int, Field(ge=0, le=MAX_TASKS)] | None = None
    horizon_ms: Milliseconds | None = None
    view: ViewSpec = ViewSpec()
    noise: Literal["none", "profile"] = "none"
    confidence: ConfidenceSpec | None = None
    _folder: Path | None = PrivateAttr(default=None)
    _where: str = PrivateAttr(default="scenario")

    @model_validator(mode="after")
    def _one_length(self) -> Scenario:
        if (self.tasks_per_stream is None) == (self.horizon_ms is None):
            raise ValueError("exactly one of tasks_per_stream and horizon_ms")
        if self.view.kind == "device":  # nobody knows the order of decisions
            object.__setattr__(self, "uplink", self.uplink.model_copy(update={"order": "ready"}))
        names = [spec.name for spec in self.streams]
        if len(set(names)) != len(names):
            twice = next(name for i, name in enumerate(names) if name in names[:i])
            raise ValueError(f"different names for the streams, not {twice!r} again")
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
                raise InputError(
                    self._where,
                    "gain.energy_weight_per_mj",
                    weight,
                    f"0, because profile {stream.profile.name!r} has no device_power_mw",
                )
        widest = max(stream.profile.options for stream in self.devices)
        if widest * len(self.devices) > MAX_OPTION_VALUES:
            asked = f"{len(self.devices)} streams with up to {widest} options"
            raise InputError(self._where, "streams", asked, f"at most {MAX_OPTION_VALUES} options in all")
        return option_table([StreamCosts(s.profile, s.slowdown, self.edge.slowdown, weight) for s in self.devices])

    @cached_property
    def deadlines_ms(self) -> FloatArray:
        """(M,): each stream's relative deadline."""
        return np.array([stream.deadline_ms for stream in self.devices])

    @property
    def sure_rate(self) -> RateTrace | None:
        """The trace of every link where nothing about it is random, else None; one object as long as it is the same."""
        if self.uplink.rate.drawn:
            return None
        return self.uplink.rate.realize(np.random.default_rng(0), 0.0, self._folder)

    def context(self, seeds: IntArray) -> Context:
        """The facts a scheduler is told before runs with these seeds (B,)."""
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
            uplink_bits_per_ms=self.uplink.rate.constant_bits_per_ms(),
            from_devices=self.view.kind == "device",
            exact=self._predicts_exactly,
        )

    @property
    def _predicts_exactly(self) -> bool:
        """Whether the timing law tells at each decision what will be."""
        alone = len(self.devices) == 1  # nobody else's tasks can overtake
        fresh = self.view == ViewSpec()
        in_turn = alone or self.uplink.order == "grant"
        sure = self.noise == "none" and self.uplink.rate.constant_bits_per_ms() is not None
        return in_turn and fresh and sure

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
        stream_of = np.repeat(np.arange(len(arrivals)), [len(times) for times in arrivals])
        order = np.argsort(arrival_ms, kind="stable")  # streams lie in order, so ties are in stream order
        covered_ms = float(arrival_ms.max(initial=0.0)) + SLACK_AFTER_LAST_ARRIVAL * float(self.deadlines_ms.max())
        links = 1 if self.uplink.topology == "shared" else len(self.devices)
        if (sure_rate := self.sure_rate) is not None:
            rates = (sure_rate,) * links
        else:
            rates = tuple(
                self.uplink.rate.realize(np.random.default_rng([seed, 1, link]), covered_ms, self._folder)
                for link in range(links)
            )
        rate_factor = np.ones(len(arrival_ms))
        if self.view.rate_error > 0:
            errors = np.random.default_rng([seed, 2]).standard_normal(len(arrival_ms))
            rate_factor = np.exp(self.view.rate_error * errors)
        noise = None
        if self.noise == "profile":
            spreads = [stream.profile.spread for stream in self.devices]
            noise = draw_noise(spreads, [len(times) for times in arrivals], seed).part(order)
        ease = None if self.confidence is None else draw_ease([len(times) for times in arrivals], seed)[order]
        return Realization(
            seed=seed,
            arrival_ms=np.ascontiguousarray(arrival_ms[order], dtype=np.float64),
            stream=np.ascontiguousarray(stream_of[order], dtype=np.int64),
            rates=rates,
            rate_factor=rate_factor,
            noise=noise,
            ease=ease,
        )


def load_scenario(path: str | Path) -> Scenario:
    """Load and check a scenario file, its profiles and traces included.

    Raises:
        InputError: names the file, the field (with its line), the value and what was expected.
    """
    if not isinstance(path, str | Path):
        raise InputError("load_scenario", "path", path, "the path of a scenario file")
    path = Path(path)
    return _checked(read_record(Scenario, path), path)


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
        scenario.uplink.rate.realize(np.random.default_rng(0), 1.0, scenario.folder)
    except InputError as error:
        if error.where == str(where):
            raise
        raise InputError(f"{where}: {error.where}", error.field, error.value, error.expected) from None
    except HastenError as error:
        raise HastenError(f"{where}: {error}") from None
    if scenario.noise == "profile":
        tell_stated({stream.profile.name: stream.profile.spread for stream in scenario.devices})
    return scenario
