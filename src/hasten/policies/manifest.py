"""What a policy file says of itself: ``hasten.policy/1``, the options it chooses among and what it was trained for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from hasten.core.decision import Context, FloatArray
from hasten.core.files import Record
from hasten.core.gain import GainTerms
from hasten.core.options import OptionTable
from hasten.core.scenario_parts import MAX_EDGES
from hasten.features.layout import ActionLayout, AfterstateLayout
from hasten.features.observation import FEATURE_VERSION

Range = tuple[float, float]
"""Lowest and highest."""
MAX_LAYER_WIDTH = 4096
MAX_OPTIONS = 4096
MAX_PLACES = 64
"""Numbers of streams, or deadlines, that have margins."""


class TrainingRange(Record):
    """What a policy was trained on, as ranges (lowest, highest); beyond them its values mean nothing."""

    rate_mbps: Range
    """Uplink rate as seen at decisions."""
    rate_hz: Range
    """Mean arrival rate of a stream."""
    deadline_ms: Range
    streams: tuple[int, int]
    """Number of streams that share the edge."""
    device_ms: Range
    """A stream's longest device time among its options."""
    edge_ms: Range
    """A stream's longest edge time among its options."""

    @model_validator(mode="after")
    def _ordered(self) -> TrainingRange:
        for name, (low, high) in self:
            if not 0 <= low <= high:
                raise ValueError(f"{name} as two numbers, 0 <= lowest <= highest, not {low}, {high}")
        return self

    def joined(self, other: TrainingRange) -> TrainingRange:
        """The smallest range that covers both."""
        mine, theirs = self.model_dump(), other.model_dump()
        return TrainingRange(**{k: (min(mine[k][0], theirs[k][0]), max(mine[k][1], theirs[k][1])) for k in mine})


class ImprovementMargins(Record):
    """By how much another option's value has to exceed Greedy's, by the number of streams and a stream's deadline."""

    streams: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1, max_length=MAX_PLACES)]
    """(K,), ascending."""
    deadline_ms: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1, max_length=MAX_PLACES)]
    """(D,), ascending."""
    margin: Annotated[tuple[tuple[Annotated[float, Field(ge=0)], ...], ...], Field(max_length=MAX_PLACES, alias="lead")]
    """(K, D); ``lead`` in the file."""

    @model_validator(mode="after")
    def _a_table(self) -> ImprovementMargins:
        for name, places in (("streams", self.streams), ("deadline_ms", self.deadline_ms)):
            if list(places) != sorted(set(places)):
                raise ValueError(f"{name} in ascending order, not {places}")
        shape = len(self.streams), len(self.deadline_ms)
        if len(self.margin) != shape[0] or any(len(row) != shape[1] for row in self.margin):
            raise ValueError(f"lead of shape {shape}, numbers of streams by deadlines")
        return self

    def at(self, streams: int, deadline_ms: FloatArray) -> FloatArray:
        """(M,): margins for so many streams with these deadlines (M,).

        Linear between the nearest entries, in the number of streams and in the deadline's logarithm; beyond the
        first and the last entry it is theirs.
        """
        known, wanted = np.log(self.deadline_ms), np.log(deadline_ms)
        rows = [np.interp(wanted, known, row) for row in self.margin]
        return np.array([np.interp(streams, self.streams, column) for column in zip(*rows, strict=True)])


class NetworkOptions(Record):
    """The options of one network that a policy chooses among: action j is the j-th of them."""

    profile: str
    fingerprint: str
    """Of the network's whole option table: see :func:`fingerprint`."""
    options: Annotated[
        tuple[tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=0)]], ...],
        Field(min_length=1, max_length=MAX_OPTIONS),
    ]
    """(exit, partition) pairs."""
    edge: Annotated[tuple[Annotated[int, Field(ge=0, lt=MAX_EDGES)], ...], Field(max_length=MAX_OPTIONS)] = ()
    """(J,): the edge of each option; empty for policies for one edge."""

    @model_validator(mode="after")
    def _edge_of_each(self) -> NetworkOptions:
        if self.edge and len(self.edge) != len(self.options):
            raise ValueError(f"edge of {len(self.options)} options, not {len(self.edge)}")
        return self

    @property
    def triples(self) -> tuple[tuple[int, int, int], ...]:
        """(exit, partition, edge) of each option."""
        edge = self.edge or (0,) * len(self.options)
        return tuple((*pair, at) for pair, at in zip(self.options, edge, strict=True))


