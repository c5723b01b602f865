"""``hs.Edge``: an edge node inside somebody's program; the server of ``hasten edge``."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict, Unpack

from hasten.core.errors import ClosedError
from hasten.runtime.edge.opened import EdgePlan, OpenedEdge
from hasten.runtime.library.background import acquire, release
from hasten.runtime.notes import Notes
from hasten.split.package import Package

_logger = logging.getLogger("hasten.edge")


class EdgeOptions(TypedDict, total=False):
    """What else can be said of an edge; see :class:`Edge`."""

    slowdown: float
    profile: str | Path | None
    token: str
    token_file: str | Path | None
    tls_cert: str | Path | None
    tls_key: str | Path | None
    client_ca: str | Path | None
    max_devices: int
    memory_mb: int
    queue: str
    metrics: str | None
    quota_tasks: int
    quota_queue: int
    quota_mb: int
    health: str | None
    watch: str | Path | None
    oip: str | None
    ray: str | None
    replicas: str


class Edge:
    """An edge node in your own program, in hasten's thread. Close it, or use it as a context manager.

    Args:
        packages: ``.hasten`` files, or opened ones; at least one.
        host: address to listen on.
        port: 0 takes a free one.
        workers: tasks executed at once, each on one thread.
        options: ``token`` that devices must know, or a ``token_file``; ``tls_cert`` and ``tls_key``, PEM files, which
            turn TLS on, and ``client_ca``; ``profile``, ``slowdown``, ``max_devices``, ``memory_mb``, ``queue``,
            ``metrics``, ``oip``, ``quota_tasks``, ``quota_queue``, ``quota_mb``, ``health``, ``watch``, ``ray`` and
            ``replicas`` as for ``hasten edge``.

    Attributes:
        address: ``HOST:PORT`` where it listens, as :class:`Device` takes it.
        addresses: where else it can be asked, by name: ``metrics``, ``oip``, ``oip grpc``.

    Raises:
        InputError: something given cannot be used, or the port is taken.

    Examples:
        >>> import hasten as hs
        >>> with hs.Edge(["my.hasten"], port=0) as edge:  # doctest: +SKIP
        ...     print(edge.address)
    """

    def __init__(
        self,
        packages: Sequence[str | Path | Package],
        host: str = "127.0.0.1",
        port: int = 7700,
        workers: int = 1,
        **options: Unpack[EdgeOptions],
    ) -> None:
        plan = EdgePlan(host=host, port=port, workers=workers, **options)
        self._edge = OpenedEdge(packages, plan, Notes(_logger.info))
        self._closing = threading.Lock()
        self._closed = False
        self._background = acquire()
        try:
            server = self._background.call(self._edge.start())
        except BaseException:
            release(self._background)
            raise
        name = f"[{server.host}]" if ":" in server.host else server.host
        self.address = f"{name}:{server.port}"
        self.addresses = self._edge.addresses

    def add_package(self, package: str | Path | Package) -> str:
        """Serve another package, or another version of one, beside those that are served; return its digest.

        It is warmed first. ``memory_mb`` is shared anew, so that those before may keep fewer segments ready.

        Raises:
            InputError: the file is not an intact package, or the edge's ``profile`` is not of its network.
            ClosedError: the edge is closed.
        """
        with self._open():
            return self._background.call(self._edge.served.add(package))

    def remove_package(self, package: str | Package) -> None:
        """Serve a package no longer once the devices that have it have gone; until then they are served on.

        Args:
            package: an opened one, or its digest.

        Raises:
            InputError: it is not served.
            ClosedError: the edge is closed.
        """
        digest = package.digest if isinstance(package, Package) else package

        async def remove() -> None:
            self._edge.served.remove(digest)

        with self._open():
            self._background.call(remove())

    @contextmanager
    def _open(self) -> Iterator[None]:
        if self._background.pid != os.getpid():
            raise ClosedError("this edge was opened before the process was forked")
        with self._closing:
            if self._closed:
                raise ClosedError("the edge is closed")
            yield

    def close(self) -> None:
        """Answer what runs, refuse what waits, and end. Twice is once."""
        if self._background.pid != os.getpid():
            raise ClosedError("this edge was opened before the process was forked")
        with self._closing:
            if self._closed:
                return
            self._closed = True
            try:
                self._background.call(self._edge.close())
            finally:
                release(self._background)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
