"""Makes the ONNX Runtime session of one segment of a package.

The weights are lent from the package's file while the session is made, and the runtime takes what it keeps: one copy,
packed for its kernels where that is faster. Nothing else holds them.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from hasten.core.errors import HastenError, InputError
from hasten.split.manifest import Cut, PackageManifest, TensorSpec, output_name
from hasten.split.onnxscan import external_initializers, free_batch, relocated
from hasten.split.package import Package

Array = NDArray[np.generic]
Role = Literal["device", "edge"]

SESSION_BYTES = 1 << 20
"""Estimate of what a session needs besides its weights."""

BATCH_AXIS = "batch"
_ERRORS_ONLY = 3
_TYPES = {"float32": "tensor(float)", "uint8": "tensor(uint8)", "int32": "tensor(int32)", "int64": "tensor(int64)"}
_TYPES |= {"bool": "tensor(bool)"}


class Key(NamedTuple):
    """Which segment, as :class:`hasten.split.manifest.Graph` says; ``exit`` is 0 for a prefix.

    ``batch`` is a finish for any number of samples at once.
    """

    kind: str
    partition: int
    exit: int


class ExecutionError(HastenError):
    """A segment could not be run on the tensors it was given."""


class Session(Protocol):
    """A segment that can be run."""

    def run(self, tensors: Sequence[Array]) -> list[Array]:
        """Outputs (N, *shape) for inputs (N, *shape), both in the manifest's order; N is 1 but for a batch."""


class OrtSession:
    """One session with the names it is fed and fetched by."""

    def __init__(self, session: ort.InferenceSession, inputs: list[str], outputs: list[str], where: str) -> None:
        self._session = session
        self._inputs = inputs
        self._outputs = outputs
        self._where = where

    def run(self, tensors: Sequence[Array]) -> list[Array]:
        """Run the segment; what ONNX Runtime refuses is an :class:`ExecutionError`."""
        try:
            outputs: list[Array] = self._session.run(self._outputs, dict(zip(self._inputs, tensors, strict=True)))
        except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
            raise ExecutionError(f"{self._where}: {_first_line(error)}") from None
        return outputs


def make_session(package: Package, key: Key, threads: int) -> OrtSession:
    """Make the session of one segment, whose inputs and outputs must be those of the manifest."""
    where = f"{package.path}[{key.kind} partition {key.partition}" + (f" exit {key.exit}]" if key.exit else "]")
    inputs, outputs = segment_specs(package.manifest, key)
    model = package.graph(*_graph_of(key))
    batch: int | str = 1
    if key.kind == "batch":
        batch, model = BATCH_AXIS, free_batch(model, BATCH_AXIS)
    names = external_initializers(model)
    files = {name: f"w{number}" for number, name in enumerate(names)}
    weights = package.weights
    lent = [weights[name].reshape(-1).view(np.uint8) for name in files]
    options = session_options(threads)
    try:
        if files:
            options.add_external_initializers_from_files_in_memory(
                list(files.values()), lent, [weight.nbytes for weight in lent]
            )
        session = ort.InferenceSession(relocated(model, files), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise InputError(where, "graph", _first_line(error), "a graph that ONNX Runtime loads") from None
    _require_specs(session.get_inputs(), inputs, f"{where} inputs", batch)
    _require_specs(session.get_outputs(), outputs, f"{where} outputs", batch)
    del options, lent
    package.let_go()
    _return_freed_memory()
    return OrtSession(session, [spec.name for spec in inputs], [spec.name for spec in outputs], where)


def segment_specs(manifest: PackageManifest, key: Key) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """The inputs and the outputs of a segment."""
    kind, partition, exit_ = key
    cuts = manifest.cuts
    if kind == "prefix":
        return cuts[0].tensors, cuts[partition].tensors
    if kind in ("finish", "batch"):
        return cuts[partition].tensors, manifest.outputs(exit_)
    after = manifest.exits[exit_ - 1].after_block
    if kind == "onward":
        return cuts[after].tensors, new_tensors(cuts[after], cuts[partition])
    given = tuple(spec.model_copy(update={"name": output_name(spec.name, exit_)}) for spec in manifest.outputs(exit_))
    return cuts[partition].tensors, given + new_tensors(cuts[partition], cuts[after])


def new_tensors(begin: Cut, end: Cut) -> tuple[TensorSpec, ...]:
    """The tensors that cross at ``end`` and not at ``begin``: what crosses at both is handed on as it is."""
    known = {spec.name for spec in begin.tensors}
    return tuple(spec for spec in end.tensors if spec.name not in known)


def segments_of(
    manifest: PackageManifest, options: Iterable[tuple[int, int]], role: Role | None = None, stops: bool = True
) -> list[Key]:
    """The segments that (exit, partition) pairs need where ``role`` runs, those needed most first.

    A device runs a whole exit, or a prefix; what finishes an offloaded task there when the edge fails comes last. An
    edge finishes what is offloaded. None stands for both parts of every pair. Where tasks may stop early
    (``stops``), what that needs comes after the pairs, and before what a device needs only when the edge fails.
    """
    first: list[Key] = []
    rescue: list[Key] = []
    for exit_, partition in options:
        known = 1 <= exit_ <= len(manifest.exits)
        local = known and partition == manifest.exits[exit_ - 1].after_block
        if role == "device" and local:
            first.append(Key("finish", 0, exit_))
            continue
        if role == "edge" and local:
            continue
        if partition and role != "edge":
            first.append(Key("prefix", partition, 0))
        (rescue if role == "device" else first).append(Key("finish", partition, exit_))
    if stops:
        first += [Key("check", *pair) for pair in manifest.checks()]
    if stops and role != "edge":
        first += [Key("onward", *pair) for pair in manifest.onwards()]
    return list(dict.fromkeys(first + rescue))


def handed_on(begin: Cut, end: Cut, tensors: Sequence[Array], new: Sequence[Array]) -> list[Array]:
    """The tensors at ``end`` from those at ``begin`` and the new ones, in the order of the manifest."""
    known = {spec.name: tensor for spec, tensor in zip(begin.tensors, tensors, strict=True)}
    known |= {spec.name: tensor for spec, tensor in zip(new_tensors(begin, end), new, strict=True)}
    return [known[spec.name] for spec in end.tensors]


def session_bytes(package: Package, key: Key) -> int:
    """Estimate of the memory of a segment's session: its weights, once, and a constant."""
    weights = package.weights
    return SESSION_BYTES + sum(weights[name].nbytes for name in external_initializers(package.graph(*_graph_of(key))))


def _graph_of(key: Key) -> Key:
    """The package's graph that a segment is made of."""
    return key._replace(kind="finish") if key.kind == "batch" else key


def session_options(threads: int) -> ort.SessionOptions:
    """The options that every session of hasten uses, so that what is measured is what runs."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Between tasks a device idles; threads that spin there would heat it and steal the time of its other processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _return_freed_memory() -> None:
    """Give back what making sessions has freed, which the C library would keep (glibc: up to all the weights)."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, others need it not
        if trim is not None:
            trim(0)


def _require_specs(found: Sequence[ort.NodeArg], wanted: Sequence[TensorSpec], where: str, batch: int | str) -> None:
    shown = [(arg.name, arg.type, list(arg.shape)) for arg in found]
    expected = [(spec.name, _TYPES[spec.dtype], [batch, *spec.shape]) for spec in wanted]
    if sorted(shown) != sorted(expected):
        raise InputError(where, "tensors", shown, f"{expected} as in the manifest")


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
