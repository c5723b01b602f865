"""An edge node in virtual time: the edge's own core and connections; only its clock and its workers are played."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hasten.core.edge_order import ServiceOrder, first_come
from hasten.core.profile import batching
from hasten.runtime.clock import Clock
from hasten.runtime.edge.connection import EdgeConnection
from hasten.runtime.edge.connections import ConnectionLimits, Connections
from hasten.runtime.edge.core import EdgeCore
from hasten.runtime.edge.served import Computed, Refusal, Request, Served
from hasten.runtime.edge.tokens import Tokens
from hasten.runtime.notes import Notes
from hasten.runtime.virtual.network import VirtualTransport
from hasten.runtime.wire.frames import HEADER, Code, Kind
from hasten.runtime.wire.handshake import refuse_frame
from hasten.runtime.wire.load import LoadReport
from hasten.runtime.wire.tasks import EdgeAnswer, Status, answer_frame, parse_answer

ServiceLaw = Callable[[int, float], float]
"""What the n-th task (from 1), profiled at so many milliseconds, takes."""

MOST_DEVICES = 100_000
MOST_AT_ONCE = 1024
"""As many as any profile has times of."""
CLASS_INDEX, CONFIDENCE = 1, 0.75
"""The answer to every task."""


class VirtualEdge:
    """Serves packages, whose tasks are all answered with class 1, to any device.

    Attributes:
        service: how long tasks take.
        drift: by how much its clock is fast, as a share.
        factor: what a task's time is multiplied by, by its payload.
        ease: how easy a task is, likewise (``core.confidence``).
        answer: what it makes of a computed answer before it is sent.
        trouble: why it refuses devices, if it does.
        ran: how many tasks it has computed.
    """

    def __init__(
        self,
        clock: Clock,
        packages: Sequence[Any],
        workers: int = 1,
        slowdown: float = 1.0,
        order: ServiceOrder = first_come,
        batch: int = MOST_AT_ONCE,
    ) -> None:
        self.service: ServiceLaw = lambda n, profiled_ms: profiled_ms
        self.factor: Callable[[bytes], float] = lambda payload: 1.0
        self.ease: Callable[[bytes], float] = lambda payload: 1.0
        self.answer: Callable[[EdgeAnswer], EdgeAnswer] = lambda answer: answer
        self.drift, self.offset_ms = 0.0, 1e6
        self.trouble: str | None = None
        self.ran = 0
        self._clock = clock
        own = _OwnClock(self, clock)
        notes = Notes(lambda text: None, own.now_ms)
        self.core = EdgeCore(
            [Served(package, _Nobody(), slowdown, batching(package.profile, batch)) for package in packages],
            _VirtualWorkers(self, clock, workers),
            own,
            order=order,
            notes=notes,
        )
        self._guests = Connections(ConnectionLimits(devices=MOST_DEVICES), own, notes)
        self._sides: dict[VirtualTransport, _EdgeSide] = {}

    @property
    def slowdown(self) -> float:
        """What it tells devices of its speed."""
        return self.core.slowdown

    @slowdown.setter
    def slowdown(self, slowdown: float) -> None:
        self.core.slowdown = slowdown

    def report(self) -> LoadReport:
        """The predicted backlog of each worker."""
        return self.core.report()

    def frame(self, connection: VirtualTransport, data: bytes) -> None:
        """A device's frame."""
        if Kind(data[5]) is Kind.HELLO and self.trouble is not None:
            connection.deliver(refuse_frame(0, Code.PACKAGE, self.trouble))
            connection.end_after_words()
            return
        side = self._sides.get(connection)
        if side is None:
            side = self._sides[connection] = _EdgeSide(self, connection)
            side.protocol = EdgeConnection(self.core, self._guests, self._guests.arrived("device", 1), Tokens())
            side.protocol.connection_made(side)  # type: ignore[arg-type]
        side.receive(data)

    def gone(self, connection: VirtualTransport) -> None:
        """A device has gone: its waiting tasks with it."""
        side = self._sides.pop(connection, None)
        if side is not None:
            side.protocol.connection_lost(None)


