"""Pings: plain ones tell the round trip, the edge's clock and that it is alive, padded ones the link's rate.

When they are sent is in ``core.ping_schedule``; here is how.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from hasten.core import ping_schedule
from hasten.core.ping_schedule import (
    BUDGET_BYTES,
    WARM_UP_MS,
    WARM_UP_PAUSE_MS,
    WARM_UP_PINGS,
    WARM_UP_PROBES,
    probe_padding_bytes,
)
from hasten.runtime.clock import Clock
from hasten.runtime.device.backlog_estimate import BacklogEstimator, Transfer
from hasten.runtime.device.estimate import LinkEstimate
from hasten.runtime.device.uplink import Uplink
from hasten.runtime.wire.frames import HEADER, MOST_TASK
from hasten.runtime.wire.load import LoadReport, pong_bytes


@dataclass(slots=True)
class _PendingPing:
    sent_ms: float
    transfer: Transfer | None
    clean: bool
    """Whether it found the link idle, so that its time is the round trip."""
    answered: asyncio.Future[None]


class Prober:
    """Sends pings over an uplink and gives what they tell to the estimate and the backlogs."""

    def __init__(
        self,
        clock: Clock,
        uplink: Uplink | None,
        link: LinkEstimate,
        backlogs: BacklogEstimator,
        probe_bytes: int,
        may_offload: bool = True,
    ) -> None:
        """``may_offload``: there is something that a link could be used for."""
        self._clock, self._uplink, self._link, self._backlogs = clock, uplink, link, backlogs
        self._probe_bytes = probe_bytes
        self._pending: dict[int, _PendingPing] = {}
        self._sequence = 0
        self._pong_bytes = pong_bytes(1)
        self._may_offload = may_offload
        self._clean_ms = self._sent_ms = self._used_ms = self._wanted_ms = 0.0
        self._saved_bytes, self._saved_ms = BUDGET_BYTES, 0.0

    def connected(self, workers: int) -> None:
        """A new connection: pings of the old one are lost; measure round trip and rate of this one."""
        self.disconnected()
        self._pong_bytes = pong_bytes(workers)
        self._used_ms = self._saved_ms = self._clock.now_ms()
        self._send(0)
        self._send(0)
        self._send(self._probe_bytes)

    def disconnected(self) -> None:
        """What was not answered never will be."""
        for ping in self._pending.values():
            ping.answered.cancel()
            if ping.transfer is not None:
                self._backlogs.transfer_gone(ping.transfer)
        self._pending.clear()

    async def warm_up(self) -> None:
        """Measure round trip and rate, one ping after the other; give up quietly on a link too slow for it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WARM_UP_MS / 1000.0):
                for padding in [0] * WARM_UP_PINGS + [self._probe_bytes] * WARM_UP_PROBES:
                    if self._uplink is None or not self._uplink.connected:
                        return
                    await asyncio.wait([self._send(padding)])  # whose future is cancelled if the connection breaks
                    await asyncio.sleep(WARM_UP_PAUSE_MS / 1000.0)

    def ahead(self, now: float) -> None:
        """A frame is about to be sent."""
        self._used_ms = now
        if ping_schedule.rides_along(now, self._clean_ms) and self._backlogs.link_idle():
            self._send(0)

    def may_want(self, now: float) -> bool:
        """Whether the rate is of use, so old that it might be worth probing, and no probe is under way already."""
        if any(ping.transfer is not None for ping in self._pending.values()):
            return False
        looked_ms = max(self._link.updated_ms, self._wanted_ms)
        return self._may_offload and ping_schedule.may_want(now, looked_ms, self._pause_ms(now))

    def wanted(self, now: float) -> None:
        """A decision would be another one at a better link: look whether it is better by now."""
        self._wanted_ms = now
        self._send(0)
        self._send(probe_padding_bytes(self._link.rate_bits_per_ms))

    def watch(self, now: float, frames_wait: bool) -> None:
        """Called every now and then while connected."""
        waiting = [ping.sent_ms for ping in self._pending.values() if ping.clean]
        if waiting:
            self._link.ping_waits(now - min(waiting))
        due = not self._pending and ping_schedule.is_due(now, self._sent_ms, self._pause_ms(now), frames_wait)
        if frames_wait:
            if due:
                self._send(0)
            return
        saved = ping_schedule.saved_bytes(self._saved_bytes, self._saved_ms, now)
        self._saved_bytes, self._saved_ms = saved, now
        if due:
            self._idle(now)

    def _idle(self, now: float) -> None:
        """Renew what is stale, as far as the budget goes."""
        plain = HEADER.size + self._pong_bytes
        padding = probe_padding_bytes(self._link.rate_bits_per_ms)
        if self._saved_bytes < plain:
            return
        self._saved_bytes -= plain
        self._send(0)
        if ping_schedule.is_stale(now, self._link.updated_ms) and self._saved_bytes >= plain + padding:
            self._saved_bytes -= plain + padding
            self._send(padding)

    def _pause_ms(self, now: float) -> float:
        return ping_schedule.pause_ms(now, self._used_ms, self._may_offload)

    def oldest_ms(self) -> float | None:
        """When the oldest ping that is not answered yet was sent."""
        return min((ping.sent_ms for ping in self._pending.values()), default=None)

    def ponged(self, sequence: int, now: float, edge_clock_ms: float, report: LoadReport) -> None:
        """A ping's answer came."""
        ping = self._pending.pop(sequence, None)
        if ping is None:
            return
        if ping.transfer is not None:
            self._backlogs.transfer_answered(ping.transfer, now, 0.0)
            self._link.heard(now, edge_clock_ms)
        elif ping.clean:
            self._link.ping(ping.sent_ms, now, edge_clock_ms)
        else:
            self._link.heard(now, edge_clock_ms)
        self._backlogs.arrived_before(ping.sent_ms, report, now)
        if not ping.answered.done():
            ping.answered.set_result(None)

    def _send(self, padding_bytes: int) -> asyncio.Future[None]:
        assert self._uplink is not None  # only called while connected
        self._sequence = self._sequence % MOST_TASK + 1
        now = self._clock.now_ms()
        clean = self._backlogs.link_idle()
        transfer = None
        if padding_bytes:
            bits = 8.0 * padding_bytes  # the time of the header is part of the round trip
            transfer = self._backlogs.plan_transfer(bits, now, 0.0)
            self._backlogs.transfer_sent(transfer, bits, now)
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending[self._sequence] = _PendingPing(now, transfer, clean and not padding_bytes, answered)
        self._sent_ms = now
        if clean and not padding_bytes:
            self._clean_ms = now
        self._uplink.ping(self._sequence, padding_bytes)
        return answered
