"""The body of an infer request over HTTP: JSON, then the bytes of those tensors that say how many are theirs."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hasten.core.errors import InputError
from hasten.core.files import StrictNumbers, parse_json, validated
from hasten.runtime.edge.oip.asking import AskError, GivenTensor, InferAsk, Trouble
from hasten.split.manifest import MAX_ELEMENTS

WHERE = "request"
Text = Annotated[str, Field(max_length=1000)]
Sizes = Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_ELEMENTS)], ...], Field(max_length=10)]
Values = Annotated[dict[Text, bool | int | float | str], Field(max_length=64)]


class _Part(StrictNumbers, BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Text
    parameters: Values = {}


class _Input(_Part):
    shape: Sizes
    datatype: Text
    data: Any = None


class _Body(StrictNumbers, BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: Text = ""
    parameters: Values = {}
    inputs: Annotated[tuple[_Input, ...], Field(max_length=64)]
    outputs: Annotated[tuple[_Part, ...], Field(max_length=64)] = ()


class HttpAsk:
    """A request, and how its answer is to be written.

    Attributes:
        ask: what is asked for.
        id: comes back in the answer.
    """

    def __init__(self, body: memoryview, json_bytes: int, model: tuple[str, str], arrived_ms: float) -> None:
        """Read it; the first ``json_bytes`` are the JSON. ``model`` is a name and a version.

        Raises:
            AskError: it is no request.
        """
        try:
            asked = validated(_Body, parse_json(bytes(body[:json_bytes]), WHERE), WHERE)
        except InputError as error:
            raise AskError(Trouble.WRONG, str(error)) from None
        self.id = asked.id
        self._binary = {part.name: part.parameters.get("binary_data") for part in asked.outputs}
        self._all_binary = asked.parameters.get("binary_data_output") is True
        inputs = _inputs(asked.inputs, body[json_bytes:])
        self.ask = InferAsk(*model, asked.parameters, inputs, list(self._binary), arrived_ms)

    def wants_bytes(self, output: str) -> bool:
        """Whether this output is to be sent as bytes, not as numbers in the JSON."""
        said = self._binary.get(output)
        return self._all_binary if said is None else said is True


def _inputs(inputs: tuple[_Input, ...], rest: memoryview) -> list[GivenTensor]:
    found, start = [], 0
    for given in inputs:
        size = given.parameters.get("binary_data_size")
        if size is None:
            found.append(GivenTensor(given.name, given.datatype, given.shape, _numbers(given)))
            continue
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(rest) - start:
            text = f"inputs: {given.name[:80]}: binary_data_size: got {size}, expected at most the {len(rest) - start}"
            raise AskError(Trouble.WRONG, f"{text} bytes that follow")
        found.append(GivenTensor(given.name, given.datatype, given.shape, rest[start : start + size]))
        start += size
    if start < len(rest):
        raise AskError(Trouble.WRONG, f"body: got {len(rest) - start} more bytes, expected those of the inputs only")
    return found


def _numbers(given: _Input) -> np.ndarray[Any, Any]:
    """The values under ``data``, flat or nested; their kind and number are looked at later."""
    wrong = AskError(Trouble.WRONG, f"inputs: {given.name[:80]}: data: got no list of numbers, expected one, or bytes")
    flat = given.data
    while isinstance(flat, list) and flat and isinstance(flat[0], list):
        if not all(isinstance(part, list) for part in flat):
            raise wrong
        flat = [value for part in flat for value in part]
    if not isinstance(flat, list) or not all(isinstance(value, int | float) for value in flat):
        raise wrong
    array = np.array(flat)
    if array.dtype.kind not in "fiub":
        raise wrong
    return array
