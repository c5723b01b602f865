"""What a device can see of the three resources when a task arrives: exact for its own, projected for the others.

The device's own backlog is the planned work in its queue. Those of uplink and edge are projected by the law in
``core.estimators``, own transfers still in device compute included.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from hasten.core.estimators import (
    due_at_edge,
    hold_up,
    is_at_edge,
    left_at,
    project_frame,
    rate_bound,
    reported_at,
    unseen_wait,
    worker_free,
)
from hasten.core.task_log import Seen
from hasten.runtime.device.estimate import LinkEstimate
from hasten.runtime.wire.load import LoadReport

NO_OTHERS = 0.0, 0.0
"""The forecast where nothing is known of others."""


@dataclass(eq=False, slots=True)
class Transfer:
    """One own frame: planned, under way, or answered."""

    bits: float
    ready_ms: float
    """When it was handed to the link, or is planned to be."""
    edge_ms: float
    sent: bool = False
    due_ms: float = math.inf
    """When the edge should be done with it; known once the edge is known to have it."""
    behind_ms: float = 0.0
    """When the last of those that were sent before it, and are answered, had left."""


class BacklogEstimator:
    """Projects backlogs; all times are this device's clock in milliseconds.

    After ``update(now)``: ``device_wait_ms``, ``uplink_wait_ms``, ``edge_wait_ms`` (per worker, ascending) and
    ``rate_bits_per_ms``.
    """

    def __init__(self, link: LinkEstimate, workers: int = 1) -> None:
        self.device_wait_ms = 0.0
        self.uplink_wait_ms = 0.0
        self.edge_wait_ms = [0.0] * workers
        self.rate_bits_per_ms = 0.0
        self.unseen_wait_ms = 0.0
        """What an own frame waits, on average, for work of others that no report holds yet."""
        self.held_up = False
        """Whether the edge has had an own task for longer than it should have needed."""
        self._link = link
        self._transfers: deque[Transfer] = deque()
        self._left_ms = 0.0
        self._report_ms = [0.0] * workers
        self._reported_ms = 0.0
        self._others = NO_OTHERS

    def plan_transfer(self, bits: float, ready_ms: float, edge_ms: float) -> Transfer:
        """A transfer was decided on; it will be ready about ``ready_ms``."""
        transfer = Transfer(bits, ready_ms, edge_ms)
        self._transfers.append(transfer)
        return transfer

    def transfer_sent(self, transfer: Transfer, bits: float, now_ms: float) -> None:
        """A transfer was handed to the link; its true size is known by now."""
        transfer.bits, transfer.ready_ms, transfer.sent = bits, now_ms, True
        transfer.behind_ms = self._left_ms

    def transfer_gone(self, transfer: Transfer) -> None:
        """A transfer will not happen, or nobody waits for its answer any more."""
        if transfer in self._transfers:
            self._transfers.remove(transfer)

    def arrived_before(self, sent_ms: float, report: LoadReport, now_ms: float) -> None:
        """A ping that was sent at ``sent_ms`` has been answered: the edge has all frames sent before it.

        They are part of the load that it reports, and should be done when all that is.
        """
        at_edge_ms, all_ms = reported_at(now_ms, self._link.rtt_ms), max(report.backlog_ms)
        for transfer in self._transfers:
            if transfer.sent and is_at_edge(transfer.ready_ms, sent_ms) and math.isinf(transfer.due_ms):
                transfer.due_ms = due_at_edge(at_edge_ms, all_ms, transfer.edge_ms)

    def transfer_answered(self, transfer: Transfer, now_ms: float, beside_ms: float) -> None:
        """An answer came back; ``beside_ms`` is the time spent at the edge and on handling, beside the round trip.

        One that comes before that to an earlier frame tells nothing of the rate: when that had left is not known yet.
        """
        self.transfer_gone(transfer)
        left_ms, others = left_at(now_ms, beside_ms, self._link.rtt_ms), [each for each in self._transfers if each.sent]
        if all(each.ready_ms >= transfer.ready_ms for each in others):
            self._link.transfer(max(transfer.ready_ms, transfer.behind_ms), left_ms, transfer.bits)
        for each in others:
            if each.ready_ms >= transfer.ready_ms:
                each.behind_ms = max(each.behind_ms, left_ms)
        self._left_ms = max(self._left_ms, left_ms)

    def edge_reported(self, report: LoadReport, now_ms: float) -> None:
        """A load report arrived; one of another number of workers than planned with is cut or filled up."""
        workers = len(self._report_ms)
        backlog_ms = list(report.backlog_ms[:workers])
        self._report_ms = backlog_ms + [backlog_ms[-1]] * (workers - len(backlog_ms))
        self._reported_ms = reported_at(now_ms, self._link.rtt_ms)
        self._others = report.others_load, report.others_residual_ms

    def planned_for(self, workers: int) -> None:
        """The edge has so many workers; of their work nothing is known."""
        self._report_ms = [max(self._report_ms, default=0.0)] * workers

    def disconnected(self, now_ms: float) -> None:
        """The connection is gone: what the edge was to do stays its backlog until it reports again."""
        left_ms = sorted(max(self._reported_ms + backlog - now_ms, 0.0) for backlog in self._report_ms)
        for transfer in self._transfers:
            if transfer.sent:
                left_ms[0] += transfer.edge_ms
                left_ms.sort()
        self._report_ms, self._reported_ms, self._others = left_ms, now_ms, NO_OTHERS
        self._left_ms = 0.0

    def update(self, now_ms: float, connected: bool, device_wait_ms: float) -> None:
        """Project everything committed so far to ``now_ms``; the device's own backlog is given."""
        self.device_wait_ms = device_wait_ms
        rate = self._link.rate_bits_per_ms if connected else 0.0
        oldest = self._transfers[0] if self._transfers else None
        if rate > 0 and oldest is not None and oldest.sent and math.isinf(oldest.due_ms):
            rate = min(rate, self._rate_bound(oldest, now_ms))
        self.rate_bits_per_ms = rate
        free_ms = self._left_ms
        count, (load, residual_ms) = len(self._report_ms), self._others
        self.unseen_wait_ms = unseen_wait(load, residual_ms, count)
        workers = [worker_free(self._reported_ms, backlog, now_ms, load, count) for backlog in self._report_ms]
        overdue = 0
        if rate > 0:
            rtt_ms, reported_ms = self._link.rtt_ms, self._reported_ms
            for transfer in self._transfers:
                if transfer.due_ms < math.inf:  # the edge has it, and had it when it last reported
                    overdue += hold_up(workers, overdue, transfer.due_ms, now_ms)
                else:
                    took_ms = transfer.bits / rate
                    free_ms = project_frame(
                        workers, free_ms, transfer.ready_ms, took_ms, transfer.edge_ms, rtt_ms, reported_ms
                    )
        self.held_up = overdue > 0
        self.uplink_wait_ms = max(free_ms - now_ms, 0.0)
        self.edge_wait_ms = sorted(worker - now_ms for worker in workers)

    def seen(self, now_ms: float, kept_share: tuple[tuple[float, ...], tuple[float, ...]]) -> Seen:
        """What was last projected, for the log: unrounded, so that a decision can be made again from it.

        ``now_ms`` counts from the start of the run; ``kept_share`` are the stream's curves, local and of this edge.
        """
        return Seen(
            now_ms=now_ms,
            device_wait_ms=self.device_wait_ms,
            uplink_wait_ms=self.uplink_wait_ms,
            edge_wait_ms=tuple(self.edge_wait_ms),
            rate_bits_per_ms=self.rate_bits_per_ms,
            unseen_wait_ms=self.unseen_wait_ms,
            rtt_ms=round(self._link.rtt_ms, 4),
            kept_share=kept_share,
        )

    def link_wait_ms(self, now_ms: float) -> float:
        """How long a frame handed over now waits behind own frames that the edge is not known to have.

        Infinitely, as far as is known, at a rate that was never measured.
        """
        rate = self._link.rate_bits_per_ms
        free_ms = self._left_ms
        for transfer in self._transfers:
            if transfer.sent and math.isinf(transfer.due_ms):
                free_ms = max(transfer.ready_ms, free_ms) + (transfer.bits / rate if rate > 0 else math.inf)
        return max(free_ms - now_ms, 0.0)

    def link_idle(self) -> bool:
        """Whether no own frame may still be on its way up."""
        return not any(transfer.sent and math.isinf(transfer.due_ms) for transfer in self._transfers)

    def _rate_bound(self, oldest: Transfer, now_ms: float) -> float:
        """What the rate can be at most while the oldest transfer is unanswered."""
        spent_ms = self._link.rtt_ms + oldest.edge_ms + self._waited()
        return rate_bound(max(oldest.ready_ms, oldest.behind_ms), oldest.bits, now_ms, spent_ms)

    def _waited(self) -> float:
        """How long a task may have queued at the edge by its last report."""
        return min(self._report_ms, default=0.0)