class PolicyManifest(Record):
    """What a policy file says of itself."""

    schema_id: Literal["hasten.policy/1"] = Field(alias="schema", default="hasten.policy/1")
    hasten: str
    """The version that wrote it."""
    feature_version: int = FEATURE_VERSION
    values: Literal["actions", "backlogs"] = "actions"
    """What its network values."""
    hidden: tuple[Annotated[int, Field(ge=1, le=MAX_LAYER_WIDTH)], ...]
    """Widths of the trunk's layers; for backlogs of that of the context and of the shared one."""
    margins: ImprovementMargins | None = Field(alias="leads", default=None)
    """For backlogs; without, any option of larger value is taken. ``leads`` in the file."""
    networks: Annotated[tuple[NetworkOptions, ...], Field(min_length=1, max_length=256)]
    order: Literal["grant", "ready"] | None = None
    """The order of service that it was trained for and sees backlogs for; None for that of the run at hand."""
    view: Literal["fresh", "device"] | None = None
    """The kind of view that it was trained with; older files, which do not say, were trained with fresh ones."""
    edges: Annotated[int, Field(ge=1, le=MAX_EDGES)] = 1
    """How many edges it chooses among."""
    gain_terms: GainTerms
    """The gain it maximises: see :func:`hasten.core.gain.task_gain`."""
    training_range: TrainingRange = Field(alias="envelope")
    """``envelope`` in the file."""
    training: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    """How it was trained, in words and numbers."""

    @model_validator(mode="after")
    def _consistent(self) -> PolicyManifest:
        if self.values == "backlogs" and len(self.hidden) != 2:
            raise ValueError(f"hidden as two widths for values of backlogs, not {self.hidden}")
        if self.values == "actions" and self.edges > 1:
            raise ValueError("edges 1 for values of actions")
        most = max((edge for network in self.networks for edge in network.edge), default=0)
        if most >= self.edges:
            raise ValueError(f"edges beyond {most}, that of an option, not {self.edges}")
        return self

    def margin(self, context: Context) -> FloatArray:
        """(M,): by how much another option's value has to exceed Greedy's to be taken, for each stream."""
        if self.margins is None:
            return np.zeros(len(context.deadline_ms))
        return self.margins.at(context.streams, context.deadline_ms)

    def seen_as(self, context: Context) -> Context:
        """The context that its observations are made for."""
        return context if self.order is None else replace(context, ready_order=self.order == "ready")

    @property
    def width(self) -> int:
        """Number of options J: the most that any network has."""
        return max(len(network.options) for network in self.networks)

    @property
    def afterstates(self) -> AfterstateLayout:
        """Where things are in an observation, for values of backlogs."""
        return AfterstateLayout(self.width + 1, self.edges > 1)

    @property
    def features(self) -> int:
        """Length of an observation."""
        if self.values == "backlogs":
            return self.afterstates.size
        return ActionLayout(self.width).size


def fingerprint(table: OptionTable, stream: int) -> str:
    """Identifies a network by its options, their sizes and accuracies: not by how fast machines run it."""
    n = int(table.count[stream])
    facts = [
        [int(e), int(p), round(bits), round(float(accuracy), 6)]
        for e, p, bits, accuracy in zip(
            table.exit[stream, :n],
            table.partition[stream, :n],
            table.payload_bits[stream, :n],
            table.accuracy[stream, :n],
            strict=True,
        )
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def network_options(profiles: Sequence[str], table: OptionTable) -> tuple[NetworkOptions, ...]:
    """The networks of a scenario with their undominated options, each once, as a manifest holds them.

    ``table`` is the scenario's whole table, ``profiles`` (M,) the name of each stream's profile.
    """
    kept, _ = table.undominated()
    found: dict[NetworkOptions, None] = {}
    for m, profile in enumerate(profiles):
        n = int(kept.count[m])
        pairs = tuple(zip(kept.exit[m, :n].tolist(), kept.partition[m, :n].tolist(), strict=True))
        edge = tuple(kept.edge[m, :n].tolist()) if table.edge.any() else ()
        found[NetworkOptions(profile=profile, fingerprint=fingerprint(table, m), options=pairs, edge=edge)] = None
    return tuple(found)