class _OwnClock:
    """The edge's clock: begun at another time, and perhaps fast."""

    def __init__(self, edge: VirtualEdge, clock: Clock) -> None:
        self._edge, self._clock = edge, clock

    def now_ms(self) -> float:
        return self._edge.offset_ms + (1.0 + self._edge.drift) * self._clock.now_ms()

    def call_at(self, when_ms: float, call: Callable[[], None]) -> None:
        self._clock.call_at((when_ms - self._edge.offset_ms) / (1.0 + self._edge.drift), call)

    def close(self) -> None:
        """Nothing to end."""


class _VirtualWorkers:
    """Tasks take as long as the edge's law says."""

    def __init__(self, edge: VirtualEdge, clock: Clock, count: int) -> None:
        self.count = count
        self._edge, self._clock = edge, clock

    def start(self) -> None:
        """Nothing to get ready."""

    def execute(self, worker: int, request: Request, done: Callable[[Computed | Refusal], None]) -> None:
        took_ms, stopped = self._alone_ms(request)
        computed = Computed(Status.DONE, CLASS_INDEX, CONFIDENCE, 0.0, took_ms, stopped=stopped)
        self._clock.call_at(self._clock.now_ms() + took_ms, lambda: done(computed))

    def execute_together(
        self, worker: int, requests: Sequence[Request], done: Callable[[list[Computed | Refusal]], None]
    ) -> None:
        """As long as the profile's batch of so many, of tasks like the longest of these."""
        first = requests[0]
        alone_ms = [self._alone_ms(request)[0] for request in requests]
        took_ms = first.served.batch_factor(first.cut, first.exit, len(requests)) * max(alone_ms)
        computed: list[Computed | Refusal] = [
            Computed(Status.DONE, CLASS_INDEX, CONFIDENCE, 0.0, it) for it in alone_ms
        ]
        self._clock.call_at(self._clock.now_ms() + took_ms, lambda: done(computed))

    def _alone_ms(self, request: Request) -> tuple[float, int]:
        """What a task takes by itself, and the earlier exit at which it stops, 0 if it does not."""
        edge = self._edge
        edge.ran += 1
        payload = request.tensors.args[0]  # type: ignore[attr-defined]
        exit_, confidence = request.exit, request.served.profile.confidence
        if request.may_stop and confidence is not None:
            exit_ = confidence.outcomes[exit_ - 1][request.cut].exit_of(edge.ease(payload))
        profiled_ms = request.served.edge_ms(request.cut, exit_, request.may_stop) or 0.0
        return edge.service(edge.ran, profiled_ms) * edge.factor(payload), exit_ if exit_ != request.exit else 0

    def close(self, wait_s: float) -> None:
        """Nothing to end."""


class _EdgeSide:
    """The edge's end of a connection: what an asyncio transport is to a protocol."""

    protocol: EdgeConnection

    def __init__(self, edge: VirtualEdge, connection: VirtualTransport) -> None:
        self._edge, self._connection = edge, connection
        self._closing = False

    def receive(self, data: bytes) -> None:
        while data and not self.is_closing():
            buffer = self.protocol.get_buffer(-1)
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            data = data[count:]
            self.protocol.buffer_updated(count)

    def write(self, data: bytes) -> None:
        """A whole frame; that is how the edge writes."""
        if Kind(data[5]) is Kind.ANSWER:
            _, _, _, retry_ms, task, _, _ = HEADER.unpack_from(data)
            answer = parse_answer(memoryview(data)[HEADER.size :], retry_ms)
            data = answer_frame(task, self._edge.answer(answer))
        self._connection.deliver(data)

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._connection.end_after_words()

    def abort(self) -> None:
        self._connection.abort()

    def is_closing(self) -> bool:
        return self._closing or self._connection.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> None:
        """There is no socket."""


class _Nobody:
    """Stands for what executes segments: the workers are played, nobody asks it."""

    def outputs(self, partition: int, exit_: int, tensors: object) -> Any:
        raise NotImplementedError

    def outputs_of(self, partition: int, exit_: int, samples: object) -> Any:
        raise NotImplementedError

    def check(self, partition: int, exit_: int, tensors: object) -> Any:
        raise NotImplementedError
