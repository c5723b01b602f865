"""Serves the protocol in a thread of its own, whatever the edge's event loop does: HTTP on a port, gRPC on the next."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from hasten.core.errors import InputError
from hasten.runtime.edge.listening import listen
from hasten.runtime.edge.oip.door import InferenceDoor
from hasten.runtime.edge.oip.grpc_door import GrpcDoor
from hasten.runtime.edge.oip.http import RECEIVED_BYTES, HttpDoor
from hasten.runtime.edge.server import EdgeServer
from hasten.runtime.edge.tls import TlsFiles
from hasten.runtime.place import ListenPlace
from hasten.runtime.sockets import prepare_socket

END_S = 0.5
"""Requests under way get so long to be answered at the end."""
MAX_CONNECTIONS = 256
MAX_CALLS = 64
"""Of gRPC at a time; fewer where they are large."""
BIND_EVERY_S, BIND_SELDOM_S = 0.02, 1.0
"""Where gRPC's port is opened anew, it is tried so often until the system lets it go; ever more seldom, at last so."""


def _set_from_outside(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """Set an event of a loop in another thread, if that still runs."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(event.set)


class _Prompt(H11Protocol):
    """Sends at once what there is: uvicorn writes head and body of an answer apart."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has connected."""
        prepare_socket(transport.get_extra_info("socket"))
        super().connection_made(transport)


class OipServer:
    """The protocol's door of one edge, open from the start.

    Args:
        place: of HTTP; gRPC is at the next port. Port 0 takes two free ones.
        edge: what is served, whose tokens and quota hold here, too.
        tls: turns TLS on.

    Attributes:
        http: where HTTP is served.
        grpc: likewise.

    Raises:
        InputError: a port is taken.
    """

    http: ListenPlace
    grpc: ListenPlace

    def __init__(self, place: ListenPlace, edge: EdgeServer, tls: TlsFiles | None = None) -> None:
        self._door, self._admits, self._tls = InferenceDoor(edge.core, edge.quota), edge.admits, tls
        self._services, self._notes = edge.core.services, edge.core.notes
        if place.port == 65535:
            raise InputError("oip", "port", place.port, "at most 65534: gRPC is at the next")
        self._sockets = listen(place.host, place.port)
        self.http = ListenPlace(place.host, int(self._sockets[0].getsockname()[1]))
        self._web = uvicorn.Server(self._config())
        self._opened = threading.Event()
        self._error: Exception | None = None
        self._end_grpc: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, args=(place,), name="oip", daemon=True)
        self._thread.start()
        self._opened.wait()
        if self._error is not None:
            self.close()
            raise self._error

    def close(self) -> None:
        """Answer what is under way, for a moment, and nobody any more."""
        self._web.should_exit = True
        self._end_grpc()
        self._thread.join(4.0 * END_S)
        for sock in self._sockets:
            sock.close()

    def _config(self) -> uvicorn.Config:
        tls: dict[str, Any] = {}
        if self._tls is not None:
            tls = {"ssl_certfile": self._tls.certificate, "ssl_keyfile": self._tls.key}
            if self._tls.client_ca is not None:
                tls |= {"ssl_ca_certs": str(self._tls.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
        return uvicorn.Config(
            HttpDoor(self._door, self._admits).app(),
            loop="asyncio",
            http=_Prompt,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=END_S,  # type: ignore[arg-type]  # a timeout of asyncio's: fractions are fine
            **tls,
        )

    def _run(self, place: ListenPlace) -> None:
        asyncio.run(self._serve(place))

    async def _serve(self, place: ListenPlace) -> None:
        loop, grown, ending = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        try:
            self._grpc_bytes = self._most_bytes()
            await self._open_grpc(ListenPlace(place.host, self._grpc_port(place)))
            self._services.on_added = partial(_set_from_outside, loop, grown)
            self._end_grpc = partial(_set_from_outside, loop, ending)
        except Exception as error:  # whatever it is, who opens the door must hear of it
            self._error = error
            return
        finally:
            self._opened.set()  # from now on it may be closed
        serving_grpc = asyncio.create_task(self._serve_grpc(grown, ending))
        try:
            await self._web.serve(sockets=self._sockets)
        finally:  # gRPC ends with HTTP, whatever ended that; both at the same time where the door is closed
            ending.set()
            await serving_grpc

    async def _serve_grpc(self, grown: asyncio.Event, ending: asyncio.Event) -> None:
        keeping = asyncio.create_task(self._keep_large_enough(grown))
        await ending.wait()
        self._services.on_added = lambda: None
        keeping.cancel()
        await self._grpc_server.stop(END_S)

    async def _open_grpc(self, place: ListenPlace) -> None:
        """Open a server of gRPC's that takes requests as large as any package now in service can need."""
        server = grpc.aio.server(options=self._options(), maximum_concurrent_rpcs=self._most_calls())
        server.add_generic_rpc_handlers(tuple(GrpcDoor(self._door, self._admits).handlers()))
        self.grpc = ListenPlace(place.host, self._bind(server, place))
        self._grpc_server = server  # before anything is waited for: it has the port, and must be stopped
        await server.start()

    async def _keep_large_enough(self, grown: asyncio.Event) -> None:
        """Open gRPC's port anew when a package has come that needs more: a server's limit stays what it was.

        What is under way is answered if that takes no longer than ``END_S``, and cancelled otherwise; clients connect
        again by themselves.
        """
        while True:
            await grown.wait()
            grown.clear()
            if self._most_bytes() <= self._grpc_bytes:
                continue
            self._grpc_bytes = self._most_bytes()
            ending = asyncio.create_task(self._grpc_server.stop(END_S))
            await self._open_grpc_again()
            await ending

    async def _open_grpc_again(self) -> None:
        """At the same port, tried until it succeeds; it is told once if that takes long."""
        pause_s, told = BIND_EVERY_S, False
        while True:
            await asyncio.sleep(pause_s)
            try:
                return await self._open_grpc(self.grpc)
            except Exception as error:  # whatever it is, it may pass, and HTTP is served meanwhile
                pause_s = min(2.0 * pause_s, BIND_SELDOM_S)
                if pause_s == BIND_SELDOM_S and not told:
                    told = True
                    self._notes.tell("oip", f"edge: gRPC's port is not open yet: {type(error).__name__}: {error}")

    def _grpc_port(self, place: ListenPlace) -> int:
        return place.port + 1 if place.port else 0

    def _bind(self, server: Any, place: ListenPlace) -> int:
        try:
            if self._tls is None:
                return int(server.add_insecure_port(str(place)))
            return int(server.add_secure_port(str(place), self._credentials(self._tls)))
        except RuntimeError:
            raise InputError("oip", "port", place.port, f"a free port on {place.host}, for gRPC") from None

    def _credentials(self, tls: TlsFiles) -> Any:
        authority = tls.client_ca.read_bytes() if tls.client_ca is not None else None
        pair = tls.key.read_bytes(), tls.certificate.read_bytes()
        return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)

    def _most_bytes(self) -> int:
        return self._door.models.max_grpc_bytes

    def _most_calls(self) -> int:
        return max(2, min(MAX_CALLS, RECEIVED_BYTES // self._most_bytes()))

    def _options(self) -> list[tuple[str, int]]:
        """Sizes are bounded before a message is received; and a port that another edge has is not shared with it."""
        return [
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", self._most_bytes()),
            ("grpc.max_concurrent_streams", MAX_CALLS),
        ]
