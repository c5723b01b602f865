"""What the blocks of a cut network are called: as the modules that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from onnx import NodeProto

MAX_BLOCK_NAME = 180
"""Of a longer name the end is kept, so that with a number behind it it fits into a manifest."""


def block_names(nodes: Sequence[NodeProto], work: Sequence[int], positions: Sequence[int]) -> list[str]:
    """Name each block after the module of its last node; equal names are numbered.

    ``nodes`` are those of the main path, ``work`` their multiply-accumulates, ``positions`` where blocks begin and end.

    What the modules of all weighted operations have in common is left out. When that leaves nothing (the network's own
    operations, outside any layer), the block is named after the part that its layers share, else after its tensor.
    """
    paths = [_module_path(node) for node in nodes]
    weighted = [path for path, macs in zip(paths, work, strict=True) if macs]
    outside = _common_start(weighted) if len(weighted) > 1 else 0
    inner = [path[outside:] for path in paths]
    names, seen = ["input"], {"input": 1}
    for start, end in pairwise(positions):
        layers = [path[:-1] or path for path in inner[start:end] if path]
        shared = layers[0][: _common_start(layers)] if layers else []
        name = (".".join(inner[end - 1] or shared) or str(nodes[end - 1].output[0]))[-MAX_BLOCK_NAME:]
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return names


def _common_start(paths: Sequence[list[str]]) -> int:
    """How many leading parts all paths share."""
    columns = [set(column) for column in zip(*paths, strict=False)]
    return next((depth for depth, column in enumerate(columns) if len(column) > 1), len(columns))


def _module_path(node: NodeProto) -> list[str]:
    """The path of the module that a node belongs to, as the exporter recorded it; empty when unknown."""
    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            scopes = [str(part).strip(" '\"[]") for part in entry.value.split(",")]
            return scopes[-2].split(".") if len(scopes) > 1 and scopes[-2] else []
    return []
