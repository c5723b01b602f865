"""Pings: plain ones tell the round trip and the edge's clock, padded ones the link's rate when nothing else does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np

from hasten.core.profile import Profile
from hasten.runtime.estimate import RATE_STALE_MS, LinkEstimate
from hasten.runtime.outlook import Outlook, Transfer
from hasten.runtime.pace import now_ms
from hasten.runtime.uplink import Uplink
from hasten.runtime.wire import HEADER

WARM_UP_PINGS = 8
WARM_UP_PROBES = 3
WARM_UP_TIMEOUT_S = 3.0
PING_PAUSE_S = 0.02
"""Between warm-up pings, so that they find threads and caches as cold as a task does that comes now and then."""
PROBE_MS = 5.0
"""A probe of a known link takes about so long: long against timing noise, short against the time between probes."""
LEAST_PROBE_BYTES, MOST_PROBE_BYTES = 256, 8192


@dataclass(slots=True)
class _Ping:
    sent_ms: float
    transfer: Transfer | None
    answered: asyncio.Future[None]


class Prober:
    """Sends pings over an uplink and gives what they tell to the estimate."""

    def __init__(self, uplink: Uplink | None, link: LinkEstimate, outlook: Outlook, probe_bytes: int) -> None:
        self._uplink, self._link, self._outlook = uplink, link, outlook
        self._probe_bytes = probe_bytes
        self._pending: dict[int, _Ping] = {}
        self._sequence = 0

    def connected(self) -> None:
        """A new connection: pings of the old one are lost; measure this one soon."""
        for ping in self._pending.values():
            ping.answered.cancel()
            if ping.transfer is not None:
                self._outlook.transfer_gone(ping.transfer)
        self._pending.clear()
        self._send(0)
        self._send(0)

    async def warm_up(self) -> None:
        """Measure round trip and rate, one ping after the other; give up quietly on a link too slow for it."""
        try:
            async with asyncio.timeout(WARM_UP_TIMEOUT_S):
                for padding in [0] * WARM_UP_PINGS + [self._probe_bytes] * WARM_UP_PROBES:
                    if self._uplink is None or not self._uplink.connected:
                        return
                    await self._send(padding)
                    await asyncio.sleep(PING_PAUSE_S)
        except (TimeoutError, asyncio.CancelledError):
            if asyncio.current_task().cancelling():  # type: ignore[union-attr]
                raise

    def refresh(self, now: float) -> None:
        """With nothing under way: renew a stale estimate."""
        if now - self._link.updated_ms > RATE_STALE_MS:
            self._send(0)
            self._send(self._refresher_bytes())

    def _refresher_bytes(self) -> int:
        """Padding that occupies the link for a few milliseconds at its last known rate."""
        if self._link.rate_bits_per_ms <= 0:
            return self._probe_bytes
        return int(min(max(self._link.rate_bits_per_ms * PROBE_MS / 8.0, LEAST_PROBE_BYTES), MOST_PROBE_BYTES))

    def unanswered(self) -> list[float]:
        """When each ping that is not answered yet was sent."""
        return [ping.sent_ms for ping in self._pending.values()]

    def ponged(self, sequence: int, now: float, edge_clock_ms: float) -> None:
        """A ping's answer came."""
        ping = self._pending.pop(sequence, None)
        if ping is None:
            return
        if ping.transfer is None:
            self._link.ping(ping.sent_ms, now, edge_clock_ms)
        else:
            self._outlook.transfer_answered(ping.transfer, now, 0.0)
        if not ping.answered.done():
            ping.answered.set_result(None)

    def _send(self, padding_bytes: int) -> asyncio.Future[None]:
        assert self._uplink is not None  # only called while connected
        self._sequence += 1
        now = now_ms()
        transfer = None
        if padding_bytes:
            bits = 8.0 * (HEADER.size + padding_bytes)
            transfer = self._outlook.plan_transfer(bits, now, 0.0)
            self._outlook.transfer_sent(transfer, bits, now)
        answered = asyncio.get_running_loop().create_future()
        self._pending[self._sequence] = _Ping(now, transfer, answered)
        self._uplink.ping(self._sequence, padding_bytes)
        return answered


def probe_bytes(profile: Profile) -> int:
    """Padding of the first probes of a link: a typical payload."""
    sizes = [profile.input_bytes, *(block.output_bytes for block in profile.blocks)]
    return int(min(max(np.median(sizes), 1500.0), MOST_PROBE_BYTES))
