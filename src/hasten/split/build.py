"""Building a package: export a multi-exit network, cut it, measure its exits with the codec, prove it, write it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hasten.core.errors import InputError
from hasten.core.output import write_bytes
from hasten.core.profile import Profile
from hasten.split.accuracy import Accuracies, measure_accuracy
from hasten.split.executor import Executor, Role
from hasten.split.export import FromFrames, export_network
from hasten.split.graph import plan_cuts
from hasten.split.manifest import Cut, ExitSpec, Graph, Manifest, Samples, TensorSpec, Weight
from hasten.split.package import (
    PROFILE,
    SAMPLE_INPUTS,
    SAMPLE_LABELS,
    Package,
    npy_bytes,
    package_bytes,
    parse_package,
)
from hasten.split.segments import Segmenter
from hasten.split.timing import FittedTimes, fit_times, merged_source, profile_from, role_source, time_segments
from hasten.split.verify import option_error, random_inputs_like

Array = NDArray[np.generic]
Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction done, 0 to 1."""

_VERIFIED_SAMPLES, _RANDOM_INPUTS = 8, 4
_QUICK_GAP_MS, _QUICK_REPEATS = 2.0, 5
_VERSIONS_OF = ("hasten", "torch", "onnx", "onnxruntime", "numpy")


def build_package(
    module: nn.Module,
    inputs: NDArray[np.generic],
    labels: NDArray[np.integer],
    *,
    name: str,
    exit_names: Sequence[str],
    path: Path,
    max_blocks: int = 12,
    samples: int = 64,
    codec_inputs: int = 1000,
    progress: Progress | None = None,
) -> Package:
    """Cut ``module`` at every useful place and write one ``.hasten`` file.

    Args:
        module: in eval mode; ``forward(x)`` returns a tuple of one logits tensor (N, classes) per exit, deepest last.
            For uint8 ``inputs`` it is given ``x.float() / 255``; that scaling becomes part of the exported graph, so
            the raw frame is what goes on the wire. Float inputs are given as they are.
        inputs: (N, *input_shape) held-out inputs, uint8 or float32, never seen in training.
        labels: (N,) class indices.
        name: of the package and its profile.
        exit_names: one per exit, in order.
        path: where the package goes; written whole or not at all.
        max_blocks: at most so many blocks (exits are always kept); the smallest are merged into their neighbours.
        samples: so many of ``inputs`` travel in the package, for checks and as a source of tasks.
        codec_inputs: accuracy with the codec is measured on the first so many inputs, per exit and partition.
        progress: told what is being done.

    Raises:
        InputError: the module, the data or the names do not fit each other, or the graph cannot be cut at an exit.
        VerificationError: some (exit, partition) does not give what the module gives.
    """
    report = progress or _silent
    frames, classes_of = _checked_data(inputs, labels)
    if path.suffix != ".hasten":
        raise InputError("build", "path", str(path), "a file name that ends in .hasten")
    report("export", 0.0)
    reference = (FromFrames(module) if frames.dtype == np.uint8 else module).eval()
    classes = _checked_exits(reference, frames[:1], exit_names, classes_of)
    network = export_network(reference, torch.from_numpy(frames[:1].copy()))
    segmenter = Segmenter(network, plan_cuts(network, exit_names, max_blocks))
    accuracy = measure_accuracy(
        segmenter, frames, classes_of, codec_inputs, lambda done: report("accuracy with codec", done)
    )
    held = min(samples, len(frames))
    content = _Content(
        segmenter, accuracy, name, tuple(exit_names), classes, frames[:held], classes_of[:held], len(frames)
    )
    executor = Executor(parse_package(content.file(_untimed(content.manifest())), path))
    _verify_against(reference, executor, frames[:_VERIFIED_SAMPLES], lambda done: report("verify", done))
    data = content.file(_quick_profile(executor, lambda done: report("quick profile", done)))
    package = parse_package(data, path)
    write_bytes(path, data)
    return package


@dataclass(frozen=True)
class _Content:
    """Everything that goes into the file but the profile, which needs the rest to be measured."""

    segmenter: Segmenter
    accuracy: Accuracies
    name: str
    exit_names: tuple[str, ...]
    classes: int
    inputs: Array
    labels: NDArray[np.int64]
    evaluated: int

    def manifest(self) -> Manifest:
        """The manifest, as yet without the list of members."""
        return Manifest.model_validate({**self.description, "schema": "hasten.package/1", "members": {}})

    def file(self, profile: Profile) -> bytes:
        """The bytes of the package."""
        members = {PROFILE: profile.to_json().encode(), **self.members}
        return package_bytes(self.description, members)

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
        return found

    @cached_property
    def weights(self) -> dict[str, tuple[Weight, bytes]]:
        """Member name -> entry and little-endian bytes."""
        found: dict[str, tuple[Weight, bytes]] = {}
        for index, (name, array) in enumerate(self.segmenter.weights().items()):
            member = f"weights/w{index:04}.bin"
            spec = TensorSpec.model_validate({"name": name, "shape": array.shape, "dtype": str(array.dtype)})
            found[member] = Weight(tensor=spec, member=member), array.astype(array.dtype.newbyteorder("<")).tobytes()
        return found

    @cached_property
    def members(self) -> dict[str, bytes]:
        """Every member but manifest and profile."""
        return {
            **{member: data for member, (_, data) in self.graphs.items()},
            **{member: data for member, (_, data) in self.weights.items()},
            SAMPLE_INPUTS: npy_bytes(self.inputs),
            SAMPLE_LABELS: npy_bytes(self.labels),
        }

    @cached_property
    def description(self) -> Mapping[str, Any]:
        """The manifest's fields."""
        plan, accuracy = self.segmenter.plan, self.accuracy
        return {
            "name": self.name,
            "classes": self.classes,
            "cuts": [
                Cut(name=cut.name, tensors=self.segmenter.specs(partition), payload_bytes=size)
                for partition, (cut, size) in enumerate(zip(plan.cuts, accuracy.payload_bytes, strict=True))
            ],
            "exits": [
                _exit_spec(name, after, accuracy.uncoded[index], accuracy.by_partition[index])
                for index, (name, after) in enumerate(zip(self.exit_names, plan.after_block, strict=True))
            ],
            "graphs": [entry for entry, _ in self.graphs.values()],
            "weights": [entry for entry, _ in self.weights.values()],
            "samples": Samples(count=len(self.inputs), evaluated=self.evaluated),
            "created_with": {package: importlib.metadata.version(package) for package in _VERSIONS_OF},
        }


