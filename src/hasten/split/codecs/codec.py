"""What a codec is: it turns the tensors that cross a cut into a payload, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import HastenError
from hasten.split.manifest import TensorSpec

Array = NDArray[np.generic]
Payload = bytes | bytearray | memoryview


class CodecError(HastenError):
    """A payload that does not fit its tensor specs, or tensors that cannot be coded."""


class Codec(Protocol):
    """Encodes and decodes the tensors of a cut, whose specs both sides know.

    ``decode`` may be called by several threads at a time, ``encode`` by one.

    Attributes:
        name: what manifests and SUBMIT frames call it.
    """

    name: str

    def encode(self, tensors: Sequence[Array], specs: Sequence[TensorSpec]) -> bytes:
        """Return the payload for ``tensors`` (each of shape (1, *spec.shape)); CodecError when they do not fit."""

    def decode(self, payload: Payload, specs: Sequence[TensorSpec]) -> list[Array]:
        """Return the tensors, each of shape (1, *spec.shape).

        Sizes are checked against the specs before anything is allocated; anything malformed is a CodecError.
        """

    def max_payload_bytes(self, specs: Sequence[TensorSpec]) -> int:
        """No valid payload for ``specs`` is larger than this."""

    def max_error(self, tensor: Array) -> float:
        """No element of ``tensor`` comes back farther from what it was than this."""


def as_is(raw: Array, spec: TensorSpec) -> Array:
    """A tensor that travelled unchanged, of ``spec``'s type; a boolean that is neither 0 nor 1 is a CodecError."""
    if spec.dtype == "bool" and raw.view(np.uint8).max(initial=0) > 1:
        raise CodecError(f"payload: tensor {spec.name}: got booleans other than 0 and 1")
    return raw.astype(spec.dtype, copy=False)


def require_fit(tensors: Sequence[Array], specs: Sequence[TensorSpec]) -> None:
    """CodecError unless ``tensors`` are of the number, types and shapes of ``specs``."""
    if len(tensors) != len(specs):
        raise CodecError(f"encode: got {len(tensors)} tensors, expected {len(specs)}")
    for tensor, spec in zip(tensors, specs, strict=True):
        if tensor.dtype != spec.dtype or tensor.shape != (1, *spec.shape):
            raise CodecError(
                f"encode: tensor {spec.name}: got {tensor.dtype}{list(tensor.shape)}, "
                f"expected {spec.dtype}{[1, *spec.shape]}"
            )
