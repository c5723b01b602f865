"""``uint8-axis1`` and ``uint8-last``: float32 tensors as uint8, scaled along one axis, with outliers kept exactly.

``uint8-axis1`` has a scale for each index of the axis behind the batch: the channels of (N, C, H, W), the tokens of
(N, T, C). ``uint8-last`` has one for each index of the last axis: the channels of (N, T, C) and (N, H, W, C). A
tensor's layout cannot be told from its shape, so building measures both. Tensors with one axis have one scale. A
payload holds for each float32 tensor: the number of outliers (u32), their positions (u32 each, ascending), their values
(float32), every group's ``low``, every group's ``scale`` (float32), and the elements. Integer and boolean tensors
travel unchanged.

An outlier is farther than six standard deviations from the mean of its group. At most one element in 256 is kept so,
the farthest first: 8 bytes each, a thirty-second of the payload at most.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hasten.split.codecs.codec import Array, CodecError, Payload, as_is, require_fit
from hasten.split.codecs.uint8_zstd import rounding_error
from hasten.split.manifest import TensorSpec

_COUNT = struct.Struct("<I")
_DEVIATIONS = 6.0
_ELEMENTS_PER_OUTLIER = 256
_OUTLIER_BYTES, _GROUP_BYTES = 8, 8
_MAX_LEVEL = 255
_LARGEST = float(np.finfo(np.float32).max)
_TINIEST_SCALE = float(np.finfo(np.float32).tiny)

Floats = NDArray[np.float32]


class Uint8Axis:
    """Scales along the first axis behind the batch, or along the last.

    Args:
        last: along the last.
    """

    def __init__(self, last: bool) -> None:
        self.name = "uint8-last" if last else "uint8-axis1"
        self._last = last

    def encode(self, tensors: Sequence[Array], specs: Sequence[TensorSpec]) -> bytes:
        """Return the payload for ``tensors`` (each of shape (1, *spec.shape)); CodecError when they do not fit."""
        require_fit(tensors, specs)
        parts: list[bytes] = []
        for tensor, spec in zip(tensors, specs, strict=True):
            if spec.dtype == "float32":
                parts += self._packed(tensor.astype(np.float32, copy=False), spec)
            else:
                parts.append(tensor.astype(np.dtype(spec.dtype).newbyteorder("<"), copy=False).tobytes())
        return b"".join(parts)

    def decode(self, payload: Payload, specs: Sequence[TensorSpec]) -> list[Array]:
        """Return the tensors, each of shape (1, *spec.shape); anything malformed is a CodecError."""
        reader = _Reader(memoryview(payload).cast("B"))
        tensors: list[Array] = []
        for spec in specs:
            if spec.dtype == "float32":
                flat: Array = self._unpacked(reader, spec)
            else:
                flat = as_is(reader.array(np.dtype(spec.dtype).newbyteorder("<"), spec.elements), spec)
            tensors.append(flat.reshape(1, *spec.shape))
        reader.require_end()
        return tensors

    def max_payload_bytes(self, specs: Sequence[TensorSpec]) -> int:
        """No valid payload is larger than this: outliers are bounded."""
        return sum(self._max_bytes(spec) if spec.dtype == "float32" else spec.nbytes for spec in specs)

    def max_error(self, tensor: Array) -> float:
        """Half a step of the widest group, which is no wider than the tensor."""
        return rounding_error(tensor)

    def _max_bytes(self, spec: TensorSpec) -> int:
        outliers = spec.elements // _ELEMENTS_PER_OUTLIER
        return _COUNT.size + _OUTLIER_BYTES * outliers + _GROUP_BYTES * self._groups(spec) + spec.elements

    def _groups(self, spec: TensorSpec) -> int:
        """How many scales a tensor has."""
        return spec.shape[-1 if self._last else 0] if len(spec.shape) > 1 else 1

    def _grouped(self, flat: Array, spec: TensorSpec) -> tuple[Array, int]:
        """The elements as a matrix, and the axis along which a group lies."""
        groups = self._groups(spec)
        return (flat.reshape(-1, groups), 0) if self._last and groups > 1 else (flat.reshape(groups, -1), 1)

    def _packed(self, tensor: Floats, spec: TensorSpec) -> list[bytes]:
        if not np.isfinite(tensor).all():
            raise CodecError(f"encode: tensor {spec.name}: got values that are not finite, expected finite float32")
        grouped, axis = self._grouped(tensor.reshape(-1), spec)
        values, positions = _without_outliers(grouped.astype(np.float32, copy=False), axis)
        low, high = values.min(axis, keepdims=True), values.max(axis, keepdims=True)
        scale = ((high.astype(np.float64) - low) / _MAX_LEVEL).astype(np.float32)
        if not _representable(low, scale):
            raise CodecError(f"encode: tensor {spec.name}: got values too far apart, expected a range within float32")
        scale[scale < _TINIEST_SCALE] = 0.0
        inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale > 0)
        levels = (values - low) * inverse + np.float32(0.5)  # the conversion truncates, so this rounds
        kept = tensor.reshape(-1)[positions]
        stored = (positions.astype("<u4"), kept.astype("<f4"), low.astype("<f4"), scale.astype("<f4"))
        return [_COUNT.pack(len(positions)), *(part.tobytes() for part in stored), levels.astype(np.uint8).tobytes()]

    def _unpacked(self, reader: _Reader, spec: TensorSpec) -> Floats:
        """The tensor's elements, flat."""
        (count,) = reader.array(np.dtype("<u4"), 1)
        most = spec.elements // _ELEMENTS_PER_OUTLIER
        if count > most:
            raise CodecError(f"payload: tensor {spec.name}: got {count} outliers, expected at most {most}")
        positions = reader.array(np.dtype("<u4"), int(count)).astype(np.int64)
        kept = reader.array(np.dtype("<f4"), int(count))
        if count and not (positions[-1] < spec.elements and (np.diff(positions) > 0).all()):
            raise CodecError(f"payload: tensor {spec.name}: got outliers at wrong positions, expected ascending ones")
        if not np.isfinite(kept).all():
            raise CodecError(f"payload: tensor {spec.name}: got outliers that are not finite")
        groups = self._groups(spec)
        low, scale = reader.array(np.dtype("<f4"), groups), reader.array(np.dtype("<f4"), groups)
        if not _representable(low, scale):
            raise CodecError(f"payload: tensor {spec.name}: got a low or scale beyond finite float32 values")
        levels, axis = self._grouped(reader.array(np.dtype(np.uint8), spec.elements), spec)
        shape = (1, groups) if axis == 0 else (groups, 1)
        values = np.multiply(levels, scale.reshape(shape), dtype=np.float32)
        values += low.reshape(shape)
        flat: Floats = values.reshape(-1)
        flat[positions] = kept
        return flat


