"""The protocol over gRPC."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from hasten.runtime.edge.oip.asking import (
    DATATYPES,
    AskError,
    GivenTensor,
    InferAsk,
    Inferred,
    Trouble,
    batch_shape,
    version_of,
)
from hasten.runtime.edge.oip.door import InferenceDoor
from hasten.runtime.edge.oip.http import Admits
from hasten.runtime.edge.oip.messages import MESSAGES, SERVICE
from hasten.runtime.edge.oip.models import server_note

CODES = {
    Trouble.WRONG: grpc.StatusCode.INVALID_ARGUMENT,
    Trouble.TOKEN: grpc.StatusCode.UNAUTHENTICATED,
    Trouble.UNKNOWN: grpc.StatusCode.NOT_FOUND,
    Trouble.TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    Trouble.FAILED: grpc.StatusCode.INTERNAL,
    Trouble.BUSY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Trouble.CLOSING: grpc.StatusCode.UNAVAILABLE,
    Trouble.LATE: grpc.StatusCode.DEADLINE_EXCEEDED,
}
CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
}
"""Where the numbers of a type are when they do not come as bytes."""

Call = Callable[[Any, Any], Awaitable[Any]]


class GrpcDoor:
    """Answers requests over gRPC; ``admits`` is asked about the token of everything but health."""

    def __init__(self, door: InferenceDoor, admits: Admits) -> None:
        self._door, self._admits = door, admits

    def handlers(self) -> Iterable[Any]:
        """What a server of gRPC's calls."""
        calls: dict[str, Call] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server,
            "ModelMetadata": self._model,
            "ModelInfer": self._infer,
        }
        open_to_all = ("ServerLive", "ServerReady")
        return [
            grpc.method_handlers_generic_handler(
                SERVICE, {name: self._handler(name, call, name in open_to_all) for name, call in calls.items()}
            )
        ]

    def _handler(self, name: str, call: Call, open_to_all: bool) -> Any:
        async def answered(data: bytes, context: Any) -> Any:
            try:
                if not open_to_all:
                    self._require_token(context)
                return await call(_message(name, data), context)
            except AskError as error:
                await context.abort(CODES[error.trouble], str(error), _pushback(error))

        answer = MESSAGES[f"{name}Response"]
        return grpc.unary_unary_rpc_method_handler(answered, None, answer.SerializeToString)

    async def _live(self, request: Any, context: Any) -> Any:
        return MESSAGES["ServerLiveResponse"](live=True)

    async def _ready(self, request: Any, context: Any) -> Any:
        return MESSAGES["ServerReadyResponse"](ready=True)

    async def _model_ready(self, request: Any, context: Any) -> Any:
        try:
            self._door.models.find(request.name, request.version)
        except AskError:
            return MESSAGES["ModelReadyResponse"](ready=False)
        return MESSAGES["ModelReadyResponse"](ready=True)

    async def _server(self, request: Any, context: Any) -> Any:
        return MESSAGES["ServerMetadataResponse"](**server_note())

    async def _model(self, request: Any, context: Any) -> Any:
        return MESSAGES["ModelMetadataResponse"](**asdict(self._door.models.note(request.name, request.version)))

    async def _infer(self, request: Any, context: Any) -> Any:
        arrived_ms = self._door.now_ms()
        ask = InferAsk(
            request.model_name,
            request.model_version,
            {name: _parameter(value) for name, value in request.parameters.items()},
            _inputs(request.inputs, request.raw_input_contents),
            [output.name for output in request.outputs],
            arrived_ms,
        )
        return _response(request.id, await self._door.infer(ask, _address(context.peer())))

    def _require_token(self, context: Any) -> None:
        given = dict(context.invocation_metadata() or ()).get("authorization", "")
        scheme, _, token = given.partition(" ")
        if not self._admits(token if scheme.lower() == "bearer" else ""):
            text = "token: got another than this edge's, expected the metadata authorization: Bearer TOKEN"
            raise AskError(Trouble.TOKEN, text)


def _message(call: str, data: bytes) -> Any:
    try:
        return MESSAGES[f"{call}Request"].FromString(data)
    except DecodeError:
        raise AskError(Trouble.WRONG, f"{call}: got other bytes, expected its request as protobuf") from None


def _pushback(error: AskError) -> tuple[tuple[str, str], ...]:
    """When to try again, as gRPC's own retries read it."""
    return (("grpc-retry-pushback-ms", str(math.ceil(error.retry_ms))),) if error.retry_ms > 0.0 else ()


def _parameter(value: Any) -> object:
    which = value.WhichOneof("parameter_choice")
    return getattr(value, which) if which else None


def _inputs(inputs: Sequence[Any], raw: Sequence[bytes]) -> list[GivenTensor]:
    if raw and len(raw) != len(inputs):
        text = f"raw_input_contents: got {len(raw)}, expected one for each of {len(inputs)} inputs, or none"
        raise AskError(Trouble.WRONG, text)
    return [
        GivenTensor(given.name, given.datatype, tuple(given.shape), raw[i] if raw else _numbers(given))
        for i, given in enumerate(inputs)
    ]


def _numbers(given: Any) -> np.ndarray[Any, Any]:
    field = CONTENTS.get(given.datatype)
    if field is None:
        text = f"inputs: {given.name[:80]}: got type {given.datatype[:20]!r}, expected {', '.join(CONTENTS)}"
        raise AskError(Trouble.WRONG, text)
    return np.array(getattr(given.contents, field), dtype=None if len(getattr(given.contents, field)) else np.int64)


def _response(id_: str, inferred: Inferred) -> Any:
    response = MESSAGES["ModelInferResponse"](
        model_name=inferred.served.package.manifest.name, model_version=version_of(inferred.served), id=id_
    )
    for name, value in inferred.parameters.items():
        if isinstance(value, float):
            response.parameters[name].double_param = value
        else:
            response.parameters[name].int64_param = value
    for spec, data in inferred.outputs:
        response.outputs.add(name=spec.name, datatype=DATATYPES[spec.dtype], shape=batch_shape(spec))
        response.raw_output_contents.append(data)
    return response


def _address(peer: str) -> str:
    """The host of ``ipv4:HOST:PORT`` or ``ipv6:[HOST]:PORT``."""
    return peer.partition(":")[2].rpartition(":")[0]
