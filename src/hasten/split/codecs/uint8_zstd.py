"""``uint8`` and ``uint8-zstd``: float32 tensors as uint8, scaled per tensor; the second with zstd where that shrinks.

A payload is one flag byte (0 plain, 1 zstd), for each float32 tensor its ``low`` and ``scale`` as little-endian
float32, and the body: the tensors' elements one after the other. Element q of a float32 tensor stands for
``low + scale * q``, so the error is at most half of (max - min) / 255. Integer and boolean tensors travel
unchanged; a uint8 frame is therefore lossless.

The receiver knows the tensor specs, so a payload's exact uncompressed size is known before anything is allocated.
Why these: on trained networks per-channel scales compress worse and gain no accuracy, and higher levels of zstd save
nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

try:
    from compression import zstd as zstd  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    from backports import zstd as zstd

from hasten.split.codecs.codec import Array, CodecError, Payload, as_is, require_fit
from hasten.split.manifest import TensorSpec

PLAIN, ZSTD = 0, 1
_SCALE = struct.Struct("<ff")
_MAX_LEVEL = 255
_LARGEST = float(np.finfo(np.float32).max)
_TINIEST_SCALE = float(np.finfo(np.float32).tiny)
_HALF = np.float32(0.5)


class Uint8Zstd:
    """Holds the compressor, so that it is set up once.

    Args:
        compress: without, every payload is plain, and the codec is ``uint8``.
    """

    name = "uint8-zstd"

    def __init__(self, compress: bool = True) -> None:
        self._compress = compress
        if not compress:
            self.name = "uint8"
        self._compressor = zstd.ZstdCompressor(level=1)

    def encode(self, tensors: Sequence[Array], specs: Sequence[TensorSpec]) -> bytes:
        """Return the payload for ``tensors`` (each of shape (1, *spec.shape)); CodecError when they do not fit."""
        require_fit(tensors, specs)
        scales: list[bytes] = []
        body: list[Array] = []
        for tensor, spec in zip(tensors, specs, strict=True):
            if tensor.dtype == np.float32:
                low, scale, levels = quantize(tensor)
                scales.append(_SCALE.pack(low, scale))
                body.append(levels)
            else:
                body.append(tensor.astype(np.dtype(spec.dtype).newbyteorder("<"), copy=False))
        plain = b"".join(array.tobytes() for array in body) if len(body) > 1 else body[0].tobytes()
        if self._compress:
            packed = self._compressor.compress(plain, mode=zstd.ZstdCompressor.FLUSH_FRAME)
            if len(packed) < len(plain):
                return b"".join([bytes([ZSTD]), *scales, packed])
        return b"".join([bytes([PLAIN]), *scales, plain])

    def decode(self, payload: Payload, specs: Sequence[TensorSpec]) -> list[Array]:
        """Return the tensors, each of shape (1, *spec.shape); anything malformed is a CodecError."""
        view = memoryview(payload).cast("B")
        floats = sum(spec.dtype == "float32" for spec in specs)
        start = 1 + _SCALE.size * floats
        if len(view) < start:
            raise CodecError(f"payload: got {len(view)} bytes, expected a header of {start}")
        body = unpacked(view[0], view[start:], body_bytes(specs))
        scales = _SCALE.iter_unpack(view[1:start])
        tensors: list[Array] = []
        position = 0
        for spec in specs:
            count = spec.elements
            if spec.dtype == "float32":
                levels = np.frombuffer(body, np.uint8, count, position)
                low, scale = next(scales)
                tensors.append(dequantize(low, scale, levels).reshape(1, *spec.shape))
                position += count
            else:
                raw = np.frombuffer(body, np.dtype(spec.dtype).newbyteorder("<"), count, position)
                tensors.append(as_is(raw, spec).reshape(1, *spec.shape))
                position += spec.nbytes
        return tensors

    def max_payload_bytes(self, specs: Sequence[TensorSpec]) -> int:
        """No valid payload is larger than this: the encoder never sends a body that zstd made longer."""
        return 1 + _SCALE.size * sum(spec.dtype == "float32" for spec in specs) + body_bytes(specs)

    def max_error(self, tensor: Array) -> float:
        """Half a step."""
        return rounding_error(tensor)


def body_bytes(specs: Sequence[TensorSpec]) -> int:
    """Bytes of a payload's body before compression."""
    return sum(spec.elements if spec.dtype == "float32" else spec.nbytes for spec in specs)


