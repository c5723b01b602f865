"""What the protocol is told of packages: names, versions, tensors, and where each may be entered and left."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hasten.core.version import own_version
from hasten.runtime.edge.oip.asking import DATATYPES, AskError, Trouble, batch_shape, version_of
from hasten.runtime.edge.served import Served
from hasten.runtime.edge.services import Services
from hasten.split.manifest import TensorSpec

JSON_BYTES = 64 * 1024
"""The largest request but for its tensors."""
JSON_NUMBER_BYTES, VARINT_BYTES = 24, 10
"""A number as text takes so many at most, with what stands around it; so many as one of protobuf's whole numbers."""


@dataclass(frozen=True)
class TensorNote:
    """A tensor in a model's metadata."""

    name: str
    datatype: str
    shape: list[int]


@dataclass(frozen=True)
class ModelNote:
    """A model's metadata. Inputs are those of partition 0, outputs those of the last exit."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorNote]
    outputs: list[TensorNote]
    properties: dict[str, str]
    """``exits`` and ``partitions``, as JSON: what may be asked for, and what then comes and goes."""


class Models:
    """The packages of an edge by the protocol's names, as they come and go."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def find(self, name: str, wanted: str = "") -> Served:
        """The package of this name and version; without a version the one that came last and is to stay.

        Raises:
            AskError: there is none.
        """
        named = self._named(name)
        if not named:
            known = ", ".join(dict.fromkeys(served.package.manifest.name for served in self._services.all))
            raise AskError(Trouble.UNKNOWN, f"model: got {name[:80]!r}, expected one of {known}")
        if not wanted:
            kept = [served for served in self._services.kept if served.package.manifest.name == name]
            return (kept or named)[-1]
        for served in named:
            if version_of(served) == wanted:
                return served
        known = ", ".join(map(version_of, named))
        raise AskError(Trouble.UNKNOWN, f"version of {name}: got {wanted[:80]!r}, expected {known}")

    def note(self, name: str, wanted: str = "") -> ModelNote:
        """A model's metadata; :class:`AskError` if there is none."""
        served = self.find(name, wanted)
        manifest = served.package.manifest
        versions = [version_of(it) for it in self._named(name)]
        outputs = _notes(manifest.outputs(len(manifest.exits)))
        return ModelNote(name, versions, "hasten", _notes(manifest.inputs), outputs, _properties(served))

    def _named(self, name: str) -> list[Served]:
        return [served for served in self._services.all if served.package.manifest.name == name]

    @property
    def max_elements(self) -> int:
        """Of the tensors of one request, of any package."""
        cuts = [cut for served in self._services.all for cut in served.package.manifest.cuts]
        return max(sum(spec.elements for spec in cut.tensors) for cut in cuts)

    @property
    def max_json_bytes(self) -> int:
        """The largest request over HTTP: its numbers as text."""
        return JSON_BYTES + JSON_NUMBER_BYTES * self.max_elements

    @property
    def max_grpc_bytes(self) -> int:
        """The largest request over gRPC: its numbers as the widest of protobuf's."""
        return JSON_BYTES + VARINT_BYTES * self.max_elements


def server_note() -> dict[str, Any]:
    """The server's metadata."""
    return {"name": "hasten", "version": own_version(), "extensions": ["binary_tensor_data"]}


def _notes(specs: Sequence[TensorSpec]) -> list[TensorNote]:
    return [TensorNote(spec.name, DATATYPES[spec.dtype], batch_shape(spec)) for spec in specs]


def _properties(served: Served) -> dict[str, str]:
    manifest = served.package.manifest
    exits = [
        {
            "exit": number,
            "name": exit_.name,
            "accuracy": exit_.accuracy,
            "partitions": [cut for cut in range(exit_.after_block + 1) if served.has(cut, number)],
            "outputs": [vars(note) for note in _notes(manifest.outputs(number))],
        }
        for number, exit_ in enumerate(manifest.exits, start=1)
    ]
    partitions = [
        {"partition": cut, "inputs": [vars(note) for note in _notes(tensors.tensors)]}
        for cut, tensors in enumerate(manifest.cuts)
    ]
    return {"exits": json.dumps(exits), "partitions": json.dumps(partitions)}
