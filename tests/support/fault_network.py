"""Connections like TCP's in virtual time: streams of bytes with two ends, which may hang, break or be half open.

What TCP cannot do is not played: bytes of a connection that goes on are not lost, they are late. Frames are doubled or
damaged as a broken relay would: on a stream that TCP calls sound.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from hasten.runtime.clock import Clock

RATE_BITS_PER_MS, DELAY_MS = 2000.0, 3.0
KEEP_ALIVE_MS = 120_000.0
"""After so long the system calls a connection dead whose other end has vanished; ours do in a quarter of it."""
UNSENT_WEIGHT = 100
"""An end's unsent bytes count so many times, so that a short run meets the limits."""

Mangle = Callable[[bytes], bytes]


class FaultyLink:
    """One device's way to the edge: a dialer whose connections end at ``accept``.

    Attributes:
        rate_bits_per_ms: upwards; downwards nothing takes time but the delay.
        jitter_ms: gives how much later than usual bytes arrive; later ones wait for them.
        dead: directions ("up", "down") in which bytes wait until they are let through again.
        refuses: why no connection can be made, if so.
        mangle: what becomes of a frame, by direction.
        cuts: breaks the connection in the middle of the next task's frame.
    """

    def __init__(
        self, clock: Clock, accept: Callable[[End], bool], pieces: Callable[[int], list[int]], where: str = "edge"
    ) -> None:
        """``accept`` gives an end its protocol, if somebody listens; ``pieces`` cuts so many bytes into segments.

        ``where`` is what the edge is called.
        """
        self.clock, self.pieces = clock, pieces
        self.encrypted, self.where = False, where
        self.rate_bits_per_ms = RATE_BITS_PER_MS
        self.jitter_ms: Callable[[], float] = lambda: 0.0
        self.dead: set[str] = set()
        self.refuses: str | None = None
        self.mangle: dict[str, Mangle] = {}
        self.cuts = False
        self.ends: list[End] = []
        self.free_ms = 0.0
        self._accept = accept

    async def dial(self, make: Callable[[], asyncio.BufferedProtocol]) -> Any:
        """Connect; one round trip, or as long as nothing comes through."""
        await asyncio.sleep(2.0 * DELAY_MS / 1000.0)
        waited_ms = 0.0
        while self.dead and self.refuses is None:
            await asyncio.sleep(0.2)
            waited_ms += 200.0
            if waited_ms >= 10_000.0:
                raise ConnectionError("no answer")
        if self.refuses is not None:
            raise ConnectionError(self.refuses)
        near, far = End(self, "up"), End(self, "down")
        near.peer, far.peer = far, near
        if not self._accept(far):
            raise ConnectionError("connection refused")
        self.ends = [end for end in self.ends if not end.closed] + [near, far]
        near.protocol = make()
        near.protocol.connection_made(near)
        return near

    def revive(self, *directions: str) -> None:
        """Bytes come through again, those that waited first."""
        self.dead.difference_update(directions)
        for end in self.ends:
            if end.direction not in self.dead:
                held, end.held = end.held, []
                for item in held:
                    end.carry(item)

    def reset(self) -> None:
        """Break every connection; both ends notice at once."""
        for end in list(self.ends):
            end.lost()

    def near_ends(self) -> list[End]:
        """The device's ends of its open connections."""
        return [end for end in self.ends if end.direction == "up" and not end.closed]


class End:
    """One end of a connection: the transport of the protocol there.

    Attributes:
        closed: nothing comes or goes any more.
        reads: whether what arrives is taken.
        swallowed: what is written vanishes, and nobody is told.
        silent: nobody is at this end any more, and the other end was not told.
    """

    peer: End
    protocol: Any

    def __init__(self, link: FaultyLink, direction: str) -> None:
        self.link, self.direction = link, direction
        self.closed = self.swallowed = self.silent = False
        self.reads = True
        self.held: list[bytes | None] = []
        self._arrived: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._last_ms = 0.0

    def write(self, data: bytes) -> None:
        """A whole frame; that is how both sides write."""
        if self.closed:
            return
        link = self.link
        mangle = link.mangle.get(self.direction)
        if mangle is not None:
            data = mangle(bytes(data))
        if link.cuts and self.direction == "up" and len(data) > 500:
            link.cuts = False
            self._unsent_bytes += len(data) // 2
            self.carry(data[: len(data) // 2])
            link.clock.call_at(link.clock.now_ms() + DELAY_MS, link.reset)
            return
        self._unsent_bytes += len(data)
        self.carry(data)

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        """Several pieces of one frame."""
        self.write(b"".join(parts))

    def carry(self, item: bytes | None) -> None:
        """Have bytes, or the word that this end is closed, arrive at the other end in their turn."""
        link = self.link
        if self.swallowed:
            return
        if self.direction in link.dead:
            self.held.append(item)
            return
        now = link.clock.now_ms()
        leaves_ms = now
        if self.direction == "up" and item is not None:
            leaves_ms = link.free_ms = max(now, link.free_ms) + 8.0 * len(item) / link.rate_bits_per_ms
        self._last_ms = max(leaves_ms + DELAY_MS + link.jitter_ms(), self._last_ms)
        link.clock.call_at(self._last_ms, lambda: self.peer.receive(item))

    def receive(self, item: bytes | None) -> None:
        """Bytes have arrived, or (None) the other end has closed."""
        if self.silent:
            return
        if item is None:
            self.lost()
        elif self.closed:
            self.peer.receive(None)
        else:
            self._arrived.append(item)
            self.read()

    def read(self) -> None:
        """Take what has arrived."""
        while self._arrived and self.reads and not self.closed:
            item = self._arrived.popleft()
            self.peer._unsent_bytes -= len(item)
            for size in self.link.pieces(len(item)):
                self._feed(item[:size])
                item = item[size:]

    def _feed(self, data: bytes) -> None:
        while data and not self.closed:
            buffer = self.protocol.get_buffer(-1)
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            data = data[count:]
            self.protocol.buffer_updated(count)

    def lost(self) -> None:
        """The connection is gone, as far as this end can know."""
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def vanish(self) -> None:
        """Nobody is here any more, and nobody says so; in the end the other end's system notices."""
        self.closed = self.silent = True
        clock = self.link.clock
        clock.call_at(clock.now_ms() + KEEP_ALIVE_MS, self.peer.lost)

    def swallow(self) -> None:
        """Nothing comes through either way any more, and no end is told."""
        clock = self.link.clock
        for end in (self, self.peer):
            end.swallowed = True
            clock.call_at(clock.now_ms() + KEEP_ALIVE_MS, end.lost)

    def abort(self) -> None:
        """Break it."""
        if not self.closed:
            self.carry(None)
            self.lost()

    close = abort

    def is_closing(self) -> bool:
        """Whether it has been closed."""
        return self.closed

    def get_write_buffer_size(self) -> int:
        """What the other end has not taken yet."""
        return UNSENT_WEIGHT * self._unsent_bytes

    def get_extra_info(self, name: str) -> None:
        """There is no socket."""
