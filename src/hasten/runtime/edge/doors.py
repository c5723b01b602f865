"""Where else an edge can be asked than by devices: its standard doors. Each needs an extra of the installation."""

from __future__ import annotations

from collections.abc import Callable

from hasten.runtime.edge.server import EdgeServer
from hasten.runtime.needs import needing
from hasten.runtime.place import parse_place


class EdgeDoors:
    """The doors of one edge.

    Args:
        metrics: ``[HOST:]PORT`` for Prometheus, None: none.

    Attributes:
        addresses: of those that are open, by name.

    Raises:
        InputError: that is no place.
    """

    def __init__(self, metrics: str | None = None) -> None:
        self.addresses: dict[str, str] = {}
        self._metrics = parse_place(metrics, "--metrics") if metrics is not None else None
        self._closing: list[Callable[[], None]] = []

    def open(self, server: EdgeServer) -> None:
        """Open them around a server that listens.

        Raises:
            InputError: a port is taken.
            HastenError: an extra is missing.
        """
        try:
            if self._metrics is not None:
                self._open_metrics(server)
        except BaseException:
            self.close()
            raise

    def _open_metrics(self, server: EdgeServer) -> None:
        assert self._metrics is not None  # only then it is called
        with needing("metrics", "--metrics"):
            from hasten.runtime.edge.metrics import EdgeMetrics
            from hasten.runtime.metrics import MetricsServer
        served = MetricsServer(self._metrics, [EdgeMetrics(server)])
        self._closing.append(served.close)
        self.addresses["metrics"] = f"http://{served.place}/metrics"

    def close(self) -> None:
        """Close those that are open, last first."""
        while self._closing:
            self._closing.pop()()
