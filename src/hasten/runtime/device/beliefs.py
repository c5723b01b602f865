"""What an agent believes of its own machine, a link and its edge; each part learns from what it is told."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hasten.core.profile import Profile
from hasten.runtime.device.backlog_estimate import BacklogEstimator
from hasten.runtime.device.device_times import DeviceTimes
from hasten.runtime.device.edge_times import EdgeTimes
from hasten.runtime.device.estimate import LinkEstimate
from hasten.runtime.device.overheads import MOST_OFFLOAD_MS, Overhead


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
