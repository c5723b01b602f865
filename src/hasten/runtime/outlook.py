"""What a device can see of the three resources when a task arrives: exact for its own, projected for the others.

The device's own backlog is the planned work in its queue. The uplink's is a projection of all its own transfers that
are not answered yet, those still in device compute included, at the estimated rate; other devices show only in that
rate. The edge's is its last report, less the time since, plus own tasks that the report cannot have counted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from hasten.core.timing import stage_end
from hasten.runtime.estimate import LinkEstimate
from hasten.runtime.wire import LoadReport


@dataclass(eq=False, slots=True)
class Transfer:
    """One own frame: planned, under way, or answered."""

    bits: float
    ready_ms: float
    """When it was handed to the link, or is planned to be."""
    edge_ms: float
    sent: bool = False


class Outlook:
    """Projects backlogs; all times are this device's clock in milliseconds.

    After ``update(now)``: ``device_wait_ms``, ``uplink_wait_ms``, ``edge_wait_ms`` (per worker, ascending) and
    ``rate_bits_per_ms``.
    """

    def __init__(self, link: LinkEstimate, workers: int = 1) -> None:
        self.device_wait_ms = 0.0
        self.uplink_wait_ms = 0.0
        self.edge_wait_ms = [0.0] * workers
        self.rate_bits_per_ms = 0.0
        self._link = link
        self._transfers: deque[Transfer] = deque()
        self._left_ms = 0.0
        self._report_ms = [0.0] * workers
        self._reported_ms = 0.0

    def plan_transfer(self, bits: float, ready_ms: float, edge_ms: float) -> Transfer:
        """A transfer was decided on; it will be ready about ``ready_ms``."""
        transfer = Transfer(bits, ready_ms, edge_ms)
        self._transfers.append(transfer)
        return transfer

    def transfer_sent(self, transfer: Transfer, bits: float, now_ms: float) -> None:
        """A transfer was handed to the link; its true size is known by now."""
        transfer.bits, transfer.ready_ms, transfer.sent = bits, now_ms, True

    def transfer_gone(self, transfer: Transfer) -> None:
        """A transfer will not happen, or nobody waits for its answer any more."""
        if transfer in self._transfers:
            self._transfers.remove(transfer)

    def transfer_answered(self, transfer: Transfer, now_ms: float, edge_total_ms: float) -> None:
        """An answer came back; ``edge_total_ms`` is the time it spent at the edge."""
        left_ms = now_ms - edge_total_ms - self._link.rtt_ms
        self._link.transfer(max(transfer.ready_ms, self._left_ms), left_ms, transfer.bits)
        self._left_ms = max(self._left_ms, left_ms)
        self.transfer_gone(transfer)

    def edge_reported(self, report: LoadReport, now_ms: float) -> None:
        """A load report arrived."""
        self._report_ms = list(report.backlog_ms)
        self._reported_ms = now_ms - 0.5 * self._link.rtt_ms

    def reconnected(self, workers: int) -> None:
        """A new connection begins with an idle edge as far as is known."""
        self._report_ms = [0.0] * workers
        self._reported_ms = 0.0
        self._left_ms = 0.0

    def update(self, now_ms: float, connected: bool, device_wait_ms: float) -> None:
        """Project everything committed so far to ``now_ms``; the device's own backlog is given."""
        self.device_wait_ms = device_wait_ms
        rate = self._link.rate_bits_per_ms if connected else 0.0
        oldest = self._transfers[0] if self._transfers else None
        if rate > 0 and oldest is not None and oldest.sent:
            rate = min(rate, self._rate_bound(oldest, now_ms))
        self.rate_bits_per_ms = rate
        free_ms = self._left_ms
        workers = [max(self._reported_ms + backlog, now_ms) for backlog in self._report_ms]
        if rate > 0:
            half_rtt_ms = 0.5 * self._link.rtt_ms
            for transfer in self._transfers:
                free_ms = float(stage_end(transfer.ready_ms, free_ms, transfer.bits / rate))
                arrives_ms = free_ms + half_rtt_ms
                if arrives_ms > self._reported_ms:
                    earliest = workers.index(min(workers))
                    workers[earliest] = float(stage_end(arrives_ms, workers[earliest], transfer.edge_ms))
        self.uplink_wait_ms = max(free_ms - now_ms, 0.0)
        self.edge_wait_ms = sorted(worker - now_ms for worker in workers)

    def seen(self) -> dict[str, Any]:
        """What was last projected, for the log: unrounded, so that a decision can be made again from it."""
        return {
            "device_wait_ms": self.device_wait_ms,
            "uplink_wait_ms": self.uplink_wait_ms,
            "edge_wait_ms": list(self.edge_wait_ms),
            "rate_bits_per_ms": self.rate_bits_per_ms,
            "rtt_ms": round(self._link.rtt_ms, 4),
        }

    def _rate_bound(self, oldest: Transfer, now_ms: float) -> float:
        """A transfer that is overdue bounds the rate from above: it would have been answered at any higher one."""
        away_ms = now_ms - max(oldest.ready_ms, self._left_ms) - self._link.rtt_ms - oldest.edge_ms - self._waited()
        return oldest.bits / away_ms if away_ms > 0 else float("inf")

    def _waited(self) -> float:
        """How long a task may have queued at the edge by its last report."""
        return min(self._report_ms, default=0.0)
