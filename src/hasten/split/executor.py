"""Runs a package's segments with ONNX Runtime: fused graphs per (partition, exit), built when first used, then kept.

One graph per segment rather than a chain of blocks, because every hop between sessions costs some 20 microseconds and
hides the boundary from the optimizer; one graph per exit rather than one with several outputs, because the runtime
computes all outputs of a graph whichever are asked for.

Each session has its own copy of its weights, so all sessions of a large network may need more memory than there is.
Then those stay that are called most often lately, and the others are built for each call: :meth:`Executor.build_ms`
says what that costs, so that whoever predicts can reckon with it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.split.manifest import TensorSpec
from hasten.split.package import Package
from hasten.split.sessions import (
    ExecutionError,
    Key,
    Role,
    Session,
    handed_on,
    make_session,
    segment_specs,
    segments_of,
    session_bytes,
)

__all__ = ["DEFAULT_MEMORY_BYTES", "ExecutionError", "Executor", "Key", "Role", "segments_of", "zeros"]

Array = NDArray[np.generic]

DEFAULT_MEMORY_BYTES = 1 << 30
LATELY_CALLS = 256
"""A call counts half after so many others."""
CLEARLY = 2.0
"""A segment takes another's place when it is called so many times more often; with less the two would take turns."""


@dataclass(eq=False, slots=True)
class _Held:
    session: Session
    bytes: int


