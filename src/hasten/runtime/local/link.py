"""An emulated link in user space, without root: a relay between devices and edge that transmits frame by frame.

Upwards each frame waits for its turn, first come first served by when it was wholly at the relay, and takes as long as
the rate over that time needs for its bytes; half the round trip later it is delivered. Downwards only half the round
trip passes: answers are small. Shared: one serial link for all devices; dedicated: one for each. Bytes counted are
those of whole frames. Before the start of a run the first rate holds, so devices can connect and measure.

TCP ends at the relay, so neither loss nor slow start are emulated: that is the world of the timing law, with real
processes and sockets around it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hasten.core.decision import DEAD_LINK_BITS_PER_MS
from hasten.core.rates import RateTrace
from hasten.core.timing import stage_end
from hasten.runtime.clock import Clock
from hasten.runtime.sockets import prepare_socket
from hasten.runtime.wire.frames import HEADER, MAGIC

MAX_FRAME_BYTES = 256 << 20
"""A frame that claims to be larger ends its connection."""


class SerialLink:
    """One serial link: when a frame handed over now will have been sent. Times are this machine's clock in ms."""

    def __init__(self, trace: RateTrace) -> None:
        self.sent_bytes = 0
        self._trace = trace
        self._first_rate = max(float(trace.bits_per_ms[0]), DEAD_LINK_BITS_PER_MS)
        self._start_ms = np.inf
        self._free_ms = -np.inf
        self._factor = 1.0

    def start(self, start_ms: float) -> None:
        """The trace begins at ``start_ms``; until then its first rate holds."""
        self._start_ms = start_ms

    def scale(self, factor: float) -> None:
        """Multiply the trace's rates from now on; frames that were handed over keep their times."""
        self._factor = factor

    def admit(self, now: float, size_bytes: int) -> float:
        """Take a frame of this size; return when its last bit has been sent (infinity: never)."""
        self.sent_bytes += size_bytes
        if now < self._start_ms and self._first_rate <= DEAD_LINK_BITS_PER_MS:
            return np.inf  # lost, so that it does not hold up what comes after the start
        self._free_ms = self.would_end(now, size_bytes)
        return self._free_ms

    def would_end(self, now: float, size_bytes: int) -> float:
        """When a frame of this size would have been sent if it were handed over now."""
        bits = 8.0 * size_bytes / self._factor
        if now < self._start_ms:
            return float(stage_end(now, self._free_ms, bits / self._first_rate))
        begins_ms = max(now, self._free_ms) - self._start_ms
        return self._start_ms + self._trace.transfer_end(begins_ms, bits)


