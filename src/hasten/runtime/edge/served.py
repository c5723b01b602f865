"""What an edge node serves: packages with what each of their segments costs here, tasks for them, what comes out.

These types know nothing of frames or sockets: a task brings a call that gives its tensors, so any codec, or none, can
stand before it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import HastenError, InputError
from hasten.core.options import OptionTable, StreamCosts, option_table
from hasten.core.profile import Profile
from hasten.runtime.outputs import ExitAnswer, NotFiniteError, OutputReader, Outputs, sure_answer
from hasten.runtime.pace import dilated, now_ms
from hasten.runtime.same_network import require_fit
from hasten.runtime.wire.frames import Code
from hasten.runtime.wire.outputs import OutputPayloads
from hasten.runtime.wire.tasks import Status, types_bytes
from hasten.split.batches import batchable
from hasten.split.codecs import CodecError, make_codec
from hasten.split.executor import Executor, Key
from hasten.split.package import Package

Array = NDArray[np.generic]


class ReplicaError(HastenError):
    """No replica has answered; what one raises is raised as it is."""


class EdgeRunner(Protocol):
    """What executes segments; :class:`hasten.split.executor.Executor` does."""

    def outputs(self, partition: int, exit_: int, tensors: Sequence[Array]) -> Mapping[str, Array]:
        """Run from ``partition`` to what ``exit_`` gives, by name and without the batch axis."""

    def outputs_of(
        self, partition: int, exit_: int, samples: Sequence[Sequence[Array]]
    ) -> Sequence[Mapping[str, Array]]:
        """The same of several samples at once; asked for only where the profile has times of batches."""

    def check(
        self, partition: int, exit_: int, tensors: Sequence[Array]
    ) -> tuple[Mapping[str, Array], Sequence[Array]]:
        """Run from ``partition`` to an exit where a task may stop: what it gives, and the tensors behind its block."""


class Served:
    """A package in service: its segments and what each costs here.

    Args:
        package: what is served.
        runner: executes its segments; by default ONNX Runtime does, within its usual memory.
        slowdown: this edge plays a machine so many times slower.
        profile: replaces the package's own.
    """

    def __init__(
        self, package: Package, runner: EdgeRunner | None = None, slowdown: float = 1.0, profile: Profile | None = None
    ) -> None:
        if profile is not None:
            require_fit(profile, package)
        self.profile = (profile or package.profile).model_copy(update={"confidence": package.manifest.confidence})
        if not slowdown >= 1.0:
            raise InputError("edge", "slowdown", slowdown, "at least 1 (a machine cannot be made faster)")
        self.package = package
        self.digest = bytes.fromhex(package.digest)
        self.runner = runner if runner is not None else Executor(package, role="edge")
        self.slowdown = slowdown
        self.reader, self.payloads = OutputReader(package.manifest), OutputPayloads(package.manifest)
        self.codecs = {cut.codec: make_codec(cut.codec) for cut in package.manifest.cuts}
        self.types = [types_bytes(cut.tensors) for cut in package.manifest.cuts]
        plain = self.profile.stopping(None)
        self._edge_ms, self._stopping_ms = (
            _edge_times(option_table([StreamCosts(times, edge_slowdown=slowdown)])) for times in (plain, self.profile)
        )
        self._batches = {(it.partition, it.exit): it for it in self.profile.edge_batches or ()}

    def warm(self) -> None:
        """Run every segment once, and compare batches with single tasks: what differs is not run in batches."""
        if isinstance(self.runner, Executor):
            self.runner.warm()
            kept = batchable(self.runner, self._batches)
            self._batches = {segment: it for segment, it in self._batches.items() if segment in kept}

    def end(self) -> None:
        """It is served no longer."""

    @property
    def batched(self) -> frozenset[tuple[int, int]]:
        """The (partition, exit) that may be run in batches; once they are warm, only those that compute the same."""
        return frozenset(self._batches)

    def batch_sizes(self, cut: int, exit_: int, may_stop: bool = False) -> tuple[int, ...]:
        """The measured numbers of tasks that may be run from ``cut`` to ``exit_`` at once, ascending from 1 on.

        Tasks that may stop early, each where it does, are run one by one.
        """
        batches = self._batches.get((cut, exit_))
        if may_stop or batches is None:
            return (1,)
        if isinstance(self.runner, Executor) and not self.runner.holds(Key("batch", cut, exit_)):
            return (1,)
        return batches.sizes

    def batch_factor(self, cut: int, exit_: int, count: int) -> float:
        """How many times as long as one alone so many tasks take at once, as measured; the next larger size counts."""
        batches = self._batches[cut, exit_]
        return batches.ms[bisect_left(batches.sizes, count)] / batches.ms[0]

    def has(self, cut: int, exit_: int) -> bool:
        """Whether there is something to compute from ``cut`` to ``exit_``."""
        return (exit_, cut) in self._edge_ms

    def run(self, cut: int, exit_: int, tensors: Sequence[Array], may_stop: bool = False) -> tuple[int, Outputs]:
        """Run from ``cut`` to ``exit_``: what it gives, or an earlier one that is sure where a task may stop."""
        exits, begin = self.profile.exits, cut
        last = exits[exit_ - 1].after_block
        for earlier in self.profile.passed(begin, last, exit_) if may_stop else ():
            outputs, tensors = self.runner.check(begin, earlier, tensors)
            if sure_answer(self.reader, earlier, outputs, self.profile.threshold(earlier)) is not None:
                return earlier, outputs
            begin = exits[earlier - 1].after_block
        return exit_, self.runner.outputs(begin, exit_, tensors)

    def edge_ms(self, cut: int, exit_: int, may_stop: bool = False) -> float | None:
        """Service time from ``cut`` to ``exit_`` at this edge, None if the two do not go together.

        As profiled, and what building adds where the segment is not held. Of a task that may stop early that of one
        which does not.
        """
        profiled_ms = (self._stopping_ms if may_stop else self._edge_ms).get((exit_, cut))
        if profiled_ms is None or not isinstance(self.runner, Executor):
            return profiled_ms
        return profiled_ms + self.slowdown * self.runner.build_ms("finish", cut, exit_)

    def shortfall(self) -> str | None:
        """In words, when memory does not hold all segments; known once they are warm."""
        found = self.runner.shortfall() if isinstance(self.runner, Executor) else None
        return None if found is None else f"{self.package.manifest.name}: {found}"

    @property
    def max_submit_bytes(self) -> int:
        """The largest payload, its head included, that any cut can need with any codec of the package."""
        cuts = self.package.manifest.cuts
        return max(
            1 + len(name) + len(types) + codec.max_payload_bytes(cut.tensors)
            for types, cut in zip(self.types, cuts, strict=True)
            for name, codec in self.codecs.items()
        )


def _edge_times(table: OptionTable) -> dict[tuple[int, int], float]:
    """(exit, partition) -> edge time; partitions that leave nothing to the edge are not in it."""
    return {
        (int(table.exit[0, j]), int(table.partition[0, j])): float(table.edge_ms[0, j])
        for j in range(int(table.count[0]))
        if table.payload_bits[0, j] > 0
    }


@dataclass(eq=False, slots=True)
class Request:
    """A task for the edge: run ``served`` from ``cut`` to ``exit``."""

    served: Served
    cut: int
    exit: int
    tensors: Callable[[], Sequence[Array]]
    """Gives the cut's tensors, each (1, *shape); called once, by whoever executes the task."""
    size_bytes: int
    """What the task holds in memory while it waits."""
    latest_ms: float
    """On the edge's clock, when the answer must leave at the latest; infinity: any time."""
    pack: Callable[[int, Outputs], bytes] | None = None
    """Makes of an exit's outputs what the answer carries, called once by whoever executes the task.

    None: class and confidence are all that is wanted.
    """
    may_stop: bool = False
    """Whether an earlier exit may answer if it is sure enough."""

    @property
    def segment(self) -> tuple[bytes, int, int]:
        """What is run: package, cut and exit."""
        return self.served.digest, self.cut, self.exit

    def ran(self, stopped: int, profiled_ms: float) -> tuple[tuple[bytes, int, int], float]:
        """The segment that was run and its time: that of the exit at which it ``stopped``, or its own if 0."""
        if not stopped:
            return self.segment, profiled_ms
        stopped_ms = self.served.edge_ms(self.cut, stopped, self.may_stop) or 0.0
        return (self.served.digest, self.cut, stopped), stopped_ms