class Executor:
    """Runs any part of a package, one sample at a time; safe to call from several threads.

    Args:
        package: the opened package.
        threads: threads per call. More than one rarely pays for small networks and one sample.
        memory_bytes: limit for the estimated memory of the sessions (their weights and a constant; one session is
            always kept).
        options: the (exit, partition) pairs that will be asked for (default: all). Only their segments are built by
            :meth:`warm`, and no other takes their place.
        role: whose part of these options runs here; None: both.
        stops: whether tasks may stop early, where the package knows of that.
        make: makes a session (for tests).
        clock: seconds, to measure how long that takes.
    """

    def __init__(
        self,
        package: Package,
        threads: int = 1,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        options: Iterable[tuple[int, int]] | None = None,
        role: Role | None = None,
        *,
        stops: bool = True,
        make: Callable[[Package, Key, int], Session] = make_session,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if threads < 1:
            raise InputError("executor", "threads", threads, "at least 1")
        if memory_bytes < 0:
            raise InputError("executor", "memory_bytes", memory_bytes, "at least 0")
        self.package = package
        self.threads = threads
        self.memory_bytes = memory_bytes
        self.role = role
        self._make, self._clock = make, clock
        self._sessions: dict[Key, _Held] = {}
        self._building = threading.Lock()
        self._bytes: dict[Key, int] = {}
        self._build_ms: dict[Key, float] = {}
        self._calls = 0
        self._often: dict[Key, tuple[float, int]] = {}
        self._stops = stops
        asked = package.manifest.options() if options is None else options
        self._wanted = segments_of(package.manifest, asked, role, stops)

    def prefix(self, partition: int, inputs: Sequence[Array]) -> list[Array]:
        """Run blocks 1..``partition`` (at least 1) on the network's input; return the cut's tensors (1, *shape)."""
        return self._session(Key("prefix", partition, 0)).run(inputs)

    def finish(self, partition: int, exit_: int, tensors: Sequence[Array]) -> NDArray[np.float32]:
        """Run what is left from ``partition`` to the logits (classes,) of ``exit_`` (from 1): its first output.

        Partition 0 takes the input and runs the whole network up to this exit; at the exit's own block only the head
        is left.
        """
        logits: NDArray[np.float32] = self._session(Key("finish", partition, exit_)).run(tensors)[0][0]
        return logits

    def outputs(self, partition: int, exit_: int, tensors: Sequence[Array]) -> dict[str, Array]:
        """As :meth:`finish`, but all outputs of the exit by name, each of the shape that the manifest says."""
        found = self._session(Key("finish", partition, exit_)).run(tensors)
        specs = self.package.manifest.outputs(exit_)
        return {spec.name: array.reshape(array.shape[1:]) for spec, array in zip(specs, found, strict=True)}

    def outputs_of(self, partition: int, exit_: int, samples: Sequence[Sequence[Array]]) -> list[dict[str, Array]]:
        """As :meth:`outputs` of several samples at once; for segments that run in batches (``split.batches``)."""
        tensors = [np.concatenate(parts) for parts in zip(*samples, strict=True)]
        found = self._session(Key("batch", partition, exit_)).run(tensors)
        specs = self.package.manifest.outputs(exit_)
        return [{spec.name: array[i] for spec, array in zip(specs, found, strict=True)} for i in range(len(samples))]

    def holds(self, key: Key) -> bool:
        """Whether a segment is ready."""
        return key in self._sessions

    def has_room(self, key: Key) -> bool:
        """Whether a segment is ready, or could be without another's leaving."""
        return self.holds(key) or self._held_bytes() + self.segment_bytes(key) <= self.memory_bytes

    def check(self, partition: int, exit_: int, tensors: Sequence[Array]) -> tuple[dict[str, Array], list[Array]]:
        """Run from ``partition`` to ``exit_``, the next where a task may stop: what it gives, and the tensors there."""
        manifest = self.package.manifest
        found = self._session(Key("check", partition, exit_)).run(tensors)
        outputs = manifest.outputs(exit_)
        given = {spec.name: array.reshape(array.shape[1:]) for spec, array in zip(outputs, found, strict=False)}
        after = manifest.exits[exit_ - 1].after_block
        return given, handed_on(manifest.cuts[partition], manifest.cuts[after], tensors, found[len(outputs) :])

    def onward(self, partition: int, tensors: Sequence[Array]) -> list[Array]:
        """Run from the tensors of the last exit before ``partition`` where a task may stop to those there."""
        manifest = self.package.manifest
        exit_ = dict(manifest.onwards())[partition]
        begin = manifest.cuts[manifest.exits[exit_ - 1].after_block]
        found = self._session(Key("onward", partition, exit_)).run(tensors)
        return handed_on(begin, manifest.cuts[partition], tensors, found)

    def warm(self, options: Iterable[tuple[int, int]] | None = None) -> None:
        """Build the segments of these (exit, partition) pairs (default: of those wanted) and run each once on zeros.

        What does not fit into the memory beside those before it is left out; :meth:`shortfall` tells.
        """
        if options is not None:
            self._wanted = segments_of(self.package.manifest, options, self.role, self._stops)
        for key in self._wanted:
            if not self._sessions or self.has_room(key):
                self._run_once(key)

    def hold(self, keys: Sequence[Key]) -> None:
        """Have just these segments ready, whatever else must go, and each run once; for measuring one after another."""
        with self._building:
            for key in [key for key in self._sessions if key not in keys]:
                if (
                    self._held_bytes() + sum(self.segment_bytes(k) for k in keys if k not in self._sessions)
                    <= self.memory_bytes
                ):
                    break
                del self._sessions[key]
            for key in keys:
                if key not in self._sessions:
                    self._sessions[key] = self._built(key)
        for key in keys:
            self._run_once(key)

    def limit(self, memory_bytes: int) -> None:
        """Keep to another limit from now on; of what is held those segments stay that are called most often lately."""
        with self._building:
            self.memory_bytes = memory_bytes
            for key in sorted(self._sessions, key=self._lately)[:-1]:
                if self._held_bytes() <= memory_bytes:
                    break
                del self._sessions[key]

    def groups(self, keys: Iterable[Key]) -> list[list[Key]]:
        """``keys`` in order, in as few groups as fit into the memory one after another."""
        found: list[list[Key]] = []
        left = 0
        for key in keys:
            left -= self.segment_bytes(key)
            if not found or left < 0:
                found.append([])
                left = self.memory_bytes - self.segment_bytes(key)
            found[-1].append(key)
        return found

    def segment_bytes(self, key: Key) -> int:
        """Estimated memory of a segment's session."""
        if key not in self._bytes:
            self._require_known(key)
            self._bytes[key] = session_bytes(self.package, key)
        return self._bytes[key]

    def build_ms(self, kind: str, partition: int, exit_: int = 0) -> float:
        """How much longer a call of this segment takes because its session has to be built; 0 when it is held.

        As measured when it was built last, else by its size from those that were.
        """
        key = Key(kind, partition, exit_)
        return 0.0 if key in self._sessions else self._expected_ms(key)

    def shortfall(self) -> str | None:
        """In words, when the memory does not hold all wanted segments; None when it does."""
        missing = [key for key in self._wanted if key not in self._sessions]
        needed = sum(self.segment_bytes(key) for key in self._wanted)
        if not missing or (needed <= self.memory_bytes):
            return None
        longest = max(self._expected_ms(key) for key in missing)
        held = len(self._wanted) - len(missing)
        return (
            f"memory: {self.memory_bytes >> 20} MB hold {held} of {len(self._wanted)} segments, all need "
            f"{needed >> 20} MB; one that is not held is built when it is called, which takes up to {longest:.0f} ms"
        )

    def _session(self, key: Key) -> Session:
        self._calls += 1
        often, last = self._often.get(key, (0.0, self._calls))
        self._often[key] = (1.0 + often * 0.5 ** ((self._calls - last) / LATELY_CALLS), self._calls)
        found = self._sessions.get(key)
        if found is None:
            with self._building:
                found = self._sessions.get(key) or self._built(key)
                if self._make_room(key):
                    self._sessions[key] = found
        return found.session

    def _built(self, key: Key) -> _Held:
        size, start = self.segment_bytes(key), self._clock()
        session = self._make(self.package, key, self.threads)
        self._build_ms[key] = 1e3 * (self._clock() - start)
        return _Held(session, size)

    def _make_room(self, new: Key) -> bool:
        """Let go of segments that are called clearly less often, the rarest first, until ``new`` fits; else of none."""
        room = self.memory_bytes - self._held_bytes() - self.segment_bytes(new)
        leaving: list[Key] = []
        for key in sorted(self._sessions, key=self._lately):
            if room >= 0:
                break
            protected = key in self._wanted and new not in self._wanted
            if not protected and CLEARLY * self._lately(key) < self._lately(new):
                leaving.append(key)
                room += self.segment_bytes(key)
        if room < 0 and len(leaving) < len(self._sessions):
            return False
        for key in leaving:
            del self._sessions[key]
        return True

    def _lately(self, key: Key) -> float:
        """How often a segment was called lately."""
        often, last = self._often.get(key, (0.0, self._calls))
        return often * float(0.5 ** ((self._calls - last) / LATELY_CALLS))

    def _held_bytes(self) -> int:
        return sum(held.bytes for held in self._sessions.values())

    def _expected_ms(self, key: Key) -> float:
        if key in self._build_ms:
            return self._build_ms[key]
        known = sum(self.segment_bytes(other) for other in self._build_ms)
        return self.segment_bytes(key) * sum(self._build_ms.values()) / known if known else 0.0

    def _run_once(self, key: Key) -> None:
        inputs, _ = segment_specs(self.package.manifest, key)
        self._session(key).run([zeros(spec) for spec in inputs])
        self._often.pop(key, None)  # this call tells nothing of those to come

    def _require_known(self, key: Key) -> None:
        manifest, partition = self.package.manifest, key.partition
        if key.kind == "prefix" and not 1 <= partition <= manifest.block_count:
            raise InputError("executor", "partition", partition, f"1..{manifest.block_count} for a prefix")
        if key.kind in ("finish", "batch"):
            if not 1 <= key.exit <= len(manifest.exits):
                raise InputError("executor", "exit", key.exit, f"1..{len(manifest.exits)}")
            last = manifest.exits[key.exit - 1].after_block
            if not 0 <= partition <= last:
                raise InputError("executor", "partition", partition, f"0..{last} for exit {key.exit}")
        stops = {"check": manifest.checks(), "onward": manifest.onwards()}.get(key.kind)
        if stops is not None and (partition, key.exit) not in stops:
            raise InputError("executor", f"{key.kind} partition, exit", (partition, key.exit), "one of the package's")


def zeros(spec: TensorSpec) -> Array:
    """A batch of one of zeros that fits ``spec``."""
    return np.zeros((1, *spec.shape), spec.dtype)
