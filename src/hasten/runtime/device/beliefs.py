"""What an agent believes of its own machine, the link and the edge; each part learns from what it is told."""

from __future__ import annotations

from dataclasses import dataclass

from hasten.core.profile import Profile
from hasten.runtime.device.backlog_estimate import BacklogEstimator
from hasten.runtime.device.device_times import DeviceTimes
from hasten.runtime.device.edge_times import EdgeTimes
from hasten.runtime.device.estimate import LinkEstimate
from hasten.runtime.device.overheads import Overheads


@dataclass(frozen=True)
class Beliefs:
    """Estimates of one agent."""

    link: LinkEstimate
    backlogs: BacklogEstimator
    device: DeviceTimes
    edge: EdgeTimes
    overheads: Overheads

    @property
    def rtt_ms(self) -> float:
        """What an offloaded task spends beside its stages: round trip, handling, and what every service is longer."""
        return max(self.link.rtt_ms + self.overheads.offload_ms + self.edge.extra_ms, 0.0)


def first_beliefs(profile: Profile, slowdown: float) -> Beliefs:
    """Before anything was measured: the profile."""
    link = LinkEstimate()
    return Beliefs(link, BacklogEstimator(link), DeviceTimes(profile, slowdown), EdgeTimes(), Overheads(profile))
