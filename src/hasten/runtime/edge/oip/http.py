"""The protocol over HTTP: JSON, and tensors as bytes behind it (the binary tensor data extension)."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hasten.runtime.edge.oip.asking import DATATYPES, AskError, Inferred, Trouble, batch_shape, version_of
from hasten.runtime.edge.oip.door import InferenceDoor
from hasten.runtime.edge.oip.http_request import HttpAsk
from hasten.runtime.edge.oip.models import server_note

Admits = Callable[[str], bool]
"""Whether a token is one of this edge's."""

JSON_LENGTH = "Inference-Header-Content-Length"
RETRY_MS = "Retry-After-Ms"
RECEIVED_BYTES = 64 << 20
"""Requests that are being received and worked on may hold so much, or two of the largest."""
RECEIVE_S = 30.0
"""A request must have come within so long."""
STATUSES = {
    Trouble.WRONG: 400,
    Trouble.TOKEN: 401,
    Trouble.UNKNOWN: 404,
    Trouble.TOO_LARGE: 413,
    Trouble.FAILED: 500,
    Trouble.BUSY: 503,
    Trouble.CLOSING: 503,
    Trouble.LATE: 504,
}


class HttpDoor:
    """Answers requests over HTTP; ``admits`` is asked about the token of everything but health."""

    def __init__(self, door: InferenceDoor, admits: Admits) -> None:
        self._door, self._admits = door, admits
        self._held_bytes = 0

    def app(self) -> Starlette:
        """The ASGI application."""
        model = "/v2/models/{model:path}"
        version = f"{model}/versions/{{version}}"
        routes = [
            Route("/v2/health/live", self._health),
            Route("/v2/health/ready", self._health),
            Route("/v2", self._server),
            *(Route(f"{path}/infer", self._infer, methods=["POST"]) for path in (version, model)),
            *(Route(f"{path}/ready", self._model_ready) for path in (version, model)),
            *(Route(path, self._model) for path in (version, model)),
        ]
        handlers: dict[Any, Any] = {AskError: _refused, HTTPException: _no_such_page, Exception: _failed}
        return Starlette(routes=routes, exception_handlers=handlers)

    async def _health(self, request: Request) -> Response:
        return Response()

    async def _server(self, request: Request) -> Response:
        self._require_token(request)
        return JSONResponse(server_note())

    async def _model_ready(self, request: Request) -> Response:
        self._require_token(request)
        self._door.models.find(*_model(request))
        return Response()

    async def _model(self, request: Request) -> Response:
        self._require_token(request)
        return JSONResponse(asdict(self._door.models.note(*_model(request))))

    async def _infer(self, request: Request) -> Response:
        arrived_ms = self._door.now_ms()
        self._require_token(request)
        model = _model(request)
        self._door.models.find(*model)
        size = self._announced(request)
        self._held_bytes += size
        try:
            body = await _received(request, size)
            asked = HttpAsk(memoryview(body), _json_bytes(request, size), model, arrived_ms)
            address = request.client.host if request.client is not None else ""
            return _answer(asked, await self._door.infer(asked.ask, address))
        except asyncio.CancelledError:  # at the end, which waits for nobody for long
            raise AskError(Trouble.CLOSING, "the edge ends") from None
        finally:
            self._held_bytes -= size

    def _announced(self, request: Request) -> int:
        """How large the body is going to be; it is not too large."""
        if request.headers.get("content-encoding", "identity") != "identity":
            raise AskError(Trouble.WRONG, "Content-Encoding: got a compressed body, expected none")
        size, most = _number(request, "content-length", None), self._door.models.max_json_bytes
        if size > most:
            raise AskError(Trouble.TOO_LARGE, f"body: got {size} bytes, expected at most {most}")
        if self._held_bytes + size > max(RECEIVED_BYTES, 2 * most):
            raise AskError(Trouble.BUSY, f"{self._held_bytes} bytes of requests are here, which is all that may")
        return size

    def _require_token(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not self._admits(token if scheme.lower() == "bearer" else ""):
            raise AskError(Trouble.TOKEN, "token: got another than this edge's, expected Authorization: Bearer TOKEN")


def _model(request: Request) -> tuple[str, str]:
    """Name and version that a path names."""
    return request.path_params["model"], request.path_params.get("version", "")


def _number(request: Request, header: str, default: int | None) -> int:
    text = request.headers.get(header)
    if text is None and default is not None:
        return default
    if text is None or not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise AskError(Trouble.WRONG, f"{header}: got {text!r:.40}, expected a number of bytes")
    return int(text)


def _json_bytes(request: Request, size: int) -> int:
    found = _number(request, JSON_LENGTH, size)
    if found > size:
        raise AskError(Trouble.WRONG, f"{JSON_LENGTH}: got {found}, expected at most the body's {size} bytes")
    return found


async def _received(request: Request, size: int) -> bytearray:
    body = bytearray()
    try:
        async with asyncio.timeout(RECEIVE_S):
            async for part in request.stream():
                body += part
                if len(body) > size:  # sent in chunks, whatever was announced
                    raise AskError(Trouble.WRONG, f"body: got more than the {size} bytes of its Content-Length")
    except TimeoutError:
        raise AskError(Trouble.WRONG, f"body: got {len(body)} bytes in {RECEIVE_S:.0f} s, expected {size}") from None
    except ClientDisconnect:
        raise AskError(Trouble.WRONG, f"body: got {len(body)} bytes, expected {size}") from None
    return body


def _answer(asked: HttpAsk, inferred: Inferred) -> Response:
    outputs, parts = [], []
    for spec, data in inferred.outputs:
        output: dict[str, Any] = {
            "name": spec.name,
            "datatype": DATATYPES[spec.dtype],
            "shape": batch_shape(spec),
        }
        if asked.wants_bytes(spec.name):
            output["parameters"] = {"binary_data_size": len(data)}
            parts.append(data)
        else:
            output["data"] = _plain(np.frombuffer(data, spec.dtype))
        outputs.append(output)
    manifest = inferred.served.package.manifest
    told = {
        "model_name": manifest.name,
        "model_version": version_of(inferred.served),
        **({"id": asked.id} if asked.id else {}),
        "parameters": inferred.parameters,
        "outputs": outputs,
    }
    if not parts:
        return JSONResponse(told)
    head = json.dumps(told).encode()
    headers = {JSON_LENGTH: str(len(head))}
    return Response(b"".join([head, *parts]), headers=headers, media_type="application/octet-stream")


def _plain(array: np.ndarray[Any, Any]) -> list[Any]:
    """Numbers for JSON: what is not finite, which JSON cannot say, is null."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        plain: list[Any] = array.tolist()
        return plain
    return [value if np.isfinite(value) else None for value in array.tolist()]


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, AskError)  # it is handled for these
    headers = {"WWW-Authenticate": "Bearer"} if error.trouble is Trouble.TOKEN else {}
    if error.retry_ms > 0.0:  # the standard's is in seconds
        headers |= {"Retry-After": str(math.ceil(error.retry_ms / 1000.0)), RETRY_MS: str(math.ceil(error.retry_ms))}
    return JSONResponse({"error": str(error)}, STATUSES[error.trouble], headers)


async def _no_such_page(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": f"{request.method} {request.url.path[:200]}: {error.detail}"}, error.status_code)


async def _failed(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"{type(error).__name__}"}, 500)
