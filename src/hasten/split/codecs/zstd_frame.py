"""``NAME-zstd``: the payload of another codec through zstd level 1, where that shrinks it.

A payload is a flag byte and, for 0, the other codec's payload; for 1, that payload's size (u32) and one zstd frame. The
size is checked against what the other codec can need before anything is unpacked. Level 1, because on trained networks
higher levels save nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from hasten.split.codecs.codec import Array, Codec, CodecError, Payload
from hasten.split.codecs.uint8_zstd import PLAIN, ZSTD, unpacked, zstd
from hasten.split.manifest import TensorSpec

_SIZE = struct.Struct("<I")


class Zstd:
    """Another codec, compressed. Holds the compressor, so that it is set up once."""

    def __init__(self, inner: Codec) -> None:
        self.name = f"{inner.name}-zstd"
        self._inner = inner
        self._compressor = zstd.ZstdCompressor(level=1)

    def encode(self, tensors: Sequence[Array], specs: Sequence[TensorSpec]) -> bytes:
        """Return the payload for ``tensors`` (each of shape (1, *spec.shape)); CodecError when they do not fit."""
        plain = self._inner.encode(tensors, specs)
        packed = self._compressor.compress(plain, mode=zstd.ZstdCompressor.FLUSH_FRAME)
        if _SIZE.size + len(packed) < len(plain):
            return b"".join([bytes([ZSTD]), _SIZE.pack(len(plain)), packed])
        return bytes([PLAIN]) + plain

    def decode(self, payload: Payload, specs: Sequence[TensorSpec]) -> list[Array]:
        """Return the tensors, each of shape (1, *spec.shape); anything malformed is a CodecError."""
        view = memoryview(payload).cast("B")
        if len(view) < 1:
            raise CodecError("payload: got 0 bytes, expected a flag")
        if view[0] == PLAIN:
            return self._inner.decode(view[1:], specs)
        start, largest = 1 + _SIZE.size, self._inner.max_payload_bytes(specs)
        if len(view) < start:
            raise CodecError(f"payload: got {len(view)} bytes, expected a header of {start}")
        (size,) = _SIZE.unpack(view[1:start])
        if not 1 <= size <= largest:
            raise CodecError(f"payload: got a size of {size} bytes, expected 1 to {largest}")
        return self._inner.decode(unpacked(view[0], view[start:], size), specs)

    def max_payload_bytes(self, specs: Sequence[TensorSpec]) -> int:
        """No valid payload is larger than this: the encoder never sends what zstd made longer."""
        return 1 + self._inner.max_payload_bytes(specs)

    def max_error(self, tensor: Array) -> float:
        """That of the other codec."""
        return self._inner.max_error(tensor)
