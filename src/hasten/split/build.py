"""Building a package: export a multi-exit network, cut it, measure its exits with the codec, prove it, write it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hasten.core.errors import InputError
from hasten.core.output import check_file, write_bytes
from hasten.core.profile import Profile
from hasten.split.accuracy import Accuracies, InlineSession, measure_accuracy
from hasten.split.content import Content, Meaning
from hasten.split.executor import Executor, Role
from hasten.split.export import FromFrames, export_network
from hasten.split.graph import plan_cuts
from hasten.split.graph_module import GraphModule
from hasten.split.manifest import LOGITS, MAX_EXITS, MAX_NAME, PackageManifest
from hasten.split.metrics import ACCURACY, make_metric, metric_name
from hasten.split.modules import named_outputs, require_float32, require_steady
from hasten.split.package import (
    Package,
    open_package,
    parse_package,
)
from hasten.split.segment_times import FittedTimes, fit_times, merged_source, profile_from, role_source, time_segments
from hasten.split.segments import Segmenter
from hasten.split.verify import TOLERANCE, VerificationError, option_error, random_inputs_like, relative_error

Array = NDArray[np.generic]
Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction done, 0 to 1."""

MAX_BLOCKS = 12
COSTLY = 0.05
"""A loss of accuracy through the codec that is worth a word."""

_OUTPUT_TYPES = (torch.float32, torch.uint8, torch.int32, torch.int64, torch.bool)
_VERIFIED_SAMPLES, _RANDOM_INPUTS = 8, 4
_QUICK_GAP_MS, _QUICK_REPEATS = 2.0, 5