class _Reader:
    """Takes arrays off a payload; one that is too short is a CodecError."""

    def __init__(self, view: memoryview) -> None:
        self._view, self._position = view, 0

    def array(self, dtype: np.dtype[np.generic], count: int) -> NDArray[np.generic]:
        """The next ``count`` elements, not copied."""
        size = dtype.itemsize * count
        if len(self._view) - self._position < size:
            raise CodecError(f"payload: got {len(self._view)} bytes, expected at least {self._position + size}")
        found = np.frombuffer(self._view[self._position : self._position + size], dtype)
        self._position += size
        return found

    def require_end(self) -> None:
        """CodecError when something is left."""
        if self._position != len(self._view):
            raise CodecError(f"payload: got {len(self._view)} bytes, expected {self._position}")


def _without_outliers(values: Floats, axis: int) -> tuple[Floats, NDArray[np.int64]]:
    """The matrix, outliers replaced by the least other value of their group, and where they were in the tensor."""
    none = np.zeros(0, np.int64)
    most = values.size // _ELEMENTS_PER_OUTLIER
    if most == 0 or values.shape[axis] <= _DEVIATIONS**2:  # of so few none can be so far from their mean
        return values, none
    mean = values.mean(axis, keepdims=True, dtype=np.float64)
    far = _DEVIATIONS * values.std(axis, keepdims=True, dtype=np.float64)
    high, low = values.max(axis, keepdims=True), values.min(axis, keepdims=True)
    if not ((high - mean > far) | (mean - low > far)).any():
        return values, none
    beyond = (np.abs(values - mean) / np.maximum(far, np.finfo(np.float64).tiny)).reshape(-1)
    positions = np.flatnonzero(beyond > 1.0)
    if len(positions) > most:
        positions = np.sort(positions[np.argpartition(-beyond[positions], most - 1)[:most]])
    replaced = values.copy()
    replaced.reshape(-1)[positions] = np.inf
    least = replaced.min(axis, keepdims=True)  # of the others: the mean may be the outlier's doing
    replaced.reshape(-1)[positions] = np.broadcast_to(least, values.shape).reshape(-1)[positions]
    return replaced, positions


def _representable(low: Array, scale: Array) -> bool:
    lows, steps = low.astype(np.float64), scale.astype(np.float64)
    fits = (steps >= 0) & (steps <= _LARGEST / _MAX_LEVEL) & (np.abs(lows) <= _LARGEST)
    return bool((fits & (lows + _MAX_LEVEL * steps <= _LARGEST)).all())
