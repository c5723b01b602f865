"""Who may see the page and who may change anything.

On the loopback address everybody on this machine may look. Elsewhere nobody may without the token, and without a token
the page is not served there at all. To change anything takes the token everywhere. The token comes once, in the
address that the command prints or as ``Authorization: Bearer``; the browser then has a cookie that no other site's
pages can use. A name in the Host header that is not this machine's is refused, so that no other site's name can be
pointed here (DNS rebinding).
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hasten.core.errors import InputError

LEAST_TOKEN = 16
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
NO_TOKEN = "This page needs its token: open the address that the command printed (it ends in ?token=...).\n"


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@dataclass(frozen=True)
class Access:
    """What is asked of those who come.

    Raises:
        InputError: the page would be open to the network without a token, or the token is short.
    """

    host: str
    token: str | None = None
    _session: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    def __post_init__(self) -> None:
        if self.token is None and not self.open:
            raise InputError("web", "host", self.host, "a loopback address, or a token (--web-token-file)")
        if self.token is not None and len(self.token) < LEAST_TOKEN:
            raise InputError("web", "token", f"{len(self.token)} characters", f"at least {LEAST_TOKEN}")

    @property
    def open(self) -> bool:
        """Whether everybody who gets here may look."""
        return is_loopback(self.host)

    def gives_token(self, request: Request) -> bool:
        """Whether a request brings the token itself."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            given = request.query_params.get("token", "")
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def knows(self, request: Request) -> bool:
        """Whether a request comes from somebody who had the token."""
        given = request.cookies.get(_cookie(request), "")
        return self.gives_token(request) or hmac.compare_digest(given.encode(), self._session.encode())

    def remember(self, request: Request, response: Response) -> None:
        """Have the browser be known from now on."""
        response.set_cookie(_cookie(request), self._session, httponly=True, samesite="strict")

    def objection(self, request: Request) -> Response | None:
        """Why a request is not answered, if it is not."""
        if not self._is_ours(_asked_host(request)[0]):
            return PlainTextResponse("This is not the name of this machine.\n", 421)
        if not self.open and not self.knows(request):
            return PlainTextResponse(NO_TOKEN, 401)
        if request.method not in ("GET", "HEAD") and (refused := self._change_objection(request)):
            return JSONResponse({"error": refused}, 403)
        return None

    def _change_objection(self, request: Request) -> str | None:
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return "a page of another site asked for this"
        if request.headers.get("content-type") != "application/json":
            return "got no application/json"
        return None if self.knows(request) else NO_TOKEN.strip()

    def _is_ours(self, name: str) -> bool:
        """Loopback, the name that we listen at, an address in figures (no name to be pointed here), our own name."""
        if is_loopback(name) or name == self.host.strip("[]"):
            return True
        if self.open:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.partition(".")[0].lower() == socket.gethostname().partition(".")[0].lower()
        return True


def _asked_host(request: Request) -> tuple[str, int]:
    """Name and port of the Host header; an empty name for one that is none."""
    try:
        asked = urlsplit(f"//{request.headers.get('host', '')}")
        return asked.hostname or "", asked.port or 80
    except ValueError:
        return "", 80


def _cookie(request: Request) -> str:
    """By port: browsers send a machine's cookies to all its ports."""
    return f"hasten-{_asked_host(request)[1]}"


class Gate:
    """ASGI middleware: asks :class:`Access` first, and adds the headers that keep a page to itself."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            await send(message)

        refused = self._access.objection(Request(scope))
        await (refused or self._app)(scope, receive, with_headers)
