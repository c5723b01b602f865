"""``float32`` and ``float16``: a cut's tensors one after the other, little-endian, without a header.

``float32`` is exact for every value, not-finite ones included. ``float16`` rounds float32 tensors to half precision and
refuses values that it cannot hold. Integer and boolean tensors travel unchanged in both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hasten.split.codecs.codec import Array, CodecError, Payload, as_is, require_fit
from hasten.split.manifest import TensorSpec

_HALF_PRECISION = 2.0**-11
_SMALLEST_HALF = 2.0**-24


class Float32:
    """Every tensor as it is."""

    name = "float32"
    _float_type = "<f4"

    def encode(self, tensors: Sequence[Array], specs: Sequence[TensorSpec]) -> bytes:
        """Return the payload for ``tensors`` (each of shape (1, *spec.shape)); CodecError when they do not fit."""
        require_fit(tensors, specs)
        return b"".join(self._stored(tensor, spec).tobytes() for tensor, spec in zip(tensors, specs, strict=True))

    def decode(self, payload: Payload, specs: Sequence[TensorSpec]) -> list[Array]:
        """Return the tensors, each of shape (1, *spec.shape); anything malformed is a CodecError."""
        view, expected = memoryview(payload).cast("B"), self.max_payload_bytes(specs)
        if len(view) != expected:
            raise CodecError(f"payload: got {len(view)} bytes, expected {expected}")
        tensors: list[Array] = []
        position = 0
        for spec in specs:
            raw = np.frombuffer(view, self._type(spec), spec.elements, position)
            position += raw.nbytes
            tensors.append(self._restored(raw, spec).reshape(1, *spec.shape))
        return tensors

    def max_payload_bytes(self, specs: Sequence[TensorSpec]) -> int:
        """Every valid payload has this size."""
        return sum(spec.elements * self._type(spec).itemsize for spec in specs)

    def max_error(self, tensor: Array) -> float:
        """Nothing changes."""
        return 0.0

    def _type(self, spec: TensorSpec) -> np.dtype[np.generic]:
        return np.dtype(self._float_type if spec.dtype == "float32" else np.dtype(spec.dtype).newbyteorder("<"))

    def _stored(self, tensor: Array, spec: TensorSpec) -> Array:
        return tensor.astype(self._type(spec), copy=False)

    def _restored(self, raw: Array, spec: TensorSpec) -> Array:
        return as_is(raw, spec)


class Float16(Float32):
    """Float32 tensors in half precision."""

    name = "float16"
    _float_type = "<f2"

    def max_error(self, tensor: Array) -> float:
        """Half a unit in the last of 11 binary places, or half the smallest number there is."""
        if tensor.dtype != np.float32:
            return 0.0
        return max(_HALF_PRECISION * float(np.abs(tensor).max(initial=0.0)), _SMALLEST_HALF / 2)

    def _stored(self, tensor: Array, spec: TensorSpec) -> Array:
        with np.errstate(over="ignore"):
            stored = super()._stored(tensor, spec)
        if spec.dtype == "float32" and not np.isfinite(stored).all():
            raise CodecError(f"encode: tensor {spec.name}: got values that float16 cannot hold, expected up to 65504")
        return stored

    def _restored(self, raw: Array, spec: TensorSpec) -> Array:
        if spec.dtype == "float32" and not np.isfinite(raw).all():
            raise CodecError(f"payload: tensor {spec.name}: got values that are not finite, expected finite float16")
        return super()._restored(raw, spec)
