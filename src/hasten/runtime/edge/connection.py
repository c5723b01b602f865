"""One device's connection to an edge: frames on one side, the core's requests and answers on the other.

A broken frame ends the connection it came on, with a word why; a task that cannot be done is refused and the
connection goes on. What one device may have under way is bounded, so that no device takes all that the edge can hold.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from hasten.runtime.edge.connections import Connections, Guest
from hasten.runtime.edge.core import EdgeCore
from hasten.runtime.edge.queue import Ticket
from hasten.runtime.edge.quota import Quota
from hasten.runtime.edge.served import Refusal, Request, Served
from hasten.runtime.edge.tokens import Tokens, digest_of
from hasten.runtime.sockets import prepare_socket
from hasten.runtime.wire.frames import Code, Frame, FrameParser, Kind, WireError, sealed
from hasten.runtime.wire.handshake import EDGE_BEFORE_HELLO, Welcome, parse_hello, refuse_frame, welcome_frame
from hasten.runtime.wire.load import pong_frame
from hasten.runtime.wire.tasks import EdgeAnswer, Status, Submit, answer_frame, edge_limits, parse_submit

MAX_UNSENT_BYTES = 1 << 20
"""A device that does not read its answers is cut off when so many bytes wait for it,"""
MAX_UNSENT_ANSWERS = 4
"""and so many of its largest answers with outputs."""
MAX_IDLE_FRAMES_PER_S = 1000
"""So is one that sends more pings and refused tasks than so many in a second."""
LINGER_S = 1.0
"""So long a last word may take to leave."""
NAME_CHARACTERS = 40
TLS_HANDSHAKE = b"\x16\x03"
"""How a TLS connection begins."""


class EdgeConnection(asyncio.BufferedProtocol):
    """The edge's side of one connection. All calls are made in the event loop."""

    def __init__(
        self, core: EdgeCore, connections: Connections, guest: Guest, tokens: Tokens, quota: Quota | None = None
    ) -> None:
        self._core, self._connections, self._guest = core, connections, guest
        self._tokens = tokens
        self._quota = quota or Quota()
        self._parser = FrameParser(EDGE_BEFORE_HELLO)
        self._buffer = memoryview(b"")
        self._served: Served | None = None
        self._tickets: dict[Ticket, None] = {}
        self._bytes = 0
        self._told_at_once: tuple[Ticket, int, EdgeAnswer | Refusal] | None = None
        self._max_unsent_bytes = MAX_UNSENT_BYTES
        self._idle_frames, self._counting_since_ms = 0, 0.0
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._transport: Any = None
        self._plain = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport
        prepare_socket(transport.get_extra_info("socket"))
        self._plain = transport.get_extra_info("sslcontext") is None
        self._guest.close = self._close_with

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the queue: nobody waits for these answers any more."""
        if exc is not None:
            self._guest.leaving = f"connection lost ({exc})"
        for ticket in self._tickets:
            self._core.abandon(ticket)
        self._tickets.clear()
        self._connections.remove(self._guest)
        if self._served is not None:
            self._core.services.leave(self._served, self._core.clock.now_ms())
            self._served = None

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where received bytes go."""
        self._buffer = self._parser.buffer()
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Handle the frames that are complete."""
        self._guest.heard_ms = self._core.clock.now_ms()
        stranger = self._served is None
        try:
            for frame in self._parser.received(nbytes):
                self._handle(frame)
        except WireError as error:
            text = "got a TLS handshake, expected plain frames: this edge has no certificate"
            begins_tls = stranger and self._buffer[: len(TLS_HANDSHAKE)] == TLS_HANDSHAKE
            self._end(error.code, text if begins_tls else str(error))
        self._buffer = memoryview(b"")

    def _handle(self, frame: Frame) -> None:
        if self._transport.is_closing():
            return
        if frame.kind is Kind.SUBMIT:
            self._submit(frame)
        elif frame.kind is Kind.PING:
            self._write(pong_frame(frame.task, self._core.clock.now_ms(), self._core.report(self._guest.carried)))
            self._count_idle_frame()
        else:
            self._welcome(frame)

    def _welcome(self, frame: Frame) -> None:
        hello = parse_hello(frame.body)
        self._guest.token = digest_of(hello.token)
        name = self._tokens.name_of(self._guest.token)
        if name is None:
            text = "got a token that this edge does not know" if hello.token else "got no token"
            self._end(Code.TOKEN, f"HELLO: {text}, expected one of its --token-file")
            return
        services = self._core.services
        served = services.find(hello.digest)
        if served is None:
            self._end(Code.PACKAGE, services.objection(hello.digest))
            return
        refusal = self._connections.welcome(self._guest, name or hello.name[:NAME_CHARACTERS] or "a device")
        if refusal is not None:
            self._end(refusal.code, refusal.text)
            return
        services.enter(served)
        self._served = served
        self._parser.limits = edge_limits(served.max_submit_bytes)
        self._max_unsent_bytes = max(MAX_UNSENT_BYTES, MAX_UNSENT_ANSWERS * served.payloads.max_bytes)
        self._write(welcome_frame(Welcome(self._core.clock.now_ms(), self._core.slowdown, self._core.workers)))

    def _submit(self, frame: Frame) -> None:
        assert self._served is not None  # SUBMIT is not among the kinds accepted before HELLO
        try:
            request = task_request(self._served, parse_submit(frame.body))
            self._quota.require(len(self._tickets), self._guest.carried.waiting, self._bytes, request)
        except WireError as error:
            retry_ms = self._soonest_end_ms() if error.code is Code.QUOTA else 0.0
            refusal = Refusal(error.code, str(error), retry_ms)
            self._core.counts.ended(refusal)
            self._refuse(frame.task, refusal)
            return
        ticket = self._core.submit(request, self._replier(frame.task), self._guest.carried)
        self._tickets[ticket] = None
        self._bytes += request.size_bytes
        told_at_once, self._told_at_once = self._told_at_once, None
        if told_at_once is not None:
            self._answer(*told_at_once)

    def _soonest_end_ms(self) -> float:
        """In how long the first of this device's tasks that run should be done; 0 if none runs."""
        now = self._core.clock.now_ms()
        ends_ms = [it.started_ms + it.predicted_ms - now for it in self._tickets if math.isfinite(it.started_ms)]
        return max(min(ends_ms, default=0.0), 0.0)

    def _replier(self, task: int) -> Callable[[Ticket, EdgeAnswer | Refusal], None]:
        def reply(ticket: Ticket, outcome: EdgeAnswer | Refusal) -> None:
            if threading.get_ident() == self._thread:  # as of what is not taken: no need to wake the loop
                if ticket in self._tickets:
                    self._answer(ticket, task, outcome)
                else:  # it is being submitted
                    self._told_at_once = ticket, task, outcome
                return
            try:
                self._loop.call_soon_threadsafe(self._answer, ticket, task, outcome)
            except RuntimeError:
                return  # the server has closed

        return reply

    def _answer(self, ticket: Ticket, task: int, outcome: EdgeAnswer | Refusal) -> None:
        if ticket not in self._tickets:
            return  # the device has gone
        del self._tickets[ticket]
        self._bytes -= ticket.request.size_bytes
        if isinstance(outcome, Refusal):
            self._refuse(task, outcome)
            return
        # What is neither decoding nor computing was waiting, the way back from the worker included: so all that the
        # device sees beyond these times is the network's.
        outcome.clock_ms = self._core.clock.now_ms()
        here_us = int((outcome.clock_ms - ticket.arrived_ms) * 1000.0)
        outcome.queue_us = max(here_us - outcome.compute_us - outcome.decode_us, 0)
        self._count(outcome)
        self._write(answer_frame(task, outcome))

    def _count(self, outcome: EdgeAnswer) -> None:
        """For who watches the edge."""
        if outcome.status is Status.LATE:
            self._guest.late += 1
        else:
            self._guest.answered += 1
            self._guest.waits_ms.append(outcome.queue_us / 1000.0)

    def _refuse(self, task: int, refusal: Refusal) -> None:
        self._guest.refused += 1
        self._connections.refused(self._guest, refusal)
        self._write(refuse_frame(task, refusal.code, refusal.text, refusal.retry_ms))
        self._count_idle_frame()

    def _count_idle_frame(self) -> None:
        """End a connection that keeps the edge busy without bringing it work."""
        now = self._core.clock.now_ms()
        if now - self._counting_since_ms > 1000.0:
            self._idle_frames, self._counting_since_ms = 0, now
        self._idle_frames += 1
        if self._idle_frames > MAX_IDLE_FRAMES_PER_S:
            self._end(Code.BUSY, f"more than {MAX_IDLE_FRAMES_PER_S} pings and refused tasks in a second")

    def _write(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(sealed(data) if self._plain else data)  # TLS has checksums of its own
        if self._transport.get_write_buffer_size() > self._max_unsent_bytes:
            self._guest.leaving = "it does not read its answers"
            self._transport.abort()

    def _end(self, code: Code, text: str) -> None:
        if not self._transport.is_closing():
            self._connections.end(self._guest, code, text)

    def _close_with(self, code: Code, text: str) -> None:
        self._write(refuse_frame(0, code, text))
        self._transport.close()
        self._loop.call_later(LINGER_S, self._transport.abort)


def task_request(served: Served, submit: Submit) -> Request:
    """The task that a SUBMIT frame brings; :class:`WireError` if it brings the tensors of another cut, or none."""
    cuts = served.package.manifest.cuts
    if not served.has(submit.cut, submit.exit):
        text = f"SUBMIT: got cut {submit.cut} for exit {submit.exit}, expected one that this package has"
        raise WireError(Code.CUT, text)
    codec = served.codecs.get(submit.codec)
    if codec is None:
        raise WireError(Code.CODEC, f"SUBMIT: got codec {submit.codec!r}, expected one of {', '.join(served.codecs)}")
    specs, types = cuts[submit.cut].tensors, served.types[submit.cut]
    if submit.rest[: len(types)] != types:
        wanted = ", ".join(f"{spec.dtype}{list(spec.shape)}" for spec in specs)
        raise WireError(Code.CUT, f"SUBMIT: got other tensors at cut {submit.cut}, expected {wanted}")
    payload = submit.rest[len(types) :]
    decode = partial(codec.decode, payload, specs)
    pack = served.payloads.encode if submit.wants_outputs else None
    return Request(
        served, submit.cut, submit.exit, decode, len(payload), submit.latest_ms, pack, may_stop=submit.may_stop
    )
