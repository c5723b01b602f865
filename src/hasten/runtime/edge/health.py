"""Whether an edge lives and is ready, told over HTTP to whoever runs it: Kubernetes, a load balancer, a script.

It answers in the edge's own event loop, so it is silent where that is held up. Paths are those of the Open Inference
Protocol: ``/v2/health/live`` and ``/v2/health/ready``, which is 503 from when the edge is asked to end. Nothing else is
told, and nothing is asked for: keep the port from those who need not know.
"""

from __future__ import annotations

import asyncio
import contextlib

from hasten.runtime.edge.listening import listen
from hasten.runtime.edge.server import EdgeServer
from hasten.runtime.place import ListenPlace

MAX_REQUEST_BYTES = 4096
REQUEST_S = 2.0
"""A request may take so long to come, and its answer to leave."""
MAX_ASKING = 16
"""So many may ask at a time; others are not answered."""
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class HealthServer:
    """Answers for one edge; :meth:`open` makes it.

    Attributes:
        place: where it listens.
    """

    def __init__(self, place: ListenPlace, edge: EdgeServer) -> None:
        self.place = place
        self._edge = edge
        self._asking = 0
        self._serving: list[asyncio.Server] = []

    @classmethod
    async def open(cls, place: ListenPlace, edge: EdgeServer) -> HealthServer:
        """Listen in the running event loop.

        Raises:
            InputError: the port is taken, or the host has no address here.
        """
        sockets = listen(place.host, place.port)
        health = cls(ListenPlace(place.host, int(sockets[0].getsockname()[1])), edge)
        for sock in sockets:
            health._serving.append(await asyncio.start_server(health._asked, sock=sock, limit=MAX_REQUEST_BYTES))
        return health

    async def close(self) -> None:
        """Answer nobody any more."""
        for serving in self._serving:
            serving.close()
            await serving.wait_closed()

    async def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._asking += 1
        try:
            async with asyncio.timeout(REQUEST_S):
                if self._asking <= MAX_ASKING:
                    writer.write(self._answer(await reader.readuntil(b"\r\n\r\n")))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked has gone, or never asked
        finally:
            self._asking -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answer(self, request: bytes) -> bytes:
        words = request.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _response(400, "expected a request of HTTP/1.1")
        method, path = words[0], words[1].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _response(405, "expected GET")
        status, text = self._state(path)
        return _response(status, text, method == b"GET")

    def _state(self, path: bytes) -> tuple[int, str]:
        if path == b"/v2/health/live":
            return 200, "live"
        if path == b"/v2/health/ready":
            return (503, "the edge ends") if self._edge.closed else (200, "ready")
        return 404, "expected /v2/health/live or /v2/health/ready"


def _response(status: int, text: str, with_body: bool = True) -> bytes:
    body = f"{text}\n".encode()
    head = (
        f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (body if with_body else b"")