@dataclass(frozen=True, slots=True)
class Computed:
    """What became of a task that was run, and how long decoding and computing took."""

    status: Status
    class_index: int
    confidence: float
    decode_ms: float
    compute_ms: float
    """With what packing the outputs took."""
    outputs: bytes = b""
    """What :attr:`Request.pack` made."""
    stopped: int = 0
    """The earlier exit that answered; 0: the one that was asked for."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A task, or a connection, that is not taken: why, and when one like it may be."""

    code: Code
    text: str
    retry_ms: float = 0.0
    """In so many ms, if nothing else comes; 0: nothing is known of that, or waiting does not help."""


def compute(request: Request) -> Computed | Refusal:
    """Run a task on the calling thread; whatever goes wrong with it is a refusal."""
    served = request.served
    started_ms = now_ms()
    decode_ms = worked_ms = 0.0

    def whole_ms(result: tuple[ExitAnswer | None, bytes]) -> float:
        exit_ = request.exit if result[0] is None else result[0].exit
        return (served.edge_ms(request.cut, exit_, request.may_stop) or 0.0) / served.slowdown

    def work() -> tuple[ExitAnswer | None, bytes]:
        nonlocal decode_ms, worked_ms
        tensors = request.tensors()
        decode_ms = now_ms() - started_ms
        try:
            exit_, outputs = served.run(request.cut, request.exit, tensors, request.may_stop)
            return read_answer(request, outputs, exit_)
        finally:
            worked_ms = now_ms() - started_ms

    try:
        (found, packed), took_ms = dilated(served.slowdown, whole_ms, work)
    except CodecError as error:
        return Refusal(Code.PAYLOAD, str(error))
    except BaseException as error:  # one task's failure must not end the thread that serves all streams
        return failed(error)
    decode_ms *= took_ms / worked_ms if worked_ms > 0 else 1.0  # a slower machine decodes more slowly, too
    stopped = found.exit if found is not None and found.exit != request.exit else 0
    return computed(found, packed, decode_ms, took_ms - decode_ms, stopped)


def failed(error: BaseException) -> Refusal:
    """What is told of a task whose computing raised something."""
    return Refusal(Code.FAILED, f"edge: {type(error).__name__}: {error}")


def read_answer(request: Request, outputs: Outputs, stopped: int = 0) -> tuple[ExitAnswer | None, bytes]:
    """The answer in what a task's exit gave, None if that is not finite, and what the device is sent of it.

    ``stopped`` is the earlier exit that the outputs are of, if they are.
    """
    exit_ = stopped or request.exit
    try:
        found = request.served.reader.read(exit_, outputs)
        return found, request.pack(exit_, outputs) if request.pack is not None else b""
    except NotFiniteError:
        return None, b""


def computed(
    found: ExitAnswer | None, packed: bytes, decode_ms: float, compute_ms: float, stopped: int = 0
) -> Computed:
    """What is told of a task with this answer, of the earlier exit ``stopped`` if it is not 0."""
    if found is None:
        return Computed(Status.INVALID, 0, 0.0, decode_ms, compute_ms)
    label = found.class_index or 0, found.confidence or 0.0
    return Computed(Status.DONE, *label, decode_ms, compute_ms, packed, stopped)
