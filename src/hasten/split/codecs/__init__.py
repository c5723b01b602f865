"""Codecs by name: one file each. A package's manifest names the codec of every cut, a SUBMIT frame that of its payload.

To add one, write a file with a class that keeps the protocol :class:`Codec`, and add it to ``CODECS``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hasten.core.errors import InputError, one_of
from hasten.split.codecs.codec import Array, Codec, CodecError, Payload
from hasten.split.codecs.floats import Float16, Float32
from hasten.split.codecs.uint8_axis import Uint8Axis
from hasten.split.codecs.uint8_zstd import Uint8Zstd
from hasten.split.codecs.zstd_frame import Zstd
from hasten.split.manifest import Cut

CODECS: dict[str, Callable[[], Codec]] = {
    "uint8": lambda: Uint8Zstd(compress=False),
    "uint8-zstd": Uint8Zstd,
    "uint8-axis1": lambda: Uint8Axis(last=False),
    "uint8-axis1-zstd": lambda: Zstd(Uint8Axis(last=False)),
    "uint8-last": lambda: Uint8Axis(last=True),
    "uint8-last-zstd": lambda: Zstd(Uint8Axis(last=True)),
    "float16": Float16,
    "float16-zstd": lambda: Zstd(Float16()),
    "float32": Float32,
    "float32-zstd": lambda: Zstd(Float32()),
}
"""What makes a codec, by its name; of equally small ones building takes the first."""

__all__ = ["CODECS", "Array", "Codec", "CodecError", "CutCodecs", "Payload", "make_codec"]


def make_codec(name: str, where: str = "codec") -> Codec:
    """A codec of one's own; an unknown name is an :class:`InputError`."""
    if name not in CODECS:
        raise InputError(where, "codec", name, one_of(name, sorted(CODECS)))
    return CODECS[name]()


class CutCodecs:
    """The codecs of a package's cuts, each made once. Not for encoding by two threads at a time."""

    def __init__(self) -> None:
        self._made: dict[str, Codec] = {}

    def of(self, cut: Cut) -> Codec:
        """The codec that a cut names."""
        found = self._made.get(cut.codec)
        if found is None:
            found = self._made[cut.codec] = make_codec(cut.codec, f"cut {cut.name}")
        return found

    def encode(self, tensors: Sequence[Array], cut: Cut) -> bytes:
        """The payload of a cut's tensors, each (1, *spec.shape)."""
        return self.of(cut).encode(tensors, cut.tensors)

    def decode(self, payload: Payload, cut: Cut) -> list[Array]:
        """The tensors of a cut, each (1, *spec.shape)."""
        return self.of(cut).decode(payload, cut.tensors)
