"""A device's own watchers: Prometheus, which asks for its counters, and a collector of traces, which is sent them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hasten.runtime.device.answers import Answer
from hasten.runtime.device.line import AgentLine
from hasten.runtime.device.stats import Counters, DeviceStats
from hasten.runtime.device.tasks import Task
from hasten.runtime.needs import needing
from hasten.runtime.place import parse_place

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from hasten.runtime.device.traces import TaskTraces


class WatchedDevice:
    """Who watches the agents of ``hasten device``.

    Args:
        metrics: ``[HOST:]PORT`` for Prometheus, None: none.
        otel: where traces go, None: nowhere.
        note: told in words where counters are served, and what is wrong.

    Raises:
        InputError: one of them is no place.
        HastenError: an extra is missing.
    """

    def __init__(self, metrics: str | None, otel: str | TracerProvider | None, note: Callable[[str], None]) -> None:
        self._metrics = parse_place(metrics, "--metrics") if metrics is not None else None
        self._note = note
        self._counters = Counters()
        if metrics is not None:
            with needing("metrics", "--metrics"):
                import prometheus_client  # noqa: F401

        self._traces = traces_of(otel, note)

    @contextmanager
    def watching(self, line: AgentLine) -> Iterator[None]:
        """Within, counters are served; :class:`InputError` if the port is taken."""
        if self._metrics is None:
            yield
            return
        from hasten.runtime.device.metrics import DeviceMetrics
        from hasten.runtime.metrics import MetricsServer

        def stats() -> DeviceStats:
            agent = line.agent
            return self._counters.stats(agent.edges, agent.failure)

        server = MetricsServer(self._metrics, [DeviceMetrics(stats)])
        self._note(f"metrics on http://{server.place}/metrics")
        try:
            yield
        finally:
            server.close()

    def ended(self, task: Task, answer: Answer, package: str) -> None:
        """A task of this package has ended."""
        if self._metrics is not None:
            self._counters.answered(answer, task.wire_bytes)
        if self._traces is not None:
            self._traces.ended(task, package)

    def close(self) -> None:
        """Send what is left of traces."""
        if self._traces is not None:
            self._traces.close()


def traces_of(otel: str | TracerProvider | None, note: Callable[[str], None]) -> TaskTraces | None:
    """Traces, if they are asked for; see :func:`hasten.runtime.device.traces.open_traces`."""
    if otel is None:
        return None
    with needing("otel", "--otel"):
        from hasten.runtime.device.traces import open_traces
    return open_traces(otel, note)
