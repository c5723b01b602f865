"""Runs a package's segments with ONNX Runtime: fused graphs per (partition, exit), built when first used, then kept.

One graph per segment rather than a chain of blocks, because every hop between sessions costs some 20 microseconds and
hides the boundary from the optimizer; one graph per exit rather than one with several outputs, because the runtime
computes all outputs of a graph whichever are asked for. The weights are loaded once and lent to every session.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from hasten.core.errors import HastenError, InputError
from hasten.split.manifest import TensorSpec
from hasten.split.onnxscan import external_initializers
from hasten.split.package import Package

Array = NDArray[np.generic]

LOGITS = "logits"
"""The name of the one output of every graph that finishes an exit."""

_ERRORS_ONLY = 3
_SESSION_BYTES, _COPIES_OF_WEIGHTS = 1 << 20, 2
"""Estimate of a session's memory: lent weights are copied when the runtime packs them for its kernels."""

_TYPES = {"float32": "tensor(float)", "uint8": "tensor(uint8)", "int32": "tensor(int32)", "int64": "tensor(int64)"}


class ExecutionError(HastenError):
    """A segment could not be run on the tensors it was given."""


class Executor:
    """Runs any part of a package, one sample at a time; safe to call from several threads.

    Args:
        package: the opened package.
        threads: threads per call. More than one rarely pays for small networks and one sample.
        memory_bytes: when the sessions are estimated to need more, those unused for longest are let go, and built
            again (some 10 to 50 ms) when they are needed.
    """

    def __init__(self, package: Package, threads: int = 1, memory_bytes: int = 1 << 30) -> None:
        if threads < 1:
            raise InputError("executor", "threads", threads, "at least 1")
        self.package = package
        self.threads = threads
        self.memory_bytes = memory_bytes
        self._weights = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in package.weights.items()}
        self._sessions: dict[tuple[str, int, int], _Segment] = {}
        self._building = threading.Lock()
        self._calls = itertools.count()

    def prefix(self, partition: int, inputs: Sequence[Array]) -> list[Array]:
        """Run blocks 1..``partition`` (at least 1) on the network's input; return the cut's tensors (1, *shape)."""
        return self._segment("prefix", partition, 0).run(inputs)

    def finish(self, partition: int, exit_: int, tensors: Sequence[Array]) -> NDArray[np.float32]:
        """Run what is left from ``partition`` to the logits (classes,) of ``exit_`` (from 1).

        Partition 0 takes the input and runs the whole network up to this exit; at the exit's own block only the head
        is left.
        """
        logits: NDArray[np.float32] = self._segment("finish", partition, exit_).run(tensors)[0][0]
        return logits

    def warm(self, options: Iterable[tuple[int, int]] | None = None) -> None:
        """Build the sessions of these (exit, partition) pairs (default: all) and run each once on zeros."""
        cuts = self.package.manifest.cuts
        for exit_, partition in self.package.manifest.options() if options is None else options:
            if partition:
                self.prefix(partition, [zeros(cuts[0].tensors[0])])
            self.finish(partition, exit_, [zeros(spec) for spec in cuts[partition].tensors])

    def _segment(self, kind: str, partition: int, exit_: int) -> _Segment:
        key = (kind, partition, exit_)
        found = self._sessions.get(key)
        if found is None:
            with self._building:
                found = self._sessions.get(key) or self._build(kind, partition, exit_)
                self._make_room(found.memory_bytes)
                self._sessions[key] = found
        found.last_call = next(self._calls)
        return found

    def _make_room(self, needed_bytes: int) -> None:
        """Let go of the sessions unused for longest until ``needed_bytes`` fit, or none is left."""
        sizes = {key: segment.memory_bytes for key, segment in self._sessions.items()}
        for key in sorted(sizes, key=lambda key: self._sessions[key].last_call):
            if sum(sizes.values()) + needed_bytes <= self.memory_bytes:
                return
            del self._sessions[key], sizes[key]

    def _build(self, kind: str, partition: int, exit_: int) -> _Segment:
        manifest = self.package.manifest
        self._require_known(kind, partition, exit_)
        where = f"{self.package.path}[{kind} partition {partition}" + (f" exit {exit_}]" if exit_ else "]")
        inputs = manifest.cuts[0 if kind == "prefix" else partition].tensors
        logits = TensorSpec(name=LOGITS, shape=(manifest.classes,), dtype="float32")
        outputs = manifest.cuts[partition].tensors if kind == "prefix" else (logits,)
        model = self.package.graph(kind, partition, exit_)
        options = session_options(self.threads)
        used = external_initializers(model)
        try:
            options.add_external_initializers(used, [self._weights[name] for name in used])
            session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
            raise InputError(where, "graph", _first_line(error), "a graph that ONNX Runtime loads") from None
        _require_specs(session.get_inputs(), inputs, f"{where} inputs")
        _require_specs(session.get_outputs(), outputs, f"{where} outputs")
        weight_bytes = sum(self.package.weights[name].nbytes for name in used)
        memory_bytes = _SESSION_BYTES + _COPIES_OF_WEIGHTS * weight_bytes
        return _Segment(session, [spec.name for spec in inputs], [spec.name for spec in outputs], where, memory_bytes)

    def _require_known(self, kind: str, partition: int, exit_: int) -> None:
        manifest = self.package.manifest
        if kind == "prefix" and not 1 <= partition <= manifest.block_count:
            raise InputError("executor", "partition", partition, f"1..{manifest.block_count} for a prefix")
        if kind == "finish":
            if not 1 <= exit_ <= len(manifest.exits):
                raise InputError("executor", "exit", exit_, f"1..{len(manifest.exits)}")
            last = manifest.exits[exit_ - 1].after_block
            if not 0 <= partition <= last:
                raise InputError("executor", "partition", partition, f"0..{last} for exit {exit_}")


class _Segment:
    """One session with the names it is fed and fetched by."""

    def __init__(
        self, session: ort.InferenceSession, inputs: list[str], outputs: list[str], where: str, memory_bytes: int
    ) -> None:
        self.memory_bytes = memory_bytes
        self.last_call = 0
        self._session = session
        self._inputs = inputs
        self._outputs = outputs
        self._where = where

    def run(self, tensors: Sequence[Array]) -> list[Array]:
        try:
            outputs: list[Array] = self._session.run(self._outputs, dict(zip(self._inputs, tensors, strict=True)))
        except Exception as error:  # as above
            raise ExecutionError(f"{self._where}: {_first_line(error)}") from None
        return outputs


def session_options(threads: int) -> ort.SessionOptions:
    """The options that every session of hasten uses, so that what is measured is what runs."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Between tasks a device idles; threads that spin there would heat it and steal the time of its other processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def zeros(spec: TensorSpec) -> Array:
    """A batch of one of zeros that fits ``spec``."""
    return np.zeros((1, *spec.shape), spec.dtype)


def _require_specs(found: Sequence[ort.NodeArg], wanted: Sequence[TensorSpec], where: str) -> None:
    shown = [(arg.name, arg.type, list(arg.shape)) for arg in found]
    expected = [(spec.name, _TYPES[spec.dtype], [1, *spec.shape]) for spec in wanted]
    if sorted(shown) != sorted(expected):
        raise InputError(where, "tensors", shown, f"{expected} as in the manifest")


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