def _exit_spec(name: str, after_block: int, accuracy: float, by_partition: tuple[float, ...]) -> ExitSpec:
    return ExitSpec(
        name=name,
        after_block=after_block,
        accuracy=accuracy,
        accuracy_with_codec=float(np.clip(np.mean(by_partition), min(by_partition), max(by_partition))),
        worst_accuracy_with_codec=min(by_partition),
        accuracy_by_partition=by_partition,
    )


def _checked_data(inputs: Array, labels: NDArray[np.integer]) -> tuple[Array, NDArray[np.int64]]:
    """Inputs as uint8, int64 or float32, labels as int64."""
    if inputs.ndim < 2 or len(inputs) == 0:
        raise InputError("build", "inputs", inputs.shape, "an array (N, *input_shape) with N at least 1")
    if labels.shape != (len(inputs),) or not np.issubdtype(labels.dtype, np.integer):
        raise InputError("build", "labels", f"{labels.dtype}{labels.shape}", f"{len(inputs)} class indices")
    if inputs.dtype not in (np.uint8, np.int64):
        if not np.issubdtype(inputs.dtype, np.floating) or not np.isfinite(inputs).all():
            raise InputError("build", "inputs", str(inputs.dtype), "uint8, int64, or finite float values")
        inputs = inputs.astype(np.float32)
    return np.ascontiguousarray(inputs), labels.astype(np.int64)


def _checked_exits(module: nn.Module, frame: Array, exit_names: Sequence[str], labels: NDArray[np.int64]) -> int:
    """Run one input; the number of classes, once every exit is known to give logits (1, classes) for the labels."""
    with torch.no_grad():
        try:
            outputs = module(torch.from_numpy(frame.copy()))
        except Exception as error:  # whatever the user's own code raises
            reason = " ".join(str(error).split())[:160]
            raise InputError("build", "module", type(error).__name__, f"a module that runs ({reason})") from None
    if not isinstance(outputs, (tuple, list)) or not all(isinstance(logits, torch.Tensor) for logits in outputs):
        raise InputError("build", "module", type(outputs).__name__, "a tuple of logits, one per exit, from forward")
    if len(outputs) != len(exit_names) or len(set(exit_names)) != len(exit_names):
        expected = f"{len(outputs)} different names, one per output of the module"
        raise InputError("build", "exit_names", list(exit_names), expected)
    shapes = [tuple(logits.shape) for logits in outputs]
    if len(set(shapes)) > 1 or len(shapes[0]) != 2 or shapes[0][0] != 1:
        raise InputError("build", "module", shapes, "logits of the same shape (1, classes) from every exit")
    classes = int(shapes[0][1])
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError("build", "labels", int(labels.max()), f"classes 0..{classes - 1}")
    return classes


def _verify_against(reference: nn.Module, executor: Executor, frames: Array, report: Callable[[float], None]) -> None:
    """Compare every (exit, partition) with the torch module itself; the first that differs raises."""
    inputs = [frames[index : index + 1] for index in range(len(frames))]
    inputs += random_inputs_like(executor.package.manifest.input, frames, _RANDOM_INPUTS, seed=0)
    with torch.no_grad():
        answers = [reference(torch.from_numpy(frame.copy())) for frame in inputs]
    options = executor.package.manifest.options()
    for done, (exit_, partition) in enumerate(options, start=1):
        whole = [answer[exit_ - 1][0].numpy() for answer in answers]
        option_error(executor, exit_, partition, inputs, whole)
        report(done / len(options))


def _untimed(manifest: Manifest) -> Profile:
    """A profile without times, for the package to be opened before it is measured."""
    nothing = FittedTimes(
        (0.0,) * manifest.block_count, (0.0,) * len(manifest.exits), (0.0,) * len(manifest.cuts), 0.0, 0.0
    )
    return profile_from(manifest, nothing, nothing, "not measured")


def _quick_profile(executor: Executor, report: Callable[[float], None]) -> Profile:
    """A first profile from a few calls, the same machine playing both roles; ``hasten profile`` makes better ones."""
    manifest = executor.package.manifest
    times = time_segments(executor, gap_ms=_QUICK_GAP_MS, repeats=_QUICK_REPEATS, progress=report)
    device, edge = fit_times(times, manifest, "device"), fit_times(times, manifest, "edge")
    how = times.describe(_QUICK_GAP_MS, _QUICK_REPEATS, executor.threads)
    fits: dict[Role, FittedTimes] = {"device": device, "edge": edge}
    parts = {role: f"{role_source(role, fit, how)}, on the machine that built it" for role, fit in fits.items()}
    source = merged_source("", parts)
    return profile_from(manifest, device, edge, source)


def _silent(what: str, done: float) -> None:
    """The progress of a caller who asked for none."""
