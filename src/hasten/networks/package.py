"""``hs.build_package``: train what has to be trained of a network that a program has, and write it as a package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray
from torch import nn

from hasten.core.errors import InputError
from hasten.core.progress import shown
from hasten.networks.attach import MultiExit, OwnExits
from hasten.networks.build import kept_on_failure, tell_harm
from hasten.networks.data import own_dataset
from hasten.networks.fit import fit
from hasten.networks.thresholds import check_loss, chosen_rule
from hasten.networks.train import Progress, TrainSettings
from hasten.split import build as packing
from hasten.split.build_checks import check_path
from hasten.split.inputs import Inputs
from hasten.split.metrics import ACCURACY
from hasten.split.modules import batch_like
from hasten.split.package import Package


class Packing(TypedDict, total=False):
    """What :func:`hasten.split.build.build_package` takes besides; it documents each."""

    metric: str | Callable[..., object]
    class_names: Sequence[str]
    max_blocks: int
    samples: int
    codec_inputs: int
    codec: str
    progress: Progress | None
    on_note: Callable[[str], None] | None


def build_package(
    module: nn.Module,
    inputs: Inputs,
    labels: NDArray[np.generic],
    *,
    name: str,
    path: str | Path,
    exit_names: Sequence[str] | None = None,
    train: str = "none",
    train_data: object = None,
    settings: TrainSettings | None = None,
    max_accuracy_loss: float | None = None,
    **others: Unpack[Packing],
) -> Package:
    """Cut ``module`` at every useful place and write one ``.hasten`` file, after training what ``train`` says.

    Args:
        module: as :func:`hasten.attach_exits` gives it, or one whose ``forward`` returns a tuple of one tensor of
            logits (N, classes) per exit, deepest last. For uint8 ``inputs`` it is given ``x.float() / 255``; that
            scaling becomes part of the exported graph, so the raw frame is what goes on the wire. Trained in place.
        inputs: (N, *input_shape) held-out inputs, uint8, float32, int32, int64 or bool, never seen in training; of a
            module with several inputs a dictionary of such arrays by the names of ``forward``'s parameters.
        labels: (N,) class indices, or what another ``metric`` compares with, (N, ...).
        name: of the package and its profile.
        path: where the package goes; written whole or not at all.
        exit_names: one per exit, in order; by default those of the module, or exit1, exit2, ...
        train: ``none``: the exits are trained already, and each gives to the bit what it gave. ``heads``: all but the
            deepest are trained, and the deepest gives to the bit what it gave. ``all``: everything, gently if the
            network knows something. ``auto``: what does not answer better than guessing.
        train_data: what to train, validate and calibrate with: arrays, a pair (inputs, labels), a torch Dataset or
            DataLoader, rows with named columns, or a mapping of such parts ``train`` and ``validation``. Several inputs
            are in it a dictionary of arrays, or columns, by their names. Without labels the heads learn to answer as
            the deepest exit does.
        settings: how to train.
        max_accuracy_loss: tasks may stop at an exit that they pass where that costs at most so much accuracy, by the
            validation part of ``train_data``; None: never.
        others: as :func:`hasten.split.build.build_package` takes them: ``metric``, ``class_names``, ``max_blocks``,
            ``samples``, ``codec_inputs``, ``codec``, ``progress``, ``on_note``.

    Raises:
        InputError: module, data, names and settings do not fit each other, or the graph cannot be cut at an exit; all
            before anything is trained.
        HastenError: training diverged, or some (exit, partition) does not give what the module gives.
    """
    check_loss(max_accuracy_loss, others.get("metric", ACCURACY))
    if exit_names is None:
        exit_names = _names_of(module, inputs)
    if train != "none" and others.get("metric", ACCURACY) != ACCURACY and not others.get("class_names"):
        raise InputError("build", "train", train, "none: exits for another metric than accuracy come trained")
    with ExitStack() as stack:
        progress = others.get("progress") or stack.enter_context(shown(f"building {name}"))
        packed: dict[str, Any] = {"name": name, "exit_names": exit_names, "path": path, **others, "progress": progress}
        return _trained_and_packed(module, inputs, labels, train, train_data, settings, max_accuracy_loss, packed)


def _trained_and_packed(
    module: nn.Module,
    inputs: Inputs,
    labels: NDArray[np.generic],
    train: str,
    train_data: object,
    settings: TrainSettings | None,
    max_accuracy_loss: float | None,
    packed: dict[str, Any],
) -> Package:
    """``packed``: what the package is packed with."""
    if train == "none" and max_accuracy_loss is None:
        return packing.build_package(module, inputs, labels, **packed)
    if train_data is None:
        why = f"train {train} with" if train != "none" else "choose with when tasks may stop early"
        raise InputError("build", "train_data", None, f"data to {why}")
    names = tuple(inputs) if isinstance(inputs, Mapping) else ()
    dataset = own_dataset(train_data, "train_data", (settings or TrainSettings()).seed, names)
    packed["path"] = path = check_path(packed["path"])
    packing.rehearse(module, dataset.test_x, packed["exit_names"])
    fitted = fit(module, dataset, train, settings, packed["progress"])
    tell_harm(fitted, packed.get("on_note"))
    with kept_on_failure(module, fitted, path):
        if max_accuracy_loss is not None:
            packed["stop"] = chosen_rule(fitted.module, dataset, max_accuracy_loss)
        return packing.build_package(fitted.module, inputs, labels, **packed)


def _names_of(module: nn.Module, inputs: Inputs) -> Sequence[str]:
    """The module's own names of its exits, or numbers."""
    if isinstance(module, MultiExit | OwnExits):
        return module.exit_names
    arrays = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]
    if not isinstance(module, nn.Module) or not arrays or not all(isinstance(array, np.ndarray) for array in arrays):
        return ("final",)  # refused by what follows, which says why
    return OwnExits(module, 0, batch_like(inputs, [array[:2] for array in arrays])).exit_names
