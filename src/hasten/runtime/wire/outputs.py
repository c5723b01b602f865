"""What exits give, as answers carry it: a head that names codec and types, then the codec's payload.

The package says what each exit gives. So a receiver knows the only head there can be, and the largest payload, before
it takes memory for anything; names do not travel.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.runtime.wire.tasks import coded_head
from hasten.split.codecs import CodecError, make_codec
from hasten.split.manifest import PackageManifest

Array = NDArray[np.generic]

OUTPUT_CODEC = "float32-zstd"
"""Lossless: what comes out of a network is what somebody asked for."""
MAX_OUTPUTS_BYTES = 1 << 30
"""No exit may give more, so that an answer fits into a frame."""


class OutputPayloads:
    """Codes the outputs of one package's exits; may be used by several threads at a time.

    Attributes:
        max_bytes: no exit's outputs are larger, head included.

    Raises:
        InputError: an exit gives too much for a frame.
    """

    def __init__(self, manifest: PackageManifest) -> None:
        self._specs = [manifest.outputs(number) for number in range(1, len(manifest.exits) + 1)]
        self._heads = [coded_head(OUTPUT_CODEC, specs) for specs in self._specs]
        self._codec = make_codec(OUTPUT_CODEC)
        self._encoding = threading.Lock()
        sizes = [
            len(head) + self._codec.max_payload_bytes(specs)
            for head, specs in zip(self._heads, self._specs, strict=True)
        ]
        self.max_bytes = max(sizes)
        if self.max_bytes > MAX_OUTPUTS_BYTES:
            expected = f"at most {MAX_OUTPUTS_BYTES} bytes, so that an answer fits into a frame"
            raise InputError(manifest.name, "outputs", f"{self.max_bytes} bytes", expected)

    def encode(self, exit_: int, outputs: Mapping[str, Array]) -> bytes:
        """The outputs of ``exit_`` (from 1), by name and without the batch axis, as an answer carries them."""
        specs = self._specs[exit_ - 1]
        tensors = [outputs[spec.name][np.newaxis] for spec in specs]
        with self._encoding:
            return self._heads[exit_ - 1] + self._codec.encode(tensors, specs)

    def decode(self, exit_: int, data: bytes | memoryview) -> dict[str, Array]:
        """What :meth:`encode` was given, in memory of its own.

        Raises:
            CodecError: these are no outputs of this exit.
        """
        head, specs = self._heads[exit_ - 1], self._specs[exit_ - 1]
        if data[: len(head)] != head:
            wanted = ", ".join(f"{spec.name} {spec.dtype}{list(spec.shape)}" for spec in specs)
            raise CodecError(f"outputs: got other tensors or another codec, expected {OUTPUT_CODEC} of {wanted}")
        tensors = self._codec.decode(data[len(head) :], specs)
        return {spec.name: np.array(tensor[0]) for spec, tensor in zip(specs, tensors, strict=True)}
