"""An option that was chosen for a task."""

from __future__ import annotations

from dataclasses import dataclass

from hasten.core.calibration import LOCAL, SENT


@dataclass(frozen=True, slots=True)
class ChosenOption:
    """A chosen option and what it costs."""

    option: int
    exit: int
    partition: int
    edge: int
    """Its number among the device's edges; 0 where nothing is sent."""
    device_ms: float
    edge_ms: float
    payload_bits: float
    latency_ms: float
    """Predicted from the decision on, with the times measured now."""
    planned_ms: float
    """The same with the times that the scheduler planned with."""
    slack: float
    """What the latter leaves until an answer is worthless, in deadlines."""
    promised: float | None
    """The share of tasks with so much slack that were on time lately; None without slack."""
    accuracy: float

    @property
    def kind(self) -> int:
        """Which of the stream's calibration curves is of such options."""
        return SENT + self.edge if self.offloads else LOCAL

    @property
    def offloads(self) -> bool:
        """Whether anything is sent."""
        return self.payload_bits > 0
