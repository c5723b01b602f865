"""The edge node without its sockets: packages, one queue, workers, and the load it reports.

First come, first served: a worker that is free takes the task that waits longest. A task that could no longer be
back in time when its turn comes is not run. Any server can stand around this core: it hands tasks in and is called
back, from a worker's thread, with the answer.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.core.options import OptionTable, StreamCosts, option_table
from hasten.core.profile import Profile
from hasten.runtime.fit import require_fit
from hasten.runtime.outputs import NotFiniteError, top_class
from hasten.runtime.pace import dilated, now_ms, sharpen_sleep
from hasten.runtime.wire import MAX_WORKERS, Answer, Code, LoadReport, Status, WireError, types_bytes
from hasten.split.codec import Codec, CodecError, max_payload_bytes
from hasten.split.executor import DEFAULT_MEMORY_BYTES, Executor
from hasten.split.package import Package

Array = NDArray[np.generic]

CORRECTION_WEIGHT = 0.1
"""Weight of the newest measurement in the running ratio of measured to profiled service times."""
CORRECTION_RANGE = (0.2, 5.0)


class Runner(Protocol):
    """What executes segments; :class:`hasten.split.executor.Executor` does."""

    def finish(self, partition: int, exit_: int, tensors: Sequence[Array]) -> NDArray[np.float32]:
        """Run from ``partition`` to the logits of ``exit_``."""


@dataclass(frozen=True)
class Refusal:
    """A task that cannot be done: why."""

    code: Code
    text: str


Reply = Callable[[Answer | Refusal], None]


class Served:
    """A package in service: its segments and what each costs here."""

    def __init__(self, package: Package, runner: Runner, slowdown: float, profile: Profile) -> None:
        require_fit(profile, package)
        self.package = package
        self.runner = runner
        self.slowdown = slowdown
        self.types = [types_bytes(cut.tensors) for cut in package.manifest.cuts]
        table = option_table([StreamCosts(profile, edge_slowdown=slowdown)])
        self._edge_ms = _edge_times(table)

    def edge_ms(self, cut: int, exit_: int) -> float | None:
        """Service time from ``cut`` to ``exit_`` at this edge, None if the two do not go together.

        As profiled, and what building adds where the segment is not held.
        """
        profiled_ms = self._edge_ms.get((exit_, cut))
        if profiled_ms is None or not isinstance(self.runner, Executor):
            return profiled_ms
        return profiled_ms + self.slowdown * self.runner.build_ms("finish", cut, exit_)

    @property
    def max_submit_bytes(self) -> int:
        """The largest tensor types and payload that any cut can need."""
        cuts = self.package.manifest.cuts
        return max(len(types) + max_payload_bytes(cut.tensors) for types, cut in zip(self.types, cuts, strict=True))

    def payload(self, cut: int, rest: memoryview) -> memoryview:
        """The payload behind the tensor types, which must be those of ``cut``."""
        types = self.types[cut]
        if rest[: len(types)] != types:
            specs = ", ".join(f"{s.dtype}{list(s.shape)}" for s in self.package.manifest.cuts[cut].tensors)
            raise WireError(Code.CUT, f"SUBMIT: got other tensors at cut {cut}, expected {specs}")
        return rest[len(types) :]


def _edge_times(table: OptionTable) -> dict[tuple[int, int], float]:
    """(exit, partition) -> edge time; partitions that leave nothing to the edge are not in it."""
    return {
        (int(table.exit[0, j]), int(table.partition[0, j])): float(table.edge_ms[0, j])
        for j in range(int(table.count[0]))
        if table.payload_bits[0, j] > 0
    }


@dataclass(eq=False)
class Ticket:
    """A task in the queue."""

    served: Served
    cut: int
    exit: int
    payload: memoryview
    latest_ms: float
    reply: Reply
    arrived_ms: float
    predicted_ms: float
    abandoned: bool = False
    """Set when nobody waits for the answer any more; the task is then skipped."""


class EdgeCore:
    """Packages in service, the queue and the worker threads.

    Args:
        packages: what is served; a task names its package by digest.
        workers: how many tasks run at a time, each on one thread.
        slowdown: this edge plays a machine so many times slower.
        profiles: replace the packages' own, one per package.
        runners: replace the executors (for tests), one per package.
        memory_bytes: limit for the segments that are kept ready, shared evenly by the packages.
    """

    def __init__(
        self,
        packages: Sequence[Package],
        workers: int = 1,
        slowdown: float = 1.0,
        profiles: Sequence[Profile] | None = None,
        runners: Sequence[Runner] | None = None,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
    ) -> None:
        if not 1 <= workers <= MAX_WORKERS:
            raise InputError("edge", "workers", workers, f"1..{MAX_WORKERS}")
        if not slowdown >= 1.0:
            raise InputError("edge", "slowdown", slowdown, "at least 1 (a machine cannot be made faster)")
        self.workers = workers
        self.slowdown = slowdown
        share = memory_bytes // max(len(packages), 1)
        made: Sequence[Runner] = runners or [Executor(package, memory_bytes=share, role="edge") for package in packages]
        times = profiles if profiles is not None else [package.profile for package in packages]
        self._served = {
            bytes.fromhex(package.digest): Served(package, runner, slowdown, profile)
            for package, runner, profile in zip(packages, made, times, strict=True)
        }
        self._waiting: deque[Ticket] = deque()
        self._changed = threading.Condition()
        self._free_ms = [0.0] * workers
        self._correction = 1.0
        self._sequence = 0
        self._closing = False
        self._threads = [
            threading.Thread(target=self._work, args=(w,), name=f"worker-{w}", daemon=True) for w in range(workers)
        ]

    def start(self) -> None:
        """Warm every segment up, then start the workers."""
        for served in self._served.values():
            if isinstance(served.runner, Executor):
                served.runner.warm()
        for thread in self._threads:
            thread.start()

    def shortfalls(self) -> list[str]:
        """In words, for each package whose segments the memory does not hold all; told once the core has started."""
        runners = [(served.package.manifest.name, served.runner) for served in self._served.values()]
        told = [(name, runner.shortfall()) for name, runner in runners if isinstance(runner, Executor)]
        return [f"{name}: {shortfall}" for name, shortfall in told if shortfall is not None]

    def close(self) -> None:
        """End the workers after the tasks they are at."""
        with self._changed:
            self._closing = True
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def served(self, digest: bytes) -> Served | None:
        """The package with this digest, None when it is not served here."""
        return self._served.get(digest)

    def submit(self, served: Served, cut: int, exit_: int, rest: memoryview, latest_ms: float, reply: Reply) -> Ticket:
        """Queue a task.

        Args:
            served: its package.
            cut: where the device stopped.
            exit_: the exit to answer through.
            rest: tensor types and payload as received.
            latest_ms: on this machine's clock, when the answer must leave at the latest (infinity: any time).
            reply: called once, from a worker's thread.

        Raises:
            WireError: there is no such cut and exit, or the tensors are not those of the cut.
        """
        edge_ms = served.edge_ms(cut, exit_)
        if edge_ms is None:
            raise WireError(Code.CUT, f"SUBMIT: got cut {cut} for exit {exit_}, expected one that this package has")
        payload = served.payload(cut, rest)
        with self._changed:
            ticket = Ticket(served, cut, exit_, payload, latest_ms, reply, now_ms(), edge_ms * self._correction)
            self._waiting.append(ticket)
            self._changed.notify()
        return ticket

    def report(self) -> LoadReport:
        """Predicted backlog of each worker now, from the remaining work of all tasks here."""
        with self._changed:
            now = now_ms()
            backlog = sorted(max(free - now, 0.0) for free in self._free_ms)
            for ticket in self._waiting:
                heapq.heapreplace(backlog, backlog[0] + ticket.predicted_ms)
            self._sequence += 1
            return LoadReport(self._sequence, len(self._waiting), tuple(sorted(backlog)))

    def _work(self, worker: int) -> None:
        codec = Codec()
        sharpen_sleep()
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                ticket = self._waiting.popleft()
                started_ms = now_ms()
                runs = not ticket.abandoned and started_ms + ticket.predicted_ms <= ticket.latest_ms
                if runs:
                    self._free_ms[worker] = started_ms + ticket.predicted_ms
            if runs:
                outcome = self._run(ticket, codec, started_ms)
                with self._changed:
                    self._free_ms[worker] = 0.0
                ticket.reply(outcome if isinstance(outcome, Refusal) else self._with_report(outcome))
            elif not ticket.abandoned:
                queue_us = _us(started_ms - ticket.arrived_ms)
                ticket.reply(Answer(Status.LATE, ticket.exit, 0, 0.0, queue_us, 0, 0, self.report()))

    def _with_report(self, done: _Done) -> Answer:
        return Answer(
            done.status,
            done.exit,
            done.class_index,
            done.confidence,
            done.queue_us,
            done.compute_us,
            done.decode_us,
            self.report(),
        )

    def _run(self, ticket: Ticket, codec: Codec, started_ms: float) -> _Done | Refusal:
        served = ticket.served
        specs = served.package.manifest.cuts[ticket.cut].tensors
        decode_ms = worked_ms = 0.0

        def work() -> NDArray[np.float32]:
            nonlocal decode_ms, worked_ms
            tensors = codec.decode(ticket.payload, specs)
            decode_ms = now_ms() - started_ms
            logits = served.runner.finish(ticket.cut, ticket.exit, tensors)
            worked_ms = now_ms() - started_ms
            return logits

        try:
            profiled_ms = (served.edge_ms(ticket.cut, ticket.exit) or 0.0) / served.slowdown
            logits, took_ms = dilated(served.slowdown, profiled_ms, work)
        except CodecError as error:
            return Refusal(Code.PAYLOAD, str(error))
        except Exception as error:  # one task's failure must not end the worker that serves all streams
            return Refusal(Code.FAILED, f"edge: {type(error).__name__}: {error}")
        self._correct(served.edge_ms(ticket.cut, ticket.exit), took_ms)
        try:
            status, (class_index, confidence) = Status.DONE, top_class(logits)
        except NotFiniteError:
            status, class_index, confidence = Status.INVALID, 0, 0.0
        decode_ms *= took_ms / worked_ms if worked_ms > 0 else 1.0  # a slower machine decodes more slowly, too
        return _Done(
            status,
            ticket.exit,
            class_index,
            confidence,
            _us(started_ms - ticket.arrived_ms),
            _us(took_ms - decode_ms),
            _us(decode_ms),
        )

    def _correct(self, profiled_ms: float | None, measured_ms: float) -> None:
        if profiled_ms:
            low, high = CORRECTION_RANGE
            ratio = min(max(measured_ms / profiled_ms, low), high)
            self._correction += CORRECTION_WEIGHT * (ratio - self._correction)


@dataclass(frozen=True, slots=True)
class _Done:
    """A computed task, before the load report is added."""

    status: Status
    exit: int
    class_index: int
    confidence: float
    queue_us: int
    compute_us: int
    decode_us: int


def _us(milliseconds: float) -> int:
    return min(max(int(milliseconds * 1000.0), 0), 0xFFFFFFFF)
