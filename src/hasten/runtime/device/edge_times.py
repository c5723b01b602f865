"""How long the edge really takes, learnt from the times in its answers."""

from __future__ import annotations

from hasten.runtime.service_times import Segment, ServiceTimes
from hasten.runtime.wire.tasks import EdgeAnswer


class EdgeTimes(ServiceTimes):
    """The correction of the edge's profiled service times."""

    @property
    def slower(self) -> bool:
        """Whether the edge is believed to be slower than profiled."""
        return self.extra_ms > 0 or self.factor > 1.0

    def answered(self, segment: Segment, profiled_ms: float, answer: EdgeAnswer) -> None:
        """Learn from the times in an answer to a task whose service was profiled at ``profiled_ms``."""
        self.measured(segment, profiled_ms, answer.service_ms)
