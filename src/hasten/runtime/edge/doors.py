"""Where else an edge can be asked than by devices: its standard doors. Each needs an extra of the installation."""

from __future__ import annotations

from collections.abc import Callable

from hasten.runtime.edge.server import EdgeServer
from hasten.runtime.edge.tls import TlsFiles
from hasten.runtime.needs import needing
from hasten.runtime.place import ListenPlace, parse_place


class EdgeDoors:
    """The doors of one edge.

    Args:
        metrics: ``[HOST:]PORT`` for Prometheus, None: none.
        oip: the same for the Open Inference Protocol over HTTP; over gRPC it is at the next port.
        tls: what that door shows, None: it is plain.

    Attributes:
        addresses: of those that are open, by name.

    Raises:
        InputError: that is no place.
        HastenError: an extra is missing.
    """

    def __init__(self, metrics: str | None = None, oip: str | None = None, tls: TlsFiles | None = None) -> None:
        self.addresses: dict[str, str] = {}
        self._closing: list[Callable[[], None]] = []
        self._opening: list[Callable[[EdgeServer], None]] = []
        if metrics is not None:
            self._opening.append(self._metrics(parse_place(metrics, "--metrics")))
        if oip is not None:
            self._opening.append(self._oip(parse_place(oip, "--oip"), tls))

    def open(self, server: EdgeServer) -> None:
        """Open them around a server that listens; :class:`InputError` if a port is taken."""
        try:
            for opening in self._opening:
                opening(server)
        except BaseException:
            self.close()
            raise

    def _metrics(self, place: ListenPlace) -> Callable[[EdgeServer], None]:
        with needing("metrics", "--metrics"):
            from hasten.runtime.edge.metrics import EdgeMetrics
            from hasten.runtime.metrics import MetricsServer

        def opening(server: EdgeServer) -> None:
            served = MetricsServer(place, [EdgeMetrics(server)])
            self._closing.append(served.close)
            self.addresses["metrics"] = f"http://{served.place}/metrics"

        return opening

    def _oip(self, place: ListenPlace, tls: TlsFiles | None) -> Callable[[EdgeServer], None]:
        with needing("oip", "--oip"):
            from hasten.runtime.edge.oip.serving import OipServer

        def opening(server: EdgeServer) -> None:
            served = OipServer(place, server, tls)
            self._closing.append(served.close)
            self.addresses["oip"] = f"http{'s' if tls else ''}://{served.http}"
            self.addresses["oip grpc"] = str(served.grpc)

        return opening

    def close(self) -> None:
        """Close those that are open, last first."""
        while self._closing:
            self._closing.pop()()
