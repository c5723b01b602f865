"""What a package says about itself: tensors, cuts, exits, graphs, weights and the hash of every member.

Plain validated data without any I/O. Sizes are bounded here, so that nothing is ever allocated from a number that a
file or a peer merely claims.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from hasten.core.confidence import Confidence, StopRule
from hasten.core.errors import InputError
from hasten.core.files import Record

MAX_ELEMENTS = 1 << 28
"""No tensor of a package may have more elements than this."""

DEFAULT_CODEC = "uint8-zstd"
"""Of cuts that name none, as in packages from before there were several."""

LOGITS = "logits"
"""The name of a classifier's one output."""

MAX_NAME, MAX_EXITS = 200, 64
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=r"^[^\x00-\x1f\x7f]+$")]
Dimension = Annotated[int, Field(ge=1, le=MAX_ELEMENTS)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
CodecName = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=32)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
MemberName = Annotated[str, Field(max_length=120, pattern=r"^[a-z0-9_]+(/[a-z0-9_]+)?\.[a-z]+$")]


class TensorSpec(Record):
    """A tensor's name, its shape without the batch axis, and its type."""

    name: Name
    shape: Annotated[tuple[Dimension, ...], Field(max_length=8)]
    dtype: Literal["float32", "uint8", "int32", "int64", "bool"]

    @model_validator(mode="after")
    def _bounded(self) -> TensorSpec:
        if self.elements > MAX_ELEMENTS:
            raise ValueError(f"at most {MAX_ELEMENTS} elements, not {self.elements}")
        return self

    @property
    def elements(self) -> int:
        """Number of elements of one sample."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of one sample, uncoded."""
        return self.elements * np.dtype(self.dtype).itemsize


class Cut(Record):
    """A place where the network may be cut: the tensors that cross, how they are coded, and their mean size then."""

    name: Name
    tensors: Annotated[tuple[TensorSpec, ...], Field(min_length=1, max_length=8)]
    payload_bytes: Count
    codec: CodecName = DEFAULT_CODEC


class ExitSpec(Record):
    """One exit, what it gives, and how accurate it is on held-out data, without and with the codec at the partition.

    ``outputs`` are named in the graphs as here. Packages from before there were others than logits name none:
    :meth:`PackageManifest.outputs` knows.
    ``accuracy_by_partition`` has one entry per partition 0..after_block; at the last nothing is sent, so no codec acts.
    ``accuracy_with_codec`` is their mean; ``worst_accuracy_with_codec`` their minimum.
    """

    name: Name
    after_block: Count
    outputs: Annotated[tuple[TensorSpec, ...], Field(max_length=16)] = ()
    accuracy: Fraction
    accuracy_with_codec: Fraction
    worst_accuracy_with_codec: Fraction
    accuracy_by_partition: Annotated[tuple[Fraction, ...], Field(min_length=2)]


class Graph(Record):
    """One fused segment: ``prefix`` is blocks 1..partition, ``finish`` the rest from there to ``exit``'s logits.

    Where tasks may stop early, ``check`` runs from partition to ``exit``'s logits and the tensors behind its block, and
    ``onward`` from behind ``exit``'s block to the tensors at partition.
    """

    kind: Literal["prefix", "finish", "check", "onward"]
    partition: Annotated[int, Field(ge=0)]
    exit: Annotated[int, Field(ge=0)] = 0
    member: MemberName


class Weight(Record):
    """A tensor of the network, stored once and shared by all graphs that name it; its shape has no batch axis."""

    tensor: TensorSpec
    member: MemberName


class Samples(Record):
    """How the held-out samples were drawn and how many are inside."""

    count: Annotated[int, Field(ge=1, le=100_000)]
    evaluated: Count
    """Number of held-out inputs on which the accuracies were measured."""


class Member(Record):
    """Size and SHA-256 of one member of the file."""

    size: Annotated[int, Field(ge=0)]
    sha256: Digest


