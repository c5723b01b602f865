"""A link in virtual time: serial upwards at a rate, with delays both ways and faults to order; it leads to one edge.

Only frames of tasks occupy it. A ping waits for its turn and takes its time, so that it measures what it should, but
nobody waits for it: plain ones are of 20 bytes, five a second at most, and others keep to 60 bytes a second. The timing
law knows no pings; so its times hold here exactly.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, Protocol

from hasten.runtime.clock import Clock
from hasten.runtime.wire.frames import HEADER, Kind


class Line(Protocol):
    """What transmits frames one after the other; several links may share one."""

    def admit(self, now: float, size_bytes: int) -> float:
        """Take a frame of this size; return when its last bit has been sent (infinity: never)."""

    def would_end(self, now: float, size_bytes: int) -> float:
        """When a frame of this size would have been sent if it were handed over now."""


class SteadyLine:
    """A line of a rate that holds until it is set anew; at an infinite one nothing takes time."""

    def __init__(self, rate_bits_per_ms: float) -> None:
        self.rate_bits_per_ms = rate_bits_per_ms
        self._free_ms = -math.inf

    def admit(self, now: float, size_bytes: int) -> float:
        """Take a frame of this size; return when its last bit has been sent."""
        self._free_ms = self.would_end(now, size_bytes)
        return self._free_ms

    def would_end(self, now: float, size_bytes: int) -> float:
        """When a frame of this size would have been sent if it were handed over now."""
        return max(now, self._free_ms) + 8.0 * size_bytes / self.rate_bits_per_ms


Fate = Callable[[Kind, bytes], float | None]
"""What happens to a frame beside the usual: so many ms more, or None: it is lost. Later frames wait for it."""


class Peer(Protocol):
    """The other end of a connection."""

    def frame(self, connection: VirtualTransport, data: bytes) -> None:
        """A whole frame arrived."""

    def gone(self, connection: VirtualTransport) -> None:
        """The connection has ended."""


class VirtualLink:
    """A :class:`~hasten.runtime.device.dialing.Dialer` that always ends up at the same peer.

    Attributes:
        encrypted, where: nothing is; the peer's name.
        line: the way up.
        up_ms, down_ms: what passes besides, each way.
        answer_late_ms: how much later than it is there an answer is handed over, by the SUBMIT frame that it answers;
            other frames do not wait for it.
        offload_ms: what a task's frame and its answer take on top, half each way, and pings do not.
        up, down: fates of frames.
        refuses: why no connection can be made, if so.
        sent_bytes: by kind of frame, both ways.
    """

    def __init__(self, clock: Clock, peer: Peer, line: Line | None = None, rtt_ms: float = 10.0) -> None:
        self.encrypted, self.where = False, "edge"
        self._steady = SteadyLine(1e4)
        self.line = line or self._steady
        self.offload_ms = 0.0
        self.answer_late_ms: Callable[[bytes], float] | None = None
        self.late_ms: dict[int, float] = {}
        self.up_ms = self.down_ms = 0.5 * rtt_ms
        self.up: Fate = lambda kind, frame: 0.0
        self.down: Fate = lambda kind, frame: 0.0
        self.refuses: str | None = None
        self.sent_bytes = 0
        self.sent: dict[Kind, int] = dict.fromkeys(Kind, 0)
        self.connections: list[VirtualTransport] = []
        self.dialled = 0
        self._clock, self._peer = clock, peer

    async def dial(self, make: Callable[[], asyncio.BufferedProtocol]) -> Any:
        """Connect; one round trip."""
        self.dialled += 1
        await asyncio.sleep((self.up_ms + self.down_ms) / 1000.0)
        if self.refuses is not None:
            raise ConnectionError(self.refuses)
        transport = VirtualTransport(self, self._clock, self._peer, make())
        self.connections.append(transport)
        return transport

    @property
    def rate_bits_per_ms(self) -> float:
        """The rate of a line of its own; set another for the frames that come then."""
        return self._steady.rate_bits_per_ms

    @rate_bits_per_ms.setter
    def rate_bits_per_ms(self, rate: float) -> None:
        self._steady.rate_bits_per_ms = rate
        self.line = self._steady

    def rtt(self, rtt_ms: float) -> None:
        """Another round trip from now on."""
        self.up_ms = self.down_ms = 0.5 * rtt_ms

    def cut(self) -> None:
        """Break every connection."""
        for connection in list(self.connections):
            connection.abort()

    def count(self, frame: bytes) -> Kind:
        """Note a frame that is sent."""
        kind = Kind(frame[5])
        self.sent[kind] += 1
        self.sent_bytes += len(frame)
        return kind


class VirtualTransport:
    """One connection: the device writes here, the peer calls :meth:`deliver`."""

    def __init__(self, link: VirtualLink, clock: Clock, peer: Peer, protocol: asyncio.BufferedProtocol) -> None:
        self.closed = False
        self._link, self._clock, self._peer, self._protocol = link, clock, peer, protocol
        self._up_ms = self._down_ms = -math.inf
        self._rest = b""
        protocol.connection_made(self)  # type: ignore[arg-type]

    def write(self, data: bytes) -> None:
        """Take bytes from the device; each frame goes as a whole."""
        self._rest += data
        while len(self._rest) >= HEADER.size:
            end = HEADER.size + HEADER.unpack_from(self._rest)[5]
            if len(self._rest) < end:
                return
            frame, self._rest = self._rest[:end], self._rest[end:]
            self._up(frame)

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        """Several pieces."""
        self.write(b"".join(parts))

    def _up(self, frame: bytes) -> None:
        link, now = self._link, self._clock.now_ms()
        kind = link.count(frame)
        fate = link.up(kind, frame)
        if fate is None or self.closed:
            return
        of_task = kind is Kind.SUBMIT
        if of_task and link.answer_late_ms is not None:
            link.late_ms[_number(frame)] = link.answer_late_ms(frame)
        sent_ms = link.line.admit(now, len(frame)) if of_task else link.line.would_end(now, len(frame))
        arrives_ms = max(sent_ms + link.up_ms + (0.5 * link.offload_ms if of_task else 0.0) + fate, self._up_ms)
        if of_task or fate > 0:
            self._up_ms = arrives_ms
        if arrives_ms < math.inf:
            self._clock.call_at(arrives_ms, lambda: None if self.closed else self._peer.frame(self, frame))

    def deliver(self, frame: bytes) -> None:
        """Send a frame down to the device."""
        link = self._link
        kind = link.count(frame)
        fate = link.down(kind, frame)
        if fate is None or self.closed:
            return
        handling_ms = 0.5 * link.offload_ms if kind is Kind.ANSWER else 0.0
        self._down_ms = max(self._clock.now_ms() + link.down_ms + handling_ms + fate, self._down_ms)
        late_ms = link.late_ms.pop(_number(frame), 0.0) if kind is Kind.ANSWER else 0.0
        self._clock.call_at(self._down_ms + late_ms, lambda: self._receive(frame))

    def _receive(self, data: bytes) -> None:
        while data and not self.closed:
            buffer = memoryview(self._protocol.get_buffer(-1))
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            data = data[count:]
            self._protocol.buffer_updated(count)

    def end_after_words(self) -> None:
        """The peer closes: what it has sent still arrives."""
        self._clock.call_at(max(self._clock.now_ms() + self._link.down_ms, self._down_ms), self.abort)

    def abort(self) -> None:
        """Break it."""
        if not self.closed:
            self.closed = True
            self._link.connections.remove(self)
            self._peer.gone(self)
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    close = abort

    def is_closing(self) -> bool:
        """Whether it has been broken."""
        return self.closed

    def get_extra_info(self, name: str) -> None:
        """There is no socket."""


def _number(frame: bytes) -> int:
    """What a frame calls the task it is of."""
    return int(HEADER.unpack_from(frame)[4])
