"""Says once of each machine that it does not keep to its profile."""

from __future__ import annotations

from collections.abc import Sequence

from hasten.core.options import DROP
from hasten.runtime.device.beliefs import Beliefs
from hasten.runtime.device.endings import Teller
from hasten.runtime.device.scheduler_adapter import SchedulerAdapter
from hasten.runtime.device.tasks import Task
from hasten.runtime.service_times import Segment


class Departures:
    """Looks at what each task has run; ``beliefs`` are by edge."""

    def __init__(self, beliefs: Sequence[Beliefs], adapter: SchedulerAdapter, teller: Teller) -> None:
        self._device, self._edges = beliefs[0].device, [of_edge.edge for of_edge in beliefs]
        self._adapter, self._teller = adapter, teller

    def learn(self, task: Task) -> None:
        """A task has ended: let the adapter learn of it, and look at what it has run."""
        self._adapter.learn(task)
        if task.option == DROP or task.fallback is not None:
            return
        offloaded = task.transfer is not None
        here = (task.partition, 0) if offloaded else (0, task.exit)
        if self._device.departs(here):
            self._tell("device", here, self._device.profiled_ms(here), self._device.run_ms(here))
        if offloaded:
            there, profiled_ms = (task.partition, task.exit), self._adapter.profiled_edge_ms(task.option)
            edge = self._edges[task.edge]
            if edge.departs(there, profiled_ms):
                role = f"edge {task.edge + 1}" if len(self._edges) > 1 else "edge"
                self._tell(role, there, profiled_ms, edge.service_ms(there, profiled_ms))

    def _tell(self, role: str, segment: Segment, profiled_ms: float, measured_ms: float) -> None:
        partition, exit_ = segment
        what = f"exit {exit_} from partition {partition}" if exit_ else f"all up to partition {partition}"
        text = (
            f"{role}: {what} takes {measured_ms:.2f} ms, {profiled_ms:.2f} ms by its profile "
            f"({measured_ms / max(profiled_ms, 1e-3):.2f} times); planned with what is measured"
        )
        self._teller.once(f"{role} times", text)
