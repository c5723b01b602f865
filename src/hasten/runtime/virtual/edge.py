"""An edge node in virtual time: one queue in order of arrival, workers that take as long as a law says, real frames."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from hasten.core.options import StreamCosts, option_table
from hasten.core.profile import Profile
from hasten.runtime.clock import Clock
from hasten.runtime.virtual.network import VirtualTransport
from hasten.runtime.wire import (
    HEADER,
    Answer,
    Code,
    Kind,
    LoadReport,
    Status,
    Submit,
    Welcome,
    answer_frame,
    parse_submit,
    pong_frame,
    refuse_frame,
    welcome_frame,
)

ServiceLaw = Callable[[int, float], float]
"""What the n-th task (from 1), profiled at so many milliseconds, takes."""


@dataclass(eq=False)
class _Ticket:
    connection: VirtualTransport
    task: int
    submit: Submit
    arrived_ms: float
    profiled_ms: float
    started_ms: float = 0.0
    took_ms: float = 0.0


class VirtualEdge:
    """Answers tasks of one network with class 1.

    Attributes:
        service: how long tasks take.
        drift: by how much its clock is fast, as a share.
        answer: what it makes of a computed answer before it is sent.
        trouble: why it refuses devices, if it does.
        ran: how many tasks it has computed.
    """

    def __init__(self, clock: Clock, profile: Profile, workers: int = 1, slowdown: float = 1.0) -> None:
        self.service: ServiceLaw = lambda n, profiled_ms: profiled_ms
        self.answer: Callable[[Answer], Answer] = lambda answer: answer
        self.drift, self.offset_ms = 0.0, 1e6
        self.trouble: str | None = None
        self.ran = 0
        self.workers, self.slowdown = workers, slowdown
        self._clock = clock
        table = option_table([StreamCosts(profile, edge_slowdown=slowdown)])
        self._profiled_ms = {
            (int(table.exit[0, j]), int(table.partition[0, j])): float(table.edge_ms[0, j])
            for j in range(int(table.count[0]))
        }
        self._waiting: deque[_Ticket] = deque()
        self._running: list[_Ticket] = []
        self._reports = 0

    def clock_ms(self) -> float:
        """This edge's own clock."""
        return self.offset_ms + (1.0 + self.drift) * self._clock.now_ms()

    def frame(self, connection: VirtualTransport, data: bytes) -> None:
        """A device's frame."""
        kind, task, body = Kind(data[5]), HEADER.unpack_from(data)[4], memoryview(data)[HEADER.size :]
        if kind is Kind.HELLO and self.trouble is not None:
            connection.deliver(refuse_frame(0, Code.PACKAGE, self.trouble))
            connection.end_after_words()
        elif kind is Kind.HELLO:
            connection.deliver(welcome_frame(Welcome(self.clock_ms(), self.slowdown, self.workers)))
        elif kind is Kind.PING:
            connection.deliver(pong_frame(task, self.clock_ms(), self.report()))
        else:
            submit = parse_submit(body)
            profiled_ms = self._profiled_ms[submit.exit, submit.cut]
            self._waiting.append(_Ticket(connection, task, submit, self.clock_ms(), profiled_ms))
            self._serve()

    def gone(self, connection: VirtualTransport) -> None:
        """A device has gone: its waiting tasks with it."""
        self._waiting = deque(ticket for ticket in self._waiting if ticket.connection is not connection)

    def report(self) -> LoadReport:
        """The predicted backlog of each worker."""
        now = self.clock_ms()
        backlog = [max(ticket.started_ms + ticket.profiled_ms - now, 0.0) for ticket in self._running]
        backlog += [0.0] * (self.workers - len(backlog))
        heapq.heapify(backlog)
        for ticket in self._waiting:
            heapq.heapreplace(backlog, backlog[0] + ticket.profiled_ms)
        self._reports += 1
        return LoadReport(self._reports, len(self._waiting), tuple(sorted(backlog)))

    def _serve(self) -> None:
        while self._waiting and len(self._running) < self.workers:
            ticket = self._waiting.popleft()
            ticket.started_ms = self.clock_ms()
            if ticket.started_ms + ticket.profiled_ms > ticket.submit.latest_ms:
                self._reply(ticket, Status.LATE)
                continue
            self.ran += 1
            ticket.took_ms = self.service(self.ran, ticket.profiled_ms)
            self._running.append(ticket)
            self._clock.call_at(self._clock.now_ms() + ticket.took_ms, lambda ticket=ticket: self._done(ticket))  # type: ignore[misc]

    def _done(self, ticket: _Ticket) -> None:
        self._running.remove(ticket)
        self._reply(ticket, Status.DONE)
        self._serve()

    def _reply(self, ticket: _Ticket, status: Status) -> None:
        queue_us = int(1000.0 * max(ticket.started_ms - ticket.arrived_ms, 0.0))
        took_us = int(1000.0 * ticket.took_ms)
        exit_, clock_ms = ticket.submit.exit, self.clock_ms()
        answer = Answer(status, exit_, 1, 0.75, queue_us, took_us, 0, self.report(), clock_ms)
        ticket.connection.deliver(answer_frame(ticket.task, self.answer(answer)))
