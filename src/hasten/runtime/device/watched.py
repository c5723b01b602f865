"""A device's own watchers: Prometheus, where it was told to serve its counters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hasten.runtime.device.answers import Answer
from hasten.runtime.device.line import AgentLine
from hasten.runtime.device.stats import Counters, DeviceStats
from hasten.runtime.needs import needing
from hasten.runtime.place import parse_place


class WatchedDevice:
    """Who watches the agents of ``hasten device``.

    Args:
        metrics: ``[HOST:]PORT`` for Prometheus, None: none.
        note: told in words where they are served.

    Raises:
        InputError: that is no place.
        HastenError: an extra is missing.
    """

    def __init__(self, metrics: str | None, note: Callable[[str], None]) -> None:
        self._metrics = parse_place(metrics, "--metrics") if metrics is not None else None
        self._note = note
        self._counters = Counters()
        if metrics is not None:
            with needing("metrics", "--metrics"):
                import prometheus_client  # noqa: F401

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
            return self._counters.stats(agent.edge_connected, agent.failure)

        server = MetricsServer(self._metrics, [DeviceMetrics(stats)])
        self._note(f"metrics on http://{server.place}/metrics")
        try:
            yield
        finally:
            server.close()

    def ended(self, answer: Answer, uplink_bytes: int) -> None:
        """A task has ended."""
        if self._metrics is not None:
            self._counters.answered(answer, uplink_bytes)
