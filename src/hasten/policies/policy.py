"""A trained policy and its file: one ONNX graph that also says what the policy is for. No pickle, no onnx package.

The graph maps observations (B, F) to action values (B, J+1), by a network of one of two kinds: values of actions (a
trunk of ReLU layers, then a dueling head, ``q = v + a - mean(a)``: Wang et al., "Dueling network architectures", ICML
2016) or values of the backlogs left (:mod:`hasten.policies.afterstate_policy`). Its metadata hold a manifest,
``hasten.policy/1``. Any ONNX runtime evaluates it; hasten reads the weights out and needs numpy only. A file is
checked against its own manifest before anything of its size is allocated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from hasten.core.decision import Context, FloatArray
from hasten.core.errors import InputError
from hasten.core.files import Record, validated
from hasten.core.gain import GainTerms
from hasten.core.options import OptionTable
from hasten.core.output import write_bytes
from hasten.core.protobuf import Malformed
from hasten.features.afterstates import observation_size
from hasten.features.observation import FEATURE_VERSION, STATE_FEATURES
from hasten.policies.afterstate_policy import BacklogPolicy, tensor_shapes
from hasten.policies.policy_graph import (
    MANIFEST_KEY,
    Tensors,
    action_graph,
    backlog_graph,
    read_model,
    write_model,
)

Float32 = NDArray[np.float32]
Layer = tuple[Float32, Float32]
"""Weights (in, out) and bias (out,)."""
Range = tuple[float, float]
"""Lowest and highest."""

MAX_POLICY_BYTES = 16 * 1024 * 1024
MAX_LAYER_WIDTH = 4096
MAX_OPTIONS = 4096
MAX_LEADS = 64


class Envelope(Record):
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
    def _ordered(self) -> Envelope:
        for name, (low, high) in self:
            if not 0 <= low <= high:
                raise ValueError(f"{name} as two numbers, 0 <= lowest <= highest, not {low}, {high}")
        return self

    def joined(self, other: Envelope) -> Envelope:
        """The smallest envelope that covers both."""
        mine, theirs = self.model_dump(), other.model_dump()
        return Envelope(**{k: (min(mine[k][0], theirs[k][0]), max(mine[k][1], theirs[k][1])) for k in mine})


class Leads(Record):
    """By how much another option's value has to exceed Greedy's, by the number of streams and a stream's deadline."""

    streams: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1, max_length=MAX_LEADS)]
    """(K,), ascending."""
    deadline_ms: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1, max_length=MAX_LEADS)]
    """(D,), ascending."""
    lead: Annotated[tuple[tuple[Annotated[float, Field(ge=0)], ...], ...], Field(max_length=MAX_LEADS)]
    """(K, D)"""

    @model_validator(mode="after")
    def _a_table(self) -> Leads:
        for name, places in (("streams", self.streams), ("deadline_ms", self.deadline_ms)):
            if list(places) != sorted(set(places)):
                raise ValueError(f"{name} in ascending order, not {places}")
        shape = len(self.streams), len(self.deadline_ms)
        if len(self.lead) != shape[0] or any(len(row) != shape[1] for row in self.lead):
            raise ValueError(f"lead of shape {shape}, numbers of streams by deadlines")
        return self

    def at(self, streams: int, deadline_ms: FloatArray) -> FloatArray:
        """(M,): leads for so many streams with these deadlines (M,).

        Linear between the nearest entries, in the number of streams and in the deadline's logarithm; beyond the
        first and the last entry it is theirs.
        """
        known, wanted = np.log(self.deadline_ms), np.log(deadline_ms)
        rows = [np.interp(wanted, known, row) for row in self.lead]
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


class Manifest(Record):
    """What a policy file says of itself."""

    schema_id: Literal["hasten.policy/1"] = Field(alias="schema", default="hasten.policy/1")
    hasten: str
    """The version that wrote it."""
    feature_version: int = FEATURE_VERSION
    values: Literal["actions", "backlogs"] = "actions"
    """What its network values."""
    hidden: tuple[Annotated[int, Field(ge=1, le=MAX_LAYER_WIDTH)], ...]
    """Widths of the trunk's layers; for backlogs of the situation's and of the shared one."""
    leads: Leads | None = None
    """For backlogs; without, any option of larger value is taken."""
    networks: Annotated[tuple[NetworkOptions, ...], Field(min_length=1, max_length=256)]
    order: Literal["grant", "ready"] | None = None
    """The order of service that it was trained for and sees backlogs for; None for that of the run at hand."""
    gain_terms: GainTerms
    """The gain it maximises: see :func:`hasten.core.gain.task_gain`."""
    envelope: Envelope
    training: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    """How it was trained, in words and numbers."""

    @model_validator(mode="after")
    def _two_layers(self) -> Manifest:
        if self.values == "backlogs" and len(self.hidden) != 2:
            raise ValueError(f"hidden as two widths for values of backlogs, not {self.hidden}")
        return self

    def lead(self, context: Context) -> FloatArray:
        """(M,): by how much another option's value has to exceed Greedy's to be taken, for each stream."""
        if self.leads is None:
            return np.zeros(len(context.deadline_ms))
        return self.leads.at(context.streams, context.deadline_ms)

    def seen_as(self, context: Context) -> Context:
        """The context that its observations are made for."""
        return context if self.order is None else replace(context, ready_order=self.order == "ready")

    @property
    def width(self) -> int:
        """Number of options J: the most that any network has."""
        return max(len(network.options) for network in self.networks)

    @property
    def features(self) -> int:
        """Length of an observation."""
        if self.values == "backlogs":
            return observation_size(self.width)
        return STATE_FEATURES + 2 * self.width


