"""The page's server as an ASGI application: files, a view at a time, updates as they happen, and controls."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from hasten.core.errors import HastenError, InputError
from hasten.core.files import parse_json
from hasten.web.access import Access, Gate

STATIC = Path(__file__).parent / "static"
EVERY_S = 0.25
MOST_WATCHING = 32
"""Pages that are sent updates at a time."""
MOST_BODY_BYTES = 4096

Plain = dict[str, Any]


class Changing(Protocol):
    """Tells one page what is new."""

    def update(self, at_ms: float | None = None) -> Plain:
        """What is new at a time, by default now."""


class Source(Protocol):
    """What is shown.

    Attributes:
        kind: which page fits: ``run`` or ``edge``.
        rounds: what there is by name; the last is the present one. Another object under a name is another thing.
    """

    kind: str

    @property
    def rounds(self) -> dict[str, Any]:
        """What there is by name."""

    def refresh(self) -> None:
        """See what is new."""

    def summaries(self) -> list[Plain]:
        """Each round in a line."""

    def updates(self, name: str, stream: int) -> Changing:
        """For one page that shows a stream of a round, or all of them (-1)."""


class Controls(Protocol):
    """What may be changed."""

    def offered(self) -> list[Plain]:
        """What there is to change, with what it is set to."""

    def do(self, order: Plain) -> str:
        """Do it; what was done, in words. :class:`InputError` when it cannot be."""


class PageServer:
    """Answers requests. ``closing`` set ends the updates of all pages."""

    def __init__(self, source: Source, access: Access, controls: Controls | None = None) -> None:
        self.closing = threading.Event()
        self._source, self._access, self._controls = source, access, controls
        self._watching = 0

    def app(self) -> Starlette:
        """The application."""
        return Starlette(
            routes=[
                Route("/", self._page),
                Route("/api/view", self._view),
                Route("/api/updates", self._updates),
                Route("/api/control", self._control, methods=["POST"]),
                Mount("/static", StaticFiles(directory=STATIC)),
            ],
            middleware=[Middleware(Gate, access=self._access)],
            exception_handlers={HastenError: _refusal},
        )

    async def _page(self, request: Request) -> Response:
        response = FileResponse(STATIC / "index.html", media_type="text/html")
        if self._access.gives_token(request):
            self._access.remember(request, response)
        return response

    async def _view(self, request: Request) -> Response:
        """A round as it was at a time."""
        self._source.refresh()
        name = self._name(request.query_params.get("round", ""))
        at_ms = _number(request, "at_ms", None)
        found = self._source.updates(name, _stream(request)).update(at_ms)
        return JSONResponse(found | self._head(request, name) | {"rounds": self._source.summaries()})

    async def _updates(self, request: Request) -> Response:
        """The present round, or a given one, as server-sent events."""
        self._source.refresh()
        given = request.query_params.get("round", "")
        if given:
            self._name(given)
        if self._watching >= MOST_WATCHING:
            return JSONResponse({"error": f"{MOST_WATCHING} pages are open, which is all that may be"}, 503)
        events = self._events(request, given, _stream(request))
        return StreamingResponse(events, media_type="text/event-stream")

    async def _events(self, request: Request, given: str, stream: int) -> AsyncIterator[str]:
        self._watching += 1
        try:
            shown, changing, rounds = None, None, None
            due_s = time.monotonic()
            while not self.closing.is_set():
                self._source.refresh()
                name = self._name(given) if self._source.rounds else ""
                data: Plain = {}
                if name and self._source.rounds[name] is not shown:
                    shown, changing = self._source.rounds[name], self._source.updates(name, stream)
                    data = {"full": True}
                if changing is not None:
                    data |= changing.update() | self._head(request, name)
                if (summaries := self._source.summaries()) != rounds:
                    rounds = data["rounds"] = summaries
                yield f"data: {json.dumps(data, allow_nan=False, separators=(',', ':'))}\n\n"
                due_s = max(due_s + EVERY_S, time.monotonic())
                await asyncio.sleep(due_s - time.monotonic())
        finally:
            self._watching -= 1

    async def _control(self, request: Request) -> Response:
        """Change something; says what was done."""
        if self._controls is None:
            return JSONResponse({"error": "there is nothing to control here"}, 404)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_BODY_BYTES:
                return JSONResponse({"error": f"over {MOST_BODY_BYTES} bytes"}, 413)
        order = parse_json(body, "web")
        if not isinstance(order, dict):
            return JSONResponse({"error": "got no JSON object"}, 400)
        done = await asyncio.to_thread(self._controls.do, order)
        return JSONResponse({"done": done})

    def _head(self, request: Request, name: str) -> Plain:
        controls = self._controls.offered() if self._controls and self._access.knows(request) else []
        return {"round": name, "kind": self._source.kind, "controls": controls}

    def _name(self, given: str) -> str:
        """A round that there is; the present one by default."""
        rounds = self._source.rounds
        if not rounds or (given and given not in rounds):
            raise InputError("web", "round", given, f"one of {', '.join(rounds) or 'none yet'}")
        return given or next(reversed(rounds))


async def _refusal(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


def _stream(request: Request) -> int:
    """The stream that is asked for; -1 for all, and for what is no stream."""
    return max(int(_number(request, "stream", -1.0) or 0), -1)


def _number(request: Request, name: str, default: float | None) -> float | None:
    given = request.query_params.get(name)
    if given is None:
        return default
    try:
        value = float(given)
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e15:
        raise InputError("web", name, given, "a finite number")
    return value
