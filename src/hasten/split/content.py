"""What goes into a package: graphs, weights, samples, and the manifest that describes them."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hasten.core.profile import Profile
from hasten.split.accuracy import Accuracies
from hasten.split.inputs import Inputs, arrays_of
from hasten.split.manifest import (
    Cut,
    ExitSpec,
    Graph,
    PackageManifest,
    Samples,
    TensorSpec,
    Weight,
    check_segments,
    onward_segments,
)
from hasten.split.metrics import ACCURACY
from hasten.split.package import PROFILE, SAMPLE_LABELS, npy_bytes, sample_members, write_package
from hasten.split.segments import Segmenter

Array = NDArray[np.generic]

_VERSIONS_OF = ("hasten", "torch", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Meaning:
    """What the outputs stand for: the number of classes (0: other outputs than logits), their names, the metric."""

    classes: int
    class_names: tuple[str, ...] = ()
    metric: str = ACCURACY


@dataclass(frozen=True)
class Content:
    """Everything that goes into the file but the profile, which needs the rest to be measured."""

    segmenter: Segmenter
    accuracy: Accuracies
    name: str
    exit_names: tuple[str, ...]
    meaning: Meaning
    inputs: Inputs
    labels: Array
    evaluated: int

    def manifest(self) -> PackageManifest:
        """The manifest, as yet without the list of members."""
        return PackageManifest.model_validate({**self.description, "schema": "hasten.package/1", "members": {}})

    def write(self, file: BinaryIO, profile: Profile) -> None:
        """Write the package."""
        write_package(file, self.description, {PROFILE: profile.to_json().encode(), **self.members})

    @cached_property
    def graphs(self) -> dict[str, tuple[Graph, bytes]]:
        """Member name -> entry and ONNX bytes."""
        found: dict[str, tuple[Graph, bytes]] = {}
        plan = self.segmenter.plan
        for partition in range(1, len(plan.cuts)):
            member = f"graphs/prefix_{partition:02}.onnx"
            entry = Graph(kind="prefix", partition=partition, member=member)
            found[member] = entry, self.segmenter.prefix(partition)
        for number, after in enumerate(plan.after_block, start=1):
            for partition in range(after + 1):
                member = f"graphs/finish_{partition:02}_{number:02}.onnx"
                entry = Graph(kind="finish", partition=partition, exit=number, member=member)
                found[member] = entry, self.segmenter.finish(partition, number)
        rule = self.accuracy.confidence
        stops = {"check": check_segments(plan.after_block, rule), "onward": onward_segments(plan.after_block, rule)}
        for kind, pairs in stops.items():
            for partition, number in pairs:
                member = f"graphs/{kind}_{partition:02}_{number:02}.onnx"
                entry = Graph.model_validate({"kind": kind, "partition": partition, "exit": number, "member": member})
                make = self.segmenter.check if kind == "check" else self.segmenter.onward
                found[member] = entry, make(partition, number)
        return found

    @cached_property
    def weights(self) -> dict[str, tuple[Weight, memoryview]]:
        """Member name -> entry and little-endian bytes, which are the network's own where they are such."""
        found: dict[str, tuple[Weight, memoryview]] = {}
        for index, (name, array) in enumerate(self.segmenter.weights().items()):
            member = f"weights/w{index:04}.bin"
            spec = TensorSpec.model_validate({"name": name, "shape": array.shape, "dtype": str(array.dtype)})
            plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1)
            found[member] = Weight(tensor=spec, member=member), plain.view(np.uint8).data
        return found

    @cached_property
    def members(self) -> dict[str, bytes | memoryview]:
        """Every member but manifest and profile."""
        arrays = arrays_of(self.inputs)
        return {
            **{member: data for member, (_, data) in self.graphs.items()},
            **{member: data for member, (_, data) in self.weights.items()},
            **{member: npy_bytes(array) for member, array in zip(sample_members(len(arrays)), arrays, strict=True)},
            SAMPLE_LABELS: npy_bytes(self.labels),
        }

    def _target(self) -> TensorSpec | None:
        """What a label is where it is no class."""
        if self.meaning.classes or (self.labels.ndim == 1 and self.labels.dtype == np.int64):
            return None
        return TensorSpec.model_validate(
            {"name": "labels", "shape": self.labels.shape[1:], "dtype": str(self.labels.dtype)}
        )

    @cached_property
    def description(self) -> Mapping[str, Any]:
        """The manifest's fields."""
        plan, accuracy = self.segmenter.plan, self.accuracy
        return {
            "name": self.name,
            **asdict(self.meaning),
            "target": self._target(),
            "cuts": [
                Cut(name=cut.name, tensors=self.segmenter.specs(partition), payload_bytes=size, codec=codec)
                for partition, (cut, size, codec) in enumerate(
                    zip(plan.cuts, accuracy.payload_bytes, accuracy.codecs, strict=True)
                )
            ],
            "exits": [
                _exit_spec(
                    name,
                    after,
                    accuracy.uncoded[index],
                    accuracy.by_partition[index],
                    self.segmenter.outputs(index + 1),
                )
                for index, (name, after) in enumerate(zip(self.exit_names, plan.after_block, strict=True))
            ],
            "graphs": [entry for entry, _ in self.graphs.values()],
            "weights": [entry for entry, _ in self.weights.values()],
            "confidence": accuracy.confidence,
            "samples": Samples(count=len(self.labels), evaluated=self.evaluated),
            "created_with": {package: importlib.metadata.version(package) for package in _VERSIONS_OF},
        }


def _exit_spec(
    name: str,
    after_block: int,
    accuracy: float,
    by_partition: tuple[float, ...],
    outputs: tuple[TensorSpec, ...],
) -> ExitSpec:
    return ExitSpec(
        name=name,
        after_block=after_block,
        outputs=outputs,
        accuracy=accuracy,
        accuracy_with_codec=float(np.clip(np.mean(by_partition), min(by_partition), max(by_partition))),
        worst_accuracy_with_codec=min(by_partition),
        accuracy_by_partition=by_partition,
    )
