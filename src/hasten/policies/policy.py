"""A trained policy and its file: one ONNX graph that also says what the policy is for. No pickle, no onnx package.

The graph maps observations (B, F) to action values (B, J+1), by a network of one of two kinds: values of actions (a
trunk of ReLU layers, then a dueling head, ``q = v + a - mean(a)``: Wang et al., "Dueling network architectures", ICML
2016) or values of afterstates (:mod:`hasten.policies.afterstate_policy`). Its metadata hold a manifest
(:mod:`hasten.policies.manifest`). Any ONNX runtime evaluates it; hasten reads the weights out and needs numpy only. A
file is checked against its own manifest before anything of its size is allocated.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.core.files import validated
from hasten.core.output import write_bytes
from hasten.core.protobuf import Malformed
from hasten.features.observation import FEATURE_VERSION
from hasten.policies.afterstate_policy import AfterstatePolicy, tensor_shapes
from hasten.policies.manifest import PolicyManifest
from hasten.policies.policy_graph import (
    MANIFEST_KEY,
    Tensors,
    action_graph,
    afterstate_graph,
    read_model,
    write_model,
)

Float32 = NDArray[np.float32]
Layer = tuple[Float32, Float32]
"""Weights (in, out) and bias (out,)."""

MAX_POLICY_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Policy:
    """PolicyManifest and weights; ``trunk`` has a layer for each of ``manifest.hidden``."""

    manifest: PolicyManifest
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


AnyPolicy = Policy | AfterstatePolicy


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
    backlogs = manifest.values == "backlogs"
    graph = afterstate_graph(manifest.afterstates) if backlogs else action_graph(len(manifest.hidden))
    text = manifest.model_dump_json(by_alias=True)
    write_bytes(path, write_model(graph, tensors, manifest.features, manifest.width + 1, text, manifest.hasten))


_RENAMED = {"situation": "context", "situation_bias": "context_bias"}
"""What tensors were called in files of before."""


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
    raw = {_RENAMED.get(name, name): tensor for name, tensor in raw.items()}
    if raw.keys() != shapes.keys():
        raise InputError(path, "initializers", sorted(raw), f"{', '.join(shapes)}")
    tensors = {name: _array(path, name, raw[name], shape) for name, shape in shapes.items()}
    if manifest.values == "backlogs":
        return AfterstatePolicy(manifest, **tensors)
    layers = [(tensors[f"{name}.weight"], tensors[f"{name}.bias"]) for name in _layer_names(manifest)]
    return Policy(manifest, tuple(layers[:-2]), layers[-2], layers[-1])


def _manifest(path: Path, text: str | None) -> PolicyManifest:
    if text is None:
        raise InputError(path, "metadata", None, f"the key {MANIFEST_KEY!r}: this ONNX file is not a hasten policy")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(path, MANIFEST_KEY, text, f"valid JSON ({error})") from None
    if not isinstance(data, dict) or "schema" not in data:
        raise InputError(path, "schema", None, "hasten.policy/1")
    manifest = validated(PolicyManifest, data, path)
    if manifest.feature_version != FEATURE_VERSION:
        raise InputError(
            path, "feature_version", manifest.feature_version, f"{FEATURE_VERSION}, that of this version of hasten"
        )
    return manifest


def _layer_names(manifest: PolicyManifest) -> list[str]:
    return [*(f"trunk.{i}" for i in range(len(manifest.hidden))), "value", "advantage"]


def _shapes(manifest: PolicyManifest) -> dict[str, tuple[int, ...]]:
    """The tensors of a policy's file."""
    if manifest.values == "backlogs":
        return tensor_shapes(manifest.hidden, manifest.edges > 1)
    widths = [manifest.features, *manifest.hidden]
    into = [*widths[:-1], widths[-1], widths[-1]]
    out = [*manifest.hidden, 1, manifest.width + 1]
    shapes: dict[str, tuple[int, ...]] = {}
    for name, n_in, n_out in zip(_layer_names(manifest), into, out, strict=True):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (n_in, n_out), (n_out,)
    return shapes


def _named(policy: AnyPolicy) -> Tensors:
    if isinstance(policy, AfterstatePolicy):
        return {name: getattr(policy, name) for name in _shapes(policy.manifest)}
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
