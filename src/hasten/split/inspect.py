"""A package described as plain data, for a table or for JSON."""

from __future__ import annotations

from typing import Any

from hasten.split.manifest import PackageManifest
from hasten.split.package import Package


def describe(package: Package) -> dict[str, Any]:
    """Blocks, exits, cuts, sizes, accuracies, embedded times and origin of a package; JSON-ready.

    ``input`` is the first of ``inputs``.

    ``cuts[p]`` is partition p; ``bytes`` there is the mean payload with the codec, ``plain_bytes`` the tensors uncoded,
    ``points_lost`` what the codec costs at most at any exit behind, in hundredths; None where nothing is sent.
    """
    manifest, profile = package.manifest, package.profile
    return {
        "schema": "hasten.inspect/1",
        "path": str(package.path),
        "digest": package.digest,
        "name": manifest.name,
        "classes": manifest.classes,
        "class_names": list(manifest.class_names),
        "metric": manifest.metric,
        "input": manifest.inputs[0].model_dump(mode="json"),
        "inputs": [spec.model_dump(mode="json") for spec in manifest.inputs],
        "cuts": [
            {
                "partition": partition,
                "name": cut.name,
                "tensors": [tensor.model_dump(mode="json") for tensor in cut.tensors],
                "codec": cut.codec,
                "bytes": cut.payload_bytes,
                "plain_bytes": sum(tensor.nbytes for tensor in cut.tensors),
                "encode_ms": profile.encode_ms(partition),
                "points_lost": points_lost(manifest, partition),
                "device_ms": profile.blocks[partition - 1].device_ms if partition else None,
                "edge_ms": profile.blocks[partition - 1].edge_ms if partition else None,
            }
            for partition, cut in enumerate(manifest.cuts)
        ],
        "exits": [
            {
                "exit": number,
                **exit_.model_dump(mode="json"),
                "device_ms": profile.exits[number - 1].device_ms,
                "edge_ms": profile.exits[number - 1].edge_ms,
            }
            for number, exit_ in enumerate(manifest.exits, start=1)
        ],
        "options": len(manifest.options()),
        "confidence": None if manifest.confidence is None else manifest.confidence.model_dump(mode="json"),
        "weights": {
            "tensors": len(manifest.weights),
            "bytes": sum(weight.tensor.nbytes for weight in manifest.weights),
        },
        "graphs": len(manifest.graphs),
        "samples": manifest.samples.model_dump(mode="json"),
        "times_source": profile.source,
        "created_with": dict(manifest.created_with),
        "size": sum(member.size for member in manifest.members.values()),
    }


def points_lost(manifest: PackageManifest, partition: int) -> float | None:
    """The accuracy that the codec at ``partition`` costs at most, in points; None where nothing is sent."""
    losses = [
        100.0 * (exit_.accuracy - exit_.accuracy_by_partition[partition])
        for exit_ in manifest.exits
        if partition < exit_.after_block
    ]
    return max(losses, default=None)
