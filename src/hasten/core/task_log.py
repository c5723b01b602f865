"""The task log ``hasten.tasks/1``: what a device writes of each task, one JSON object a line, and what reads it.

Each line carries the schema's name, so that a log can be read from any line on while it grows. A line without one is
of before there was a name, and has the same fields.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, RootModel

from hasten.core.calibration import NODES
from hasten.core.errors import InputError
from hasten.core.files import StrictNumbers, validated
from hasten.core.gain import GainTerms
from hasten.core.options import DROP

TASKS_SCHEMA = "hasten.tasks/1"
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Curve = Annotated[tuple[Share, ...], Field(min_length=NODES, max_length=NODES)]
_FINITE = ConfigDict(allow_inf_nan=False)


@dataclass(frozen=True)
class SeenEdge(StrictNumbers):
    """What a view shows of a further edge; ``kept_share`` is its calibration curve."""

    __pydantic_config__: ClassVar[ConfigDict] = _FINITE

    uplink_wait_ms: NotNegative
    edge_wait_ms: Annotated[tuple[NotNegative, ...], Field(min_length=1)]
    rate_bits_per_ms: NotNegative
    rtt_ms: NotNegative
    kept_share: Curve


@dataclass(frozen=True)
class Seen(StrictNumbers):
    """The view of a decision; waits and times in ms."""

    __pydantic_config__: ClassVar[ConfigDict] = _FINITE

    now_ms: float
    device_wait_ms: NotNegative
    uplink_wait_ms: NotNegative
    edge_wait_ms: Annotated[tuple[NotNegative, ...], Field(min_length=1)]
    rate_bits_per_ms: NotNegative
    rtt_ms: NotNegative | None = None
    unseen_wait_ms: NotNegative | None = None
    """None in logs of before there was a load forecast."""
    kept_share: tuple[Curve, Curve] | None = None
    """The stream's calibration curves, local and offloaded, at their nodes (:mod:`hasten.core.calibration`).

    None in logs of before there were any.
    """
    further_edges: tuple[SeenEdge, ...] = ()
    """Edges 1, 2, ..., where a device may choose; the fields above are of edge 0."""


@dataclass(frozen=True)
class Facts(StrictNumbers):
    """What a scheduler was told before; ``plan`` counts how often, its time began at ``from_ms``."""

    __pydantic_config__: ClassVar[ConfigDict] = _FINITE

    plan: int
    from_ms: NotNegative
    rtt_ms: NotNegative
    workers: Annotated[int, Field(ge=1)]
    edge_slowdown: Annotated[float, Field(gt=0)]
    slowdown: Annotated[float, Field(gt=0)]
    rate_hz: Annotated[float, Field(gt=0)]
    stream: Annotated[int, Field(ge=0)]
    streams: Annotated[int, Field(ge=1, le=100_000)]
    shared_uplink: bool
    gain_terms: GainTerms
    energy_weight_per_mj: NotNegative
    further_edge_slowdowns: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Of edges 1, 2, ..."""


@dataclass(frozen=True, kw_only=True)
class LoggedTask(StrictNumbers):
    """One line of a log. Fields with a default are for people, and may be missing in what is read."""

    __pydantic_config__: ClassVar[ConfigDict] = _FINITE

    schema: Literal["hasten.tasks/1"] = "hasten.tasks/1"
    task: Annotated[int, Field(ge=0)]
    arrival_ms: float
    """From the start of the run."""
    sample: int | None = None
    label: int | None = None
    option: Annotated[int, Field(ge=DROP)]
    exit: Annotated[int, Field(ge=0)]
    partition: Annotated[int, Field(ge=0)]
    edge: Annotated[int, Field(ge=0)] = 0
    """The edge decided for, by its number among the device's; 0 where nothing was to be sent."""
    predicted_ms: float | None = None
    """Latency as predicted at the decision."""
    promised: Share | None = None
    """The share of tasks promised like this one that have been on time lately; None where it was never promised."""
    decision_us: NotNegative | None = None
    note: str | None = None
    seen: Seen
    facts: Facts
    parts: dict[str, float] | None = None
    """Where the time went, ms by stage."""
    bytes: int | None = None
    """On the wire."""
    outcome: str | None = None
    reason: str | None = None
    fallback: str | None
    latency_ms: NotNegative | None
    """None without an answer."""
    deadline_ms: Annotated[float, Field(gt=0)]
    answered_exit: Annotated[int, Field(ge=0)]
    """0 without an answer."""
    answered_partition: Annotated[int, Field(ge=0)] | None = None
    """None in logs of before there was such a field."""
    answered_by: str | None = None
    """The edge that answered; None where the device did, or nobody, and in logs of before there was such a field."""
    class_index: Annotated[int | None, Field(alias="class")] = None
    """``class`` in the file."""
    confidence: float | None = None
    correct: bool | None = None
    score: Share | None = None
    """Of outputs that are no classes: what the package's metric says, 0 without an answer; None without a target."""

    def stages(self) -> list[tuple[str, float]]:
        """Its parts one after the other, (name, ms).

        Without what the device computed beside link and edge, to have an answer if theirs failed.
        """
        parts = self.parts or {}
        beside_ms = max(sum(parts.values()) - self.latency_ms, 0.0) if self.latency_ms is not None else 0.0
        return [(name, max(ms - beside_ms, 0.0) if name == "device" else ms) for name, ms in parts.items()]

    def line(self) -> dict[str, Any]:
        """The plain data of a line."""
        shares = self.seen.kept_share
        seen = vars(self.seen) | {
            "edge_wait_ms": list(self.seen.edge_wait_ms),
            "kept_share": None if shares is None else [list(curve) for curve in shares],
            "further_edges": [
                vars(it) | {"edge_wait_ms": list(it.edge_wait_ms), "kept_share": list(it.kept_share)}
                for it in self.seen.further_edges
            ],
        }
        facts = vars(self.facts) | {
            "gain_terms": list(self.facts.gain_terms),
            "further_edge_slowdowns": list(self.facts.further_edge_slowdowns),
        }
        line = vars(self) | {"seen": seen, "facts": facts}
        line["class"] = line.pop("class_index")
        return line


class _Line(RootModel[LoggedTask]):
    """What a line is checked against."""


def logged_task(data: Any, where: str | Path) -> LoggedTask:
    """The task that plain data of a line tells of.

    Raises:
        InputError: another schema, or a field that is missing or not what it has to be; names ``where`` and the field.
    """
    return validated(_Line, data, where).root


def parse_task(line: str, where: str | Path) -> LoggedTask:
    """The task that a line tells of; as :func:`logged_task`, and an :class:`InputError` for what is not JSON."""

    def refuse(token: str) -> Any:
        raise InputError(where, "line", token, "a finite number")

    try:
        data = json.loads(line, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise InputError(where, "line", line, f"valid JSON ({error.msg})") from None
    return logged_task(data, where)