class PackageManifest(Record):
    """The whole description; ``cuts[p]`` is partition p, 0 being the input itself; exits count from 1.

    ``classes`` is 0 where the exits give something else than logits. ``metric`` says what the accuracies measure;
    ``target`` what a sample's label is, where it is no class. With ``confidence`` tasks may stop early.
    """

    schema_id: Literal["hasten.package/1"] = Field(alias="schema")
    name: Name
    classes: Annotated[int, Field(ge=0, le=1_000_000)]
    class_names: Annotated[tuple[Name, ...], Field(max_length=1_000_000)] = ()
    metric: Name = "accuracy"
    target: TensorSpec | None = None
    cuts: Annotated[tuple[Cut, ...], Field(min_length=2, max_length=513)]
    exits: Annotated[tuple[ExitSpec, ...], Field(min_length=1, max_length=MAX_EXITS)]
    graphs: Annotated[tuple[Graph, ...], Field(max_length=20_000)]
    weights: Annotated[tuple[Weight, ...], Field(max_length=10_000)]
    samples: Samples
    confidence: Confidence | None = None
    created_with: dict[Name, Name]
    members: dict[MemberName, Member]

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The network's inputs; the tensors of cut 0."""
        return self.cuts[0].tensors

    @property
    def input(self) -> TensorSpec:
        """The network's one input; where there are several, an :class:`InputError` names them."""
        if len(self.inputs) > 1:
            raise InputError(self.name, "inputs", [spec.name for spec in self.inputs], "one input")
        return self.inputs[0]

    @property
    def block_count(self) -> int:
        """L: the number of blocks; partitions go from 0 to L."""
        return len(self.cuts) - 1

    @property
    def label(self) -> TensorSpec:
        """What the label of one sample is: a class, unless the package says otherwise."""
        return self.target or TensorSpec(name="labels", shape=(), dtype="int64")

    def outputs(self, exit_: int) -> tuple[TensorSpec, ...]:
        """What ``exit_`` (from 1) gives; of a classifier its logits (classes,)."""
        return self.exits[exit_ - 1].outputs or (TensorSpec(name=LOGITS, shape=(self.classes,), dtype="float32"),)

    def options(self) -> list[tuple[int, int]]:
        """Every (exit, partition) there is, exits from 1, partitions from 0."""
        return [
            (number, partition)
            for number, exit_ in enumerate(self.exits, start=1)
            for partition in range(exit_.after_block + 1)
        ]

    def checks(self) -> list[tuple[int, int]]:
        """Every (partition, exit) of a ``check``."""
        return check_segments(self._after_block, self.confidence)

    def onwards(self) -> list[tuple[int, int]]:
        """Every (partition, exit) of an ``onward``."""
        return onward_segments(self._after_block, self.confidence)

    @property
    def _after_block(self) -> tuple[int, ...]:
        return tuple(exit_.after_block for exit_ in self.exits)

    @model_validator(mode="after")
    def _consistent(self) -> PackageManifest:
        if len({spec.name for spec in self.inputs}) != len(self.inputs):
            raise ValueError("cuts[0].tensors to have different names")
        previous = 0
        for number, exit_ in enumerate(self.exits, start=1):
            if not previous < exit_.after_block <= self.block_count:
                raise ValueError(
                    f"exits[{number - 1}].after_block to be in {previous + 1}..{self.block_count}, "
                    f"not {exit_.after_block}"
                )
            if len(exit_.accuracy_by_partition) != exit_.after_block + 1:
                raise ValueError(f"exits[{number - 1}].accuracy_by_partition to have {exit_.after_block + 1} entries")
            previous = exit_.after_block
        if previous != self.block_count:
            raise ValueError(f"the last exit to sit behind the last block, {self.block_count}")
        wanted = {("finish", partition, number) for number, partition in self.options()}
        wanted |= {("prefix", partition, 0) for partition in range(1, self.block_count + 1)}
        if self.confidence is not None:
            self._require_stops(self.confidence)
            wanted |= {("check", *pair) for pair in self.checks()} | {("onward", *pair) for pair in self.onwards()}
        present = [(graph.kind, graph.partition, graph.exit) for graph in self.graphs]
        if len(present) != len(set(present)) or set(present) != wanted:
            raise ValueError("graphs to hold each prefix, each (exit, partition) and what stops need exactly once")
        self._require_fitting_outputs()
        named = [graph.member for graph in self.graphs] + [weight.member for weight in self.weights]
        if len(named) != len(set(named)):
            raise ValueError("graphs and weights to have one member each")
        return self

    def _require_stops(self, confidence: Confidence) -> None:
        confidence.require_exits(self._after_block)
        if not self.classes:
            raise ValueError("no confidence where exits give no logits")

    def _require_fitting_outputs(self) -> None:
        logits = (TensorSpec(name=LOGITS, shape=(self.classes,), dtype="float32"),) if self.classes else None
        for number, exit_ in enumerate(self.exits):
            names = [spec.name for spec in exit_.outputs]
            if len(set(names)) != len(names):
                raise ValueError(f"exits[{number}].outputs to have different names")
            if logits and exit_.outputs and exit_.outputs != logits:
                raise ValueError(f"exits[{number}].outputs to be logits ({self.classes},), as classes says")
            if not logits and not exit_.outputs:
                raise ValueError(f"exits[{number}].outputs to name at least one tensor, as there are no classes")
        if self.class_names and len(self.class_names) != self.classes:
            raise ValueError(f"class_names to have {self.classes} entries, not {len(self.class_names)}")


def output_name(name: str, exit_: int) -> str:
    """What an exit's output is called in graphs that give more than one exit's outputs."""
    return f"{name}@{exit_}"


def check_segments(after_block: Sequence[int], rule: StopRule | None) -> list[tuple[int, int]]:
    """From each partition to the next exit behind it at which tasks may stop: (partition, exit)."""
    behind = _looked_at(after_block, rule)
    last = max((after for _, after in behind), default=0)
    return [(p, next(number for number, after in behind if after > p)) for p in range(last)]


def onward_segments(after_block: Sequence[int], rule: StopRule | None) -> list[tuple[int, int]]:
    """From the last exit at which tasks may stop to each partition behind it: (partition, exit).

    That is what a device runs that sends there.
    """
    found = []
    for partition in range(1, after_block[-1]):
        before = [pair for pair in _looked_at(after_block, rule) if pair[1] <= partition]
        if before and before[-1][1] < partition:
            found.append((partition, before[-1][0]))
    return found


def _looked_at(after_block: Sequence[int], rule: StopRule | None) -> list[tuple[int, int]]:
    """The exits (from 1) at which tasks may stop, each with its block."""
    thresholds = rule.thresholds if rule is not None else (None,) * len(after_block)
    numbered = enumerate(zip(after_block, thresholds, strict=True), start=1)
    return [(number, after) for number, (after, threshold) in numbered if threshold is not None]
