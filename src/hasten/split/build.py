"""Building a package: export a multi-exit network, cut it, measure its exits with the codec, prove it, write it."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hasten.core.confidence import StopRule
from hasten.core.errors import InputError
from hasten.core.output import replacement
from hasten.core.profile import Profile
from hasten.split.accuracy import Accuracies, InlineSession, measure_accuracy
from hasten.split.build_checks import (
    check_codec,
    check_names,
    check_path,
    check_stop,
    checked_class_names,
    checked_data,
    checked_exits,
)
from hasten.split.codec_choice import AUTO
from hasten.split.content import Content, Meaning
from hasten.split.executor import Executor, Role
from hasten.split.export import FromFrames, export_network
from hasten.split.graph import plan_cuts
from hasten.split.graph_module import GraphModule
from hasten.split.inputs import Inputs, arrays_of, count_of, first_of, frame_of
from hasten.split.manifest import PackageManifest
from hasten.split.metrics import ACCURACY, make_metric, metric_name
from hasten.split.modules import batch_like, call, named_outputs, require_float32, require_steady
from hasten.split.package import Package, package_in
from hasten.split.segment_times import FittedTimes, fit_times, merged_source, profile_from, role_source, time_segments
from hasten.split.segments import Segmenter
from hasten.split.stopping import measure_stops
from hasten.split.verify import (
    TOLERANCE,
    VerificationError,
    option_error,
    random_inputs_like,
    relative_error,
    stop_error,
)

Array = NDArray[np.generic]
Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction done, 0 to 1."""

MAX_BLOCKS = 12
COSTLY = 0.05
"""A loss of accuracy through the codec that is worth a word."""

_VERIFIED_SAMPLES, _RANDOM_INPUTS = 8, 4
_QUICK_GAP_MS, _QUICK_REPEATS = 2.0, 5


def build_package(
    module: nn.Module,
    inputs: Inputs,
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
    codec: str = AUTO,
    stop: StopRule | None = None,
    progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Package:
    """Cut ``module`` at every useful place and write one ``.hasten`` file.

    Args:
        module: in eval mode; ``forward(x)`` returns a tuple with one entry per exit, deepest last: logits (N, classes),
            or for another ``metric`` any tensor or dictionary of tensors (N, ...). For uint8 ``inputs`` it is given
            ``x.float() / 255``; that scaling becomes part of the exported graph, so the raw frame is what goes on the
            wire. Other inputs are given as they are.
        inputs: (N, *input_shape) held-out inputs, uint8, float32, int32, int64 or bool, never seen in training; of a
            module with several inputs a dictionary of such arrays by the names of ``forward``'s parameters.
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
        codec: the name of one for every cut, or ``auto``: at each the smallest that costs less than 0.3 points.
        stop: when tasks may stop at an exit that they pass (``core.confidence``); what comes of it is measured. None:
            never.
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
    frames, targets = checked_data(_in_order(module, inputs), labels, classifier)
    make_metric(metric, targets)
    path = check_path(path)
    check_names(name, exit_names)
    for field, count in (("max_blocks", max_blocks), ("samples", samples), ("codec_inputs", codec_inputs)):
        if not isinstance(count, int) or count < 1:
            raise InputError("build", field, count, "a whole number from 1")
    check_codec(codec)
    check_stop(stop, exit_names, classifier and metric == ACCURACY)
    report("export", 0.0)
    segmenter, classes = rehearse(module, frames, exit_names, max_blocks, classifier=classifier)
    if classifier and not 0 <= int(targets.min()) <= int(targets.max()) < classes:
        raise InputError("build", "labels", int(targets.max()), f"classes 0..{classes - 1}")
    meaning = Meaning(classes, checked_class_names(class_names, classes), metric_name(metric))
    reference = reference_of(module, frames)
    accuracy = measure_accuracy(
        segmenter, frames, targets, codec_inputs, lambda done: report("accuracy with codec", done), metric, codec
    )
    if stop is not None:
        accuracy = replace(accuracy, confidence=measure_stops(segmenter.plan.after_block, stop, accuracy))
    for note in (*segmenter.plan.notes, *_codec_notes(segmenter, exit_names, accuracy)):
        tell(note)
    held = first_of(frames, samples)
    content = Content(
        segmenter, accuracy, name, tuple(exit_names), meaning, held, targets[: count_of(held)], len(targets)
    )
    with _untimed_package(content, path) as untimed:
        executor = Executor(untimed)
        _verify_against(reference, executor, first_of(frames, _VERIFIED_SAMPLES), lambda done: report("verify", done))
        profile = _quick_profile(executor, lambda done: report("quick profile", done))
    with replacement(path) as file:
        content.write(file, profile)
        return package_in(file, path)


def rehearse(
    module: nn.Module,
    inputs: Inputs,
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
    reference = reference_of(module, inputs)
    example = batch_like(inputs, frame_of(inputs, 0))
    wanted = require_steady(reference, example)
    classes = checked_exits(wanted, exit_names, classifier)
    network = export_network(reference, example)
    segmenter = Segmenter(network, plan_cuts(network, exit_names, max_blocks))
    values = dict(zip(network.inputs, frame_of(inputs, 0), strict=True))
    values |= InlineSession(segmenter.everything()).run(values)
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


def reference_of(module: nn.Module, inputs: Inputs) -> nn.Module:
    """What the package has to equal: the module, given frames as they cross the link."""
    own = isinstance(module, GraphModule)  # a graph takes the frames themselves
    pixels = any(array.dtype == np.uint8 for array in arrays_of(inputs))
    return (FromFrames(module) if pixels and not own else module).eval()


def _in_order(module: nn.Module, inputs: Inputs) -> Inputs:
    """The inputs of a graph in the graph's order, for which their names must be its own."""
    if not isinstance(module, GraphModule) or not isinstance(inputs, Mapping):
        return inputs
    names = module.network.inputs
    if set(inputs) != set(names):
        raise InputError("build", "inputs", sorted(map(str, inputs)), f"those of the graph, {', '.join(names)}")
    return {name: inputs[name] for name in names}


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


def _verify_against(reference: nn.Module, executor: Executor, samples: Inputs, report: Callable[[float], None]) -> None:
    """Compare every (exit, partition) with the torch module itself; the first that differs raises."""
    inputs = [frame_of(samples, index) for index in range(count_of(samples))]
    inputs += random_inputs_like(executor.package.manifest.inputs, samples, _RANDOM_INPUTS, seed=0)
    manifest = executor.package.manifest
    with torch.no_grad():
        answers = [named_outputs(call(reference, batch_like(samples, frame))) for frame in inputs]
    whole_of = {
        number: [{name: tensor[0].numpy() for name, tensor in answer[number - 1].items()} for answer in answers]
        for number in range(1, len(manifest.exits) + 1)
    }
    options = manifest.options()
    for done, (exit_, partition) in enumerate(options, start=1):
        option_error(executor, exit_, partition, inputs, whole_of[exit_])
        report(done / len(options))
    stop_error(executor, inputs, whole_of)


@contextmanager
def _untimed_package(content: Content, path: Path) -> Iterator[Package]:
    """The package without times, in a file without a name beside ``path``."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.TemporaryFile(dir=path.parent))
            content.write(file, untimed(content.manifest()))
            package = package_in(file, path)
        except OSError as error:
            raise InputError(path, "output", str(path), f"a writable file ({error.strerror})") from None
        yield package


def untimed(manifest: PackageManifest) -> Profile:
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
