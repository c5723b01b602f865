"""Pings: plain ones tell the round trip, the edge's clock and that it is alive, padded ones the link's rate.

While frames are sent, pings ride along: one ahead of a frame that finds the link idle, and one now and then while an
answer is waited for. Otherwise they are few, the fewer the longer nothing was offloaded: an estimate may be as old as a
tenth of the time since it was last used, and what idle probing costs stays within a budget of bytes. When a decision
would be another at a better link, and nothing is known of it any more, the rate is probed for that decision's sake.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import numpy as np

from hasten.core.profile import Profile
from hasten.runtime.clock import Clock
from hasten.runtime.device.backlog_estimate import BacklogEstimator, Transfer
from hasten.runtime.device.estimate import LinkEstimate
from hasten.runtime.device.uplink import Uplink
from hasten.runtime.wire.frames import HEADER, LoadReport, pong_bytes

WARM_UP_PINGS = 8
WARM_UP_PROBES = 3
WARM_UP_TIMEOUT_S = 3.0
PING_PAUSE_S = 0.02
"""Between warm-up pings, so that they find threads and caches as cold as a task does that comes now and then."""
PROBE_MS = 5.0
"""A probe of a known link takes about so long: long against timing noise, short against the time between probes."""
LEAST_PROBE_BYTES, MOST_PROBE_BYTES = 256, 8192
RIDING_MS = 200.0
"""With tasks under way, so often a ping rides along."""
WAITING_MS = 100.0
"""And so often one is sent while frames are unanswered and none is under way."""
RATE_STALE_MS = 500.0
"""An estimate older than this says little of a link that changes."""
IDLE_MS, IDLE_SHARE, IDLE_MOST_MS = 1000.0, 0.1, 60_000.0
"""Idle pings come at least so far apart, then at this share of the time since a frame was last sent, at most that."""
BUDGET_BYTES_PER_S, BUDGET_BYTES = 60.0, 600.0
"""What idle probing may cost, answers included: on average, and saved up."""


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
        """``may_offload`` says whether there is anything that a link could be used for."""
        self._clock, self._uplink, self._link, self._backlogs = clock, uplink, link, backlogs
        self._probe_bytes = probe_bytes
        self._pending: dict[int, _PendingPing] = {}
        self._sequence = 0
        self._pong_bytes = pong_bytes(1)
        self._may_offload, self._ever_used = may_offload, False
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
            async with asyncio.timeout(WARM_UP_TIMEOUT_S):
                for padding in [0] * WARM_UP_PINGS + [self._probe_bytes] * WARM_UP_PROBES:
                    if self._uplink is None or not self._uplink.connected:
                        return
                    await asyncio.wait([self._send(padding)])  # whose future is cancelled if the connection breaks
                    await asyncio.sleep(PING_PAUSE_S)

    def ahead(self, now: float) -> None:
        """A frame is about to be sent."""
        self._used_ms, self._ever_used = now, True
        if now - self._clean_ms > RIDING_MS and self._backlogs.link_idle():
            self._send(0)

    def may_want(self, now: float) -> bool:
        """Whether the rate is so old that it might be worth probing."""
        looked_ms = max(self._link.updated_ms, self._wanted_ms)
        return self._ever_used and now - looked_ms > max(RATE_STALE_MS, self._pause_ms(now))

    def wanted(self, now: float) -> None:
        """A decision would be another one at a better link: look whether it is better by now."""
        self._wanted_ms = now
        self._send(0)
        self._send(self._refresher_bytes())

    def watch(self, now: float, frames_wait: bool) -> None:
        """Called every now and then while connected."""
        waiting = [ping.sent_ms for ping in self._pending.values() if ping.clean]
        if waiting:
            self._link.ping_waits(now - min(waiting))
        if frames_wait:
            if not self._pending and now - self._sent_ms >= max(WAITING_MS, self._pause_ms(now)):
                self._send(0)
            return
        saved = self._saved_bytes + BUDGET_BYTES_PER_S * (now - self._saved_ms) / 1000.0
        self._saved_bytes, self._saved_ms = min(saved, BUDGET_BYTES), now
        if not self._pending and now - self._sent_ms >= max(IDLE_MS, self._pause_ms(now)):
            self._idle(now)

    def _idle(self, now: float) -> None:
        """Renew what is stale, as far as the budget goes."""
        plain = HEADER.size + self._pong_bytes
        padding = self._refresher_bytes()
        if self._saved_bytes < plain:
            return
        self._saved_bytes -= plain
        self._send(0)
        stale = now - self._link.updated_ms > RATE_STALE_MS
        if stale and self._saved_bytes >= plain + padding:
            self._saved_bytes -= plain + padding
            self._send(padding)

    def _pause_ms(self, now: float) -> float:
        return min(IDLE_SHARE * (now - self._used_ms), IDLE_MOST_MS) if self._may_offload else IDLE_MOST_MS

    def _refresher_bytes(self) -> int:
        """Padding that occupies the link for a few milliseconds at its last known rate."""
        if self._link.rate_bits_per_ms <= 0:
            return LEAST_PROBE_BYTES
        return int(min(max(self._link.rate_bits_per_ms * PROBE_MS / 8.0, LEAST_PROBE_BYTES), MOST_PROBE_BYTES))

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
        self._sequence += 1
        now = self._clock.now_ms()
        clean = self._backlogs.link_idle()
        transfer = None
        if padding_bytes:
            bits = 8.0 * (HEADER.size + padding_bytes)
            transfer = self._backlogs.plan_transfer(bits, now, 0.0)
            self._backlogs.transfer_sent(transfer, bits, now)
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending[self._sequence] = _PendingPing(now, transfer, clean and not padding_bytes, answered)
        self._sent_ms = now
        if clean and not padding_bytes:
            self._clean_ms = now
        self._uplink.ping(self._sequence, padding_bytes)
        return answered


def probe_bytes(profile: Profile) -> int:
    """Padding of the first probes of a link: a typical payload."""
    sizes = [profile.input_bytes, *(block.output_bytes for block in profile.blocks)]
    return int(min(max(np.median(sizes), 1500.0), MOST_PROBE_BYTES))