@dataclass(frozen=True)
class Policy:
    """Manifest and weights; ``trunk`` has a layer for each of ``manifest.hidden``."""

    manifest: Manifest
    trunk: tuple[Layer, ...]
    value: Layer
    advantage: Layer

    def q(self, observation: Float32) -> Float32:
        """Action values (B, J+1) of observations (B, F)."""
        hidden = observation
        for weight, bias in self.trunk:
            hidden = np.maximum(hidden @ weight + bias, np.float32(0.0))
        advantage = hidden @ self.advantage[0] + self.advantage[1]
        value = hidden @ self.value[0] + self.value[1]
        return np.asarray(value + advantage - advantage.mean(axis=1, keepdims=True), dtype=np.float32)


AnyPolicy = Policy | BacklogPolicy


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
        found[NetworkOptions(profile=profile, fingerprint=fingerprint(table, m), options=pairs)] = None
    return tuple(found)


def finite_tensors(policy: AnyPolicy, where: str | Path) -> Tensors:
    """A policy's weights by name, each checked against the manifest.

    Raises:
        InputError: names a tensor that is NaN or infinite somewhere, or of another shape.
    """
    tensors = _named(policy)
    for name, shape in _shapes(policy.manifest).items():
        if tensors[name].shape != shape:
            raise InputError(where, name, tensors[name].shape, f"weights of shape {shape}")
        if not np.isfinite(tensors[name]).all():
            raise InputError(where, name, "NaN or infinity", "finite weights")
    return tensors


def save_policy(path: str | Path, policy: AnyPolicy) -> None:
    """Write a policy; whoever reads ``path`` meanwhile finds the old file or the new one.

    Raises:
        InputError: it cannot be written, or its weights are not finite.
    """
    tensors, manifest = finite_tensors(policy, path), policy.manifest
    graph = backlog_graph(manifest.width) if manifest.values == "backlogs" else action_graph(len(manifest.hidden))
    text = manifest.model_dump_json(by_alias=True)
    write_bytes(path, write_model(graph, tensors, manifest.features, manifest.width + 1, text, manifest.hasten))


def load_policy(path: str | Path) -> AnyPolicy:
    """Read and check a policy file.

    Raises:
        InputError: not a policy, one of another version, or one whose weights are not what its manifest says.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_POLICY_BYTES:
            raise InputError(path, "size", size, f"at most {MAX_POLICY_BYTES} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(path, "file", str(path), f"a readable policy file ({error.strerror})") from None
    try:
        metadata, raw = read_model(data)
    except Malformed as error:
        raise InputError(path, "file", path.name, f"an ONNX file ({error})") from None
    manifest = _manifest(path, metadata.get(MANIFEST_KEY))
    shapes = _shapes(manifest)
    if raw.keys() != shapes.keys():
        raise InputError(path, "initializers", sorted(raw), f"{', '.join(shapes)}")
    tensors = {name: _array(path, name, raw[name], shape) for name, shape in shapes.items()}
    if manifest.values == "backlogs":
        return BacklogPolicy(manifest, **tensors)
    layers = [(tensors[f"{name}.weight"], tensors[f"{name}.bias"]) for name in _layer_names(manifest)]
    return Policy(manifest, tuple(layers[:-2]), layers[-2], layers[-1])


def _manifest(path: Path, text: str | None) -> Manifest:
    if text is None:
        raise InputError(path, "metadata", None, f"the key {MANIFEST_KEY!r}: this ONNX file is not a hasten policy")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(path, MANIFEST_KEY, text, f"valid JSON ({error})") from None
    if not isinstance(data, dict) or "schema" not in data:
        raise InputError(path, "schema", None, "hasten.policy/1")
    manifest = validated(Manifest, data, path)
    if manifest.feature_version != FEATURE_VERSION:
        raise InputError(
            path, "feature_version", manifest.feature_version, f"{FEATURE_VERSION}, that of this version of hasten"
        )
    return manifest


def _layer_names(manifest: Manifest) -> list[str]:
    return [*(f"trunk.{i}" for i in range(len(manifest.hidden))), "value", "advantage"]


def _shapes(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """The tensors of a policy's file."""
    if manifest.values == "backlogs":
        return tensor_shapes(manifest.hidden)
    widths = [manifest.features, *manifest.hidden]
    into = [*widths[:-1], widths[-1], widths[-1]]
    out = [*manifest.hidden, 1, manifest.width + 1]
    shapes: dict[str, tuple[int, ...]] = {}
    for name, n_in, n_out in zip(_layer_names(manifest), into, out, strict=True):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (n_in, n_out), (n_out,)
    return shapes


def _named(policy: AnyPolicy) -> Tensors:
    if isinstance(policy, BacklogPolicy):
        return {name: getattr(policy, name) for name in tensor_shapes(policy.manifest.hidden)}
    layers = zip(_layer_names(policy.manifest), (*policy.trunk, policy.value, policy.advantage), strict=True)
    tensors: Tensors = {}
    for name, (weight, bias) in layers:
        tensors[f"{name}.weight"] = np.ascontiguousarray(weight, dtype=np.float32)
        tensors[f"{name}.bias"] = np.ascontiguousarray(bias, dtype=np.float32)
    return tensors


def _array(path: Path, name: str, found: tuple[tuple[int, ...], memoryview], shape: tuple[int, ...]) -> Float32:
    dims, raw = found
    if dims != shape:
        raise InputError(path, name, dims, f"shape {shape}, as the manifest says")
    if len(raw) != 4 * int(np.prod(shape)):
        raise InputError(path, name, f"{len(raw)} bytes", f"{4 * int(np.prod(shape))} bytes of float32")
    array = np.frombuffer(raw, dtype="<f4").astype(np.float32).reshape(shape)
    if not np.isfinite(array).all():
        raise InputError(path, name, "NaN or infinity", "finite weights")
    return array