class Relay:
    """Listens once per device and forwards to the edge through the emulated link.

    Args:
        edge_host: where the edge listens.
        edge_port: likewise.
        rtt_ms: round trip, half of it each way.
        clock: tells the time and when frames are due; closed with the relay.
        host: where to listen.

    Attributes:
        ports: where device i connects.
        silent: swallow everything.
    """

    def __init__(self, edge_host: str, edge_port: int, rtt_ms: float, clock: Clock, host: str = "127.0.0.1") -> None:
        self.ports: list[int] = []
        self.half_rtt_ms = 0.5 * rtt_ms
        self.silent = False
        self._edge = (edge_host, edge_port)
        self._host = host
        self._links: list[SerialLink] = []
        self._servers: list[asyncio.Server] = []
        self._pairs: set[_Upward] = set()
        self._clock = clock

    async def listen(self, devices: int) -> None:
        """Open a port for each device."""
        loop = asyncio.get_running_loop()
        for device in range(devices):
            server = await loop.create_server(lambda device=device: _Upward(self, device), self._host, 0)  # type: ignore[misc]
            self._servers.append(server)
            self.ports.append(server.sockets[0].getsockname()[1])

    def load(self, traces: Sequence[RateTrace]) -> None:
        """Take new link rates, one trace for all devices or one for each; each holds its first rate until ``start``."""
        self._links = [SerialLink(trace) for trace in traces]

    def start(self, start_ms: float) -> None:
        """The traces begin at ``start_ms`` of this machine's monotonic clock."""
        for link in self._links:
            link.start(start_ms)

    def scale(self, factor: float) -> None:
        """Multiply every link's rates from now on, until the next ``load``."""
        for link in self._links:
            link.scale(factor)

    def cut(self) -> None:
        """Break every connection."""
        for pair in list(self._pairs):
            pair.close()

    async def close(self) -> None:
        """Stop for good."""
        for server in self._servers:
            server.close()
        self.cut()
        await asyncio.to_thread(self._clock.close)

    def sent_bytes(self) -> int:
        """Bytes of all frames that were handed to the links since ``load``."""
        return sum(link.sent_bytes for link in self._links)

    def upward(self, device: int, frame: bytes, target: asyncio.WriteTransport) -> None:
        """Send a device's frame to the edge."""
        if self.silent:
            return
        link = self._links[device if len(self._links) > 1 else 0]
        end_ms = link.admit(self._clock.now_ms(), len(frame))
        if np.isfinite(end_ms):
            self._clock.call_at(end_ms + self.half_rtt_ms, lambda: _write(target, frame))

    def downward(self, data: bytes, target: asyncio.WriteTransport) -> None:
        """Send the edge's bytes to a device."""
        if not self.silent:
            self.later(lambda: _write(target, data))

    def later(self, call: Callable[[], None]) -> None:
        """Do something after half a round trip, in the order of the calls."""
        self._clock.call_at(self._clock.now_ms() + self.half_rtt_ms, call)


class _Upward(asyncio.Protocol):
    """A device's side of a pair: cuts what it sends into frames."""

    def __init__(self, relay: Relay, device: int) -> None:
        self._relay, self._device = relay, device
        self._received = bytearray()
        self._transport: Any = None
        self._edge: Any = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect on to the edge."""
        self._transport = transport
        prepare_socket(transport.get_extra_info("socket"))
        self._relay._pairs.add(self)
        self._connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._edge, _ = await loop.create_connection(lambda: _Downward(self), *self._relay._edge)
        except OSError:
            self.close()
            return
        prepare_socket(self._edge.get_extra_info("socket"))
        for frame in self._early:
            self._relay.upward(self._device, frame, self._edge)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        """Pass on every frame that is complete."""
        self._received += data
        while len(self._received) >= HEADER.size:
            magic, *_, size, _ = HEADER.unpack_from(self._received)
            if magic != MAGIC or size > MAX_FRAME_BYTES:  # not ours to judge: let the edge say what is wrong
                self._forward(bytes(self._received))
                self._received.clear()
                return
            end = HEADER.size + size
            if len(self._received) < end:
                return
            self._forward(bytes(self._received[:end]))
            del self._received[:end]

    def _forward(self, frame: bytes) -> None:
        if self._edge is None:
            self._early.append(frame)
        else:
            self._relay.upward(self._device, frame, self._edge)

    def down(self, data: bytes) -> None:
        """Bytes came back from the edge."""
        self._relay.downward(data, self._transport)

    def edge_closed(self) -> None:
        """The edge has closed: so do we, once its last bytes are through."""
        self._relay.later(self.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other side too."""
        self.close()

    def close(self) -> None:
        """Break both sides."""
        self._relay._pairs.discard(self)
        self._connecting.cancel()
        for transport in (self._transport, self._edge):
            if transport is not None:
                transport.abort()


class _Downward(asyncio.Protocol):
    """The edge's side of a pair."""

    def __init__(self, upward: _Upward) -> None:
        self._upward = upward

    def data_received(self, data: bytes) -> None:
        self._upward.down(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._upward.edge_closed()


def _write(target: asyncio.WriteTransport, data: bytes) -> None:
    if not target.is_closing():
        target.write(data)