def rounding_error(tensor: Array) -> float:
    """Half a step of 255 over the range of a float32 tensor, and what float32 sums may round; 0 for integers."""
    if tensor.dtype != np.float32:
        return 0.0
    low, high = float(tensor.min()), float(tensor.max())
    return 0.501 * (high - low) / _MAX_LEVEL + 1e-6 * max(abs(low), abs(high)) + _TINIEST_SCALE * _MAX_LEVEL


def quantize(tensor: Array) -> tuple[float, float, NDArray[np.uint8]]:
    """Return (low, scale, levels) with ``tensor`` ~ low + scale * levels; not-finite values are a CodecError."""
    low, high = float(np.minimum.reduce(tensor, axis=None)), float(np.maximum.reduce(tensor, axis=None))
    scale = float(np.float32((high - low) / _MAX_LEVEL))
    if not _representable(low, scale):  # also catches NaN and infinity
        raise CodecError(f"encode: got values from {low} to {high}, expected finite float32 values")
    if scale < _TINIEST_SCALE:  # a constant tensor
        return low, 0.0, np.zeros(tensor.shape, np.uint8)
    levels = np.subtract(tensor, np.float32(low), dtype=np.float32)
    levels *= np.float32(1.0 / scale)
    levels += _HALF  # the conversion truncates, so this rounds; the largest stays below 256 by half a level
    return low, scale, levels.astype(np.uint8)


def dequantize(low: float, scale: float, levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Invert :func:`quantize`; a scale that is negative, or values beyond float32, are a CodecError."""
    if not _representable(low, scale):
        raise CodecError(f"payload: got low {low} and scale {scale}, expected finite float32 values")
    values = np.multiply(levels, np.float32(scale), dtype=np.float32)
    values += np.float32(low)
    return values


def _representable(low: float, scale: float) -> bool:
    fits = 0 <= scale <= _LARGEST / _MAX_LEVEL and -_LARGEST <= low <= _LARGEST
    return fits and low + _MAX_LEVEL * scale <= _LARGEST


def unpacked(flag: int, body: memoryview, expected: int) -> bytes | memoryview:
    """The ``expected`` bytes that ``body`` holds, plain or as one zstd frame; anything else is a CodecError."""
    if flag == PLAIN:
        if len(body) != expected:
            raise CodecError(f"payload: got a body of {len(body)} bytes, expected {expected}")
        return body
    if flag != ZSTD:
        raise CodecError(f"payload: got flag {flag}, expected 0 (plain) or 1 (zstd)")
    if len(body) >= expected:
        raise CodecError(f"payload: got {len(body)} compressed bytes, expected fewer than {expected}")
    try:
        decompressor = zstd.ZstdDecompressor(
            options={zstd.DecompressionParameter.window_log_max: _window_log(expected)}
        )
        plain: bytes = decompressor.decompress(body, max_length=expected + 1)
    except (zstd.ZstdError, EOFError) as error:
        raise CodecError(f"payload: got a broken zstd frame ({error})") from None
    if len(plain) != expected or not decompressor.eof or decompressor.unused_data:
        raise CodecError(f"payload: got a zstd frame of other than {expected} bytes, or bytes after it")
    return plain


def _window_log(size: int) -> int:
    """The smallest window a frame of ``size`` bytes can need (zstd's own minimum is 10), so memory stays bounded."""
    return min(31, max(20, (size - 1).bit_length()))
