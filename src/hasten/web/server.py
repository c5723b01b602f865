"""Serves the page in a thread of its own, whatever the process does besides."""

from __future__ import annotations

import errno
import os
import secrets
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn

from hasten.core.errors import InputError
from hasten.runtime.sockets import read_token
from hasten.web.access import Access, is_loopback
from hasten.web.app import Controls, PageServer, Source

END_S = 1.0
"""Pages that are open get so long to be let go."""
READY_S = 10.0
BACKLOG = 64


@dataclass(frozen=True)
class WebPlace:
    """Where the page is served, and the token for it. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None


def web_place(given: str, token_file: Path | None = None) -> WebPlace:
    """Read ``[HOST:]PORT``; :class:`InputError` for what is none."""
    host, _, port = given.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise InputError("web", "--web", given, "[HOST:]PORT, for example 7780")
    return WebPlace(host.strip("[]") or "127.0.0.1", int(port), read_token(token_file) or None)


class WebServer:
    """The page of a source, as a context manager.

    Args:
        source: what is shown.
        place: where.
        controls: what may be changed by those who have the token; one is made up where none is given.

    Attributes:
        address: what to open; with the token where one was made up.

    Raises:
        InputError: the place is open to the network without a token, or the port is taken.
    """

    def __init__(self, source: Source, place: WebPlace, controls: Controls | None = None) -> None:
        token = place.token
        if token is None and controls is not None and is_loopback(place.host):
            token = secrets.token_urlsafe(24)
        self._pages = PageServer(source, Access(place.host, token), controls)
        self._socket = _listen(place)
        port = self._socket.getsockname()[1]
        host = f"[{place.host}]" if ":" in place.host else place.host
        made_up = f"?token={token}" if token is not None and place.token is None else ""
        self.address = f"http://{host}:{port}/{made_up}"
        config = uvicorn.Config(
            self._pages.app(),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(END_S),
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)

    def __enter__(self) -> Self:
        """Begin to serve."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let every page go and end."""
        self._pages.closing.set()
        self._server.should_exit = True
        self._thread.join(2.0 * END_S)
        self._socket.close()

    def wait(self) -> None:
        """Serve until the process is asked to end."""
        self._thread.join()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def _listen(place: WebPlace) -> socket.socket:
    """Bound before the thread begins, so that a port that is taken is told where it was asked for."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # so that asyncio knows to set TCP_NODELAY
    except OSError as error:
        raise InputError("web", "host", place.host, f"an address of this machine ({error.strerror})") from None
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise InputError("web", "host", place.host, "an address of this machine") from None
        raise InputError("web", "port", place.port, f"a free port on {place.host} ({error.strerror})") from None
    return sock
