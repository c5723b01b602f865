"""What one device sees at a decision: the view (B = 1) that its scheduler is shown, and the same for the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hasten.core.calibration import Curves
from hasten.core.decision import EdgeView, View
from hasten.core.task_log import Seen, SeenEdge
from hasten.runtime.device.beliefs import Beliefs


class OwnView:
    """Filled from what is believed of each edge; ``beliefs`` and ``workers`` are by edge.

    Attributes:
        view: as it was filled last.
    """

    def __init__(self, beliefs: Sequence[Beliefs], workers: Sequence[int], streams: int, curves: Curves) -> None:
        self._beliefs, self._curves = beliefs, curves
        self.view = View(
            row=np.zeros(1, np.int64),
            now_ms=np.zeros(1),
            stream=np.zeros(1, np.int64),
            device_wait_ms=np.zeros(1),
            uplink_wait_ms=np.zeros(1),
            edge_wait_ms=np.zeros((1, workers[0])),
            rate_bits_per_ms=np.zeros(1),
            others_wait_ms=np.zeros((1, streams)),
            further_edges=tuple(
                EdgeView(np.zeros(1), np.zeros((1, count)), np.zeros(1), np.array([of_edge.rtt_ms]))
                for of_edge, count in zip(beliefs[1:], workers[1:], strict=True)
            ),
            kept_share=curves.share,
        )

    def fill(self, waited_ms: float) -> View:
        """The view now, of a task for which all backlogs are so much longer (see ``deadlines``)."""
        backlogs, view = self._beliefs[0].backlogs, self.view
        view.device_wait_ms[0] = backlogs.device_wait_ms + waited_ms
        view.uplink_wait_ms[0] = backlogs.uplink_wait_ms + waited_ms
        view.edge_wait_ms[0] = backlogs.edge_wait_ms
        view.edge_wait_ms += waited_ms
        view.unseen_wait_ms = np.array([backlogs.unseen_wait_ms])
        view.rate_bits_per_ms[0] = backlogs.rate_bits_per_ms
        view.others_wait_ms[0, 0] = view.device_wait_ms[0]  # the view's stream is 0, whichever of the run's it is
        if view.further_edges:
            view.further_edges = tuple(_seen_of(beliefs, waited_ms) for beliefs in self._beliefs[1:])
        return view

    def logged(self, now_ms: float) -> Seen:
        """What was last believed, for the log; ``now_ms`` counts from the start of the run."""
        local, *sent = self._curves.shares
        first = self._beliefs[0].backlogs.seen(now_ms, (local, sent[0]))
        if len(sent) == 1:
            return first
        further = zip(self._beliefs[1:], sent[1:], strict=True)
        return replace(first, further_edges=tuple(_logged_of(beliefs, share) for beliefs, share in further))


def _seen_of(beliefs: Beliefs, waited_ms: float) -> EdgeView:
    """What is visible of a further edge; what others may bring there is counted with the round trip."""
    backlogs = beliefs.backlogs
    return EdgeView(
        uplink_wait_ms=np.array([backlogs.uplink_wait_ms + waited_ms]),
        edge_wait_ms=np.array([backlogs.edge_wait_ms]) + waited_ms,
        rate_bits_per_ms=np.array([backlogs.rate_bits_per_ms]),
        rtt_ms=np.array([beliefs.rtt_ms + backlogs.unseen_wait_ms]),
    )


def _logged_of(beliefs: Beliefs, share: tuple[float, ...]) -> SeenEdge:
    backlogs = beliefs.backlogs
    return SeenEdge(
        uplink_wait_ms=backlogs.uplink_wait_ms,
        edge_wait_ms=tuple(backlogs.edge_wait_ms),
        rate_bits_per_ms=backlogs.rate_bits_per_ms,
        rtt_ms=beliefs.rtt_ms + backlogs.unseen_wait_ms,
        kept_share=share,
    )
