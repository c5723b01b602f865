"""What an agent believes of its own machine, a link and its edge; each part learns from what it is told."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hasten.core.decision import DEAD_LINK_BITS_PER_MS
from hasten.core.estimators import MOST_OFFLOAD_MS
from hasten.core.profile import Profile
from hasten.core.timing import predict_latency
from hasten.runtime.device.backlog_estimate import BacklogEstimator
from hasten.runtime.device.device_times import DeviceTimes
from hasten.runtime.device.edge_times import EdgeTimes
from hasten.runtime.device.estimate import LinkEstimate
from hasten.runtime.device.overheads import Overhead


@dataclass(frozen=True)
class Beliefs:
    """Estimates of one agent: of its machine (``device``, ``task``), and of one edge and the link to it."""

    link: LinkEstimate
    backlogs: BacklogEstimator
    device: DeviceTimes
    edge: EdgeTimes
    task: Overhead
    """Of every task."""
    offload: Overhead
    """Of an offloaded one, besides."""

    @property
    def rtt_ms(self) -> float:
        """What an offloaded task spends beside its stages: round trip, handling, and what every service is longer."""
        return max(self.link.rtt_ms + self.offload.ms + self.edge.extra_ms, 0.0)

    def latency_ms(self, device_ms: float, payload_bits: float, edge_ms: float, rtt_ms: float) -> float:
        """Of a task that begins now and needs so much, by the timing law behind the backlogs as last updated."""
        seen = self.backlogs
        waits = seen.device_wait_ms, seen.uplink_wait_ms, seen.edge_wait_ms[0]
        rate = max(seen.rate_bits_per_ms, DEAD_LINK_BITS_PER_MS)
        return float(predict_latency(*waits, device_ms, payload_bits, edge_ms, rate, rtt_ms))


def first_beliefs(profile: Profile, slowdown: float) -> Beliefs:
    """Before anything was measured: the profile."""
    link = LinkEstimate()
    times = DeviceTimes(profile, slowdown), EdgeTimes()
    return Beliefs(
        link, BacklogEstimator(link), *times, Overhead(profile.task_ms), Overhead(profile.offload_ms, MOST_OFFLOAD_MS)
    )


def beliefs_of_edges(profile: Profile, slowdown: float, edges: int) -> list[Beliefs]:
    """The same of one machine and each of its edges; of none where there is none."""
    first = first_beliefs(profile, slowdown)
    return [first, *(_of_another_edge(first) for _ in range(1, edges))]


def _of_another_edge(beliefs: Beliefs) -> Beliefs:
    link, handling = LinkEstimate(), Overhead(beliefs.offload.profiled_ms, MOST_OFFLOAD_MS)
    return replace(beliefs, link=link, backlogs=BacklogEstimator(link), edge=EdgeTimes(), offload=handling)
