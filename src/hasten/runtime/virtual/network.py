"""A link in virtual time: serial upwards at a rate, with delays both ways and faults to order; it leads to one edge."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, Protocol

from hasten.runtime.clock import Clock
from hasten.runtime.wire.frames import HEADER, Kind

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
        rate_bits_per_ms: of the way up; infinite takes no time.
        up_ms, down_ms: what passes besides, each way.
        up, down: fates of frames.
        refuses: why no connection can be made, if so.
        sent_bytes: by kind of frame, both ways.
    """

    def __init__(self, clock: Clock, peer: Peer, rate_bits_per_ms: float = 1e4, rtt_ms: float = 10.0) -> None:
        self.rate_bits_per_ms = rate_bits_per_ms
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
        self._link_free_ms = self._up_ms = self._down_ms = -math.inf
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
        fate = self._link.up(self._link.count(frame), frame)
        if fate is None or self.closed:
            return
        now = self._clock.now_ms()
        self._link_free_ms = max(now, self._link_free_ms) + 8.0 * len(frame) / self._link.rate_bits_per_ms
        self._up_ms = max(self._link_free_ms + self._link.up_ms + fate, self._up_ms)
        self._clock.call_at(self._up_ms, lambda: None if self.closed else self._peer.frame(self, frame))

    def deliver(self, frame: bytes) -> None:
        """Send a frame down to the device."""
        fate = self._link.down(self._link.count(frame), frame)
        if fate is None or self.closed:
            return
        self._down_ms = max(self._clock.now_ms() + self._link.down_ms + fate, self._down_ms)
        self._clock.call_at(self._down_ms, lambda: self._receive(frame))

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