def build_package(
    module: nn.Module,
    inputs: NDArray[np.generic],
    labels: NDArray[np.generic],
    *,
    name: str,
    exit_names: Sequence[str],
    path: str | Path,
    metric: str | Callable[..., object] = ACCURACY,
    class_names: Sequence[str] = (),
    max_blocks: int = MAX_BLOCKS,
    samples: int = 64,
    codec_inputs: int = 1000,
    progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Package:
    """Cut ``module`` at every useful place and write one ``.hasten`` file.

    Args:
        module: in eval mode; ``forward(x)`` returns a tuple with one entry per exit, deepest last: logits (N, classes),
            or for another ``metric`` any tensor or dictionary of tensors (N, ...). For uint8 ``inputs`` it is given
            ``x.float() / 255``; that scaling becomes part of the exported graph, so the raw frame is what goes on the
            wire. Other inputs are given as they are.
        inputs: (N, *input_shape) held-out inputs, uint8 or float32, never seen in training.
        labels: (N,) class indices, or for another metric whatever it compares with, (N, ...).
        name: of the package and its profile.
        exit_names: one per exit, in order.
        path: where the package goes; written whole or not at all.
        metric: what the accuracy of an option is: ``accuracy``, ``mean_iou``, ``mse``, or a function of an exit's
            outputs (a dictionary of arrays without batch axis) and the target that returns 0..1.
        class_names: of the logits, in order; with a metric of one's own they say that the exits give logits.
        max_blocks: at most so many blocks (exits are always kept); the smallest are merged into their neighbours.
        samples: so many of ``inputs`` travel in the package, for checks and as a source of tasks.
        codec_inputs: accuracy with the codec is measured on the first so many inputs, per exit and partition.
        progress: told what is being done.
        on_note: told what is worth knowing of the result: where nothing can be cut, where the codec costs accuracy. By
            default it becomes a warning.

    Raises:
        InputError: arguments of the wrong kind; the module, the data or the names do not fit each other; the module
            does not give the same at each call; or the graph cannot be cut at an exit. All before anything takes long.
        VerificationError: some (exit, partition) does not give what the module gives.
    """
    report, tell = progress or _silent, on_note or warn
    classifier = metric == ACCURACY or bool(class_names)
    frames, targets = _checked_data(inputs, labels, classifier)
    make_metric(metric, targets)
    path = check_path(path)
    _check_names(name, exit_names)
    for field, count in (("max_blocks", max_blocks), ("samples", samples), ("codec_inputs", codec_inputs)):
        if not isinstance(count, int) or count < 1:
            raise InputError("build", field, count, "a whole number from 1")
    report("export", 0.0)
    segmenter, classes = rehearse(module, frames, exit_names, max_blocks, classifier=classifier)
    if classifier and not 0 <= int(targets.min()) <= int(targets.max()) < classes:
        raise InputError("build", "labels", int(targets.max()), f"classes 0..{classes - 1}")
    meaning = Meaning(classes, _checked_class_names(class_names, classes), metric_name(metric))
    reference = reference_of(module, frames)
    accuracy = measure_accuracy(
        segmenter, frames, targets, codec_inputs, lambda done: report("accuracy with codec", done), metric
    )
    for note in (*segmenter.plan.notes, *_codec_notes(segmenter, exit_names, accuracy)):
        tell(note)
    held = min(samples, len(frames))
    content = Content(segmenter, accuracy, name, tuple(exit_names), meaning, frames[:held], targets[:held], len(frames))
    executor = Executor(parse_package(content.file(_untimed(content.manifest())), path))
    _verify_against(reference, executor, frames[:_VERIFIED_SAMPLES], lambda done: report("verify", done))
    write_bytes(path, content.file(_quick_profile(executor, lambda done: report("quick profile", done))))
    return open_package(path)


def rehearse(
    module: nn.Module,
    inputs: Array,
    exit_names: Sequence[str],
    max_blocks: int = MAX_BLOCKS,
    *,
    classifier: bool = True,
) -> tuple[Segmenter, int]:
    """Do with the first of ``inputs`` all that building could refuse a module for, trained or not, in seconds.

    Exports it, plans the cuts, and compares every exit behind one partition with the module itself.

    Returns:
        What makes the segments, and the number of classes; 0 for what is no ``classifier``.

    Raises:
        InputError: as :func:`build_package`.
        VerificationError: cutting changes what the module gives.
    """
    if not isinstance(module, nn.Module):
        raise InputError("build", "module", type(module).__name__, "a torch.nn.Module")
    require_float32(module)
    frame = inputs[:1].copy()
    reference = reference_of(module, frame)
    wanted = require_steady(reference, torch.from_numpy(frame))
    classes = _checked_exits(wanted, exit_names, classifier)
    network = export_network(reference, torch.from_numpy(frame.copy()))
    segmenter = Segmenter(network, plan_cuts(network, exit_names, max_blocks))
    values = {network.input: frame, **InlineSession(segmenter.everything()).run({network.input: frame})}
    partition = (len(segmenter.plan.cuts) - 1) // 2
    fed = {spec.name: values[spec.name] for spec in segmenter.specs(partition)}
    values |= InlineSession(segmenter.tails(partition)).run(fed)
    for number, given in enumerate(wanted, start=1):
        found = segmenter.outputs_in(values, number)
        error = max(relative_error(found[name], whole[0].numpy()) for name, whole in given.items())
        if not error <= TOLERANCE:
            raise VerificationError(
                f"network: exit {number}, partition {partition}: got outputs that differ from the module's by "
                f"{error:.3g}, expected at most {TOLERANCE:g}"
            )
    return segmenter, classes


def reference_of(module: nn.Module, frames: Array) -> nn.Module:
    """What the package has to equal: the module, given frames as they cross the link."""
    own = isinstance(module, GraphModule)  # a graph takes the frames themselves
    return (FromFrames(module) if frames.dtype == np.uint8 and not own else module).eval()


def _checked_data(inputs: Array, labels: Array, classifier: bool) -> tuple[Array, Array]:
    """Inputs as uint8, int64, bool or float32, labels as int64, other targets as these or float32."""
    for field, value in (("inputs", inputs), ("labels", labels)):
        if not isinstance(value, np.ndarray):
            raise InputError("build", field, type(value).__name__, "a numpy array (for a tensor: tensor.numpy())")
    if inputs.ndim < 2 or len(inputs) == 0:
        raise InputError("build", "inputs", inputs.shape, "an array (N, *input_shape) with N at least 1")
    if classifier and (labels.shape != (len(inputs),) or not np.issubdtype(labels.dtype, np.integer)):
        raise InputError("build", "labels", f"{labels.dtype}{labels.shape}", f"{len(inputs)} class indices")
    if labels.ndim < 1 or len(labels) != len(inputs):
        raise InputError("build", "labels", labels.shape, f"targets of all {len(inputs)} inputs")
    return _plain("inputs", inputs), labels.astype(np.int64) if classifier else _plain("labels", labels)


def _plain(field: str, array: Array) -> Array:
    """An array of a type that packages hold."""
    if array.dtype not in (np.dtype(np.uint8), np.dtype(np.int64), np.dtype(np.bool_)):
        if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
            raise InputError("build", field, str(array.dtype), "uint8, int64, bool, or finite float values")
        array = array.astype(np.float32)
    return np.ascontiguousarray(array)


def check_path(path: str | Path) -> Path:
    """``path`` as a Path, if a package can be written there; InputError otherwise."""
    if not isinstance(path, str | Path):
        raise InputError("build", "path", type(path).__name__, "a file name that ends in .hasten")
    if Path(path).suffix != ".hasten":
        raise InputError("build", "path", str(path), "a file name that ends in .hasten")
    check_file(path)
    return Path(path)


def _check_names(name: str, exit_names: Sequence[str]) -> None:
    """The names that the manifest takes, before anything is done."""
    if isinstance(exit_names, str) or not isinstance(exit_names, Sequence):
        raise InputError("build", "exit_names", exit_names, "a list of names, one per exit")
    for field, value in (("name", name), *(("exit_names", given) for given in exit_names)):
        _check_name(field, value)
    if len(exit_names) > MAX_EXITS:
        raise InputError("build", "exit_names", len(exit_names), f"at most {MAX_EXITS} exits")


def _check_name(field: str, value: object) -> None:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME or any(c < " " or c == "\x7f" for c in value):
        raise InputError("build", field, value, f"1 to {MAX_NAME} characters without control characters")


def _checked_class_names(names: Sequence[str], classes: int) -> tuple[str, ...]:
    if isinstance(names, str) or (names and len(names) != classes):
        raise InputError("build", "class_names", len(names), f"a list of {classes} names, one per class")
    for name in names:
        _check_name("class_names", name)
    return tuple(names)


def _checked_exits(outputs: Sequence[dict[str, torch.Tensor]], exit_names: Sequence[str], classifier: bool) -> int:
    """The number of classes, once every exit is known to give logits (1, classes); 0 for what is no classifier."""
    if len(outputs) != len(exit_names) or len(set(exit_names)) != len(exit_names):
        expected = f"{len(outputs)} different names, one per output of the module"
        raise InputError("build", "exit_names", list(exit_names), expected)
    for exit_name, given in zip(exit_names, outputs, strict=True):
        for name, tensor in given.items():
            _check_name(f"outputs of {exit_name}", name)
            if tensor.dtype not in _OUTPUT_TYPES or tensor.ndim < 1 or tensor.shape[0] != 1:
                found = f"{tensor.dtype} {tuple(tensor.shape)}"
                expected = "float32, uint8, int32, int64 or bool, with the batch (1 here) as the first axis"
                raise InputError("build", f"output {name} of exit {exit_name}", found, expected)
    if not classifier:
        return 0
    shapes = [{name: tuple(tensor.shape) for name, tensor in given.items()} for given in outputs]
    if any(shape != shapes[0] for shape in shapes) or list(shapes[0]) != [LOGITS] or len(shapes[0][LOGITS]) != 2:
        expected = "logits of the same shape (1, classes) from every exit, or another metric than accuracy"
        raise InputError("build", "module", shapes, expected)
    return shapes[0][LOGITS][1]


def _codec_notes(segmenter: Segmenter, exit_names: Sequence[str], accuracy: Accuracies) -> list[str]:
    """Where sending costs much accuracy, in words."""
    cuts = segmenter.plan.cuts
    return [
        f"exit {name}: {coded:.3f} right when partition {partition} ({cuts[partition].name}) is sent, {uncoded:.3f} "
        "without the codec"
        for name, uncoded, by_partition in zip(exit_names, accuracy.uncoded, accuracy.by_partition, strict=True)
        for partition, coded in enumerate(by_partition)
        if uncoded - coded > COSTLY
    ]


def _verify_against(reference: nn.Module, executor: Executor, frames: Array, report: Callable[[float], None]) -> None:
    """Compare every (exit, partition) with the torch module itself; the first that differs raises."""
    inputs = [frames[index : index + 1] for index in range(len(frames))]
    inputs += random_inputs_like(executor.package.manifest.input, frames, _RANDOM_INPUTS, seed=0)
    with torch.no_grad():
        answers = [named_outputs(reference(torch.from_numpy(frame.copy()))) for frame in inputs]
    options = executor.package.manifest.options()
    for done, (exit_, partition) in enumerate(options, start=1):
        whole = [{name: tensor[0].numpy() for name, tensor in answer[exit_ - 1].items()} for answer in answers]
        option_error(executor, exit_, partition, inputs, whole)
        report(done / len(options))


def _untimed(manifest: PackageManifest) -> Profile:
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


def warn(note: str) -> None:
    """Tell a note as a warning."""
    warnings.warn(note, stacklevel=3)


def _silent(what: str, done: float) -> None:
    """The progress of a caller who asked for none."""
