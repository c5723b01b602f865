"""The arguments of building a package, checked before anything takes long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hasten.core.confidence import StopRule
from hasten.core.errors import InputError, one_of
from hasten.core.output import check_file
from hasten.split.codec_choice import AUTO
from hasten.split.codecs import CODECS
from hasten.split.inputs import MAX_INPUTS, Inputs, count_of
from hasten.split.manifest import LOGITS, MAX_EXITS, MAX_NAME

Array = NDArray[np.generic]

_KEPT_TYPES = tuple(map(np.dtype, ("uint8", "int32", "int64", "bool")))
_OUTPUT_TYPES = (torch.float32, torch.uint8, torch.int32, torch.int64, torch.bool)


def checked_data(inputs: Inputs, labels: Array, classifier: bool) -> tuple[Inputs, Array]:
    """Inputs as uint8, int32, int64, bool or float32, labels as int64, other targets as inputs."""
    frames = _checked_inputs(inputs)
    count = count_of(frames)
    _require_array("labels", labels)
    if classifier and (labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer)):
        raise InputError("build", "labels", f"{labels.dtype}{labels.shape}", f"{count} class indices")
    if labels.ndim < 1 or len(labels) != count:
        raise InputError("build", "labels", labels.shape, f"targets of all {count} inputs")
    return frames, labels.astype(np.int64) if classifier else _plain("labels", labels)


def _checked_inputs(inputs: Inputs) -> Inputs:
    """The inputs, of types that packages hold and all of the same number."""
    if not isinstance(inputs, Mapping):
        _require_array("inputs", inputs)
        if inputs.ndim < 2 or len(inputs) == 0:
            raise InputError("build", "inputs", inputs.shape, "an array (N, *input_shape) with N at least 1")
        return _plain("inputs", inputs)
    if not 1 <= len(inputs) <= MAX_INPUTS:
        raise InputError("build", "inputs", len(inputs), f"1 to {MAX_INPUTS} inputs")
    for name, array in inputs.items():
        _check_name("inputs", name)
        _require_array(f"inputs: {name}", array)
        if array.ndim < 1 or len(array) != len(next(iter(inputs.values()))) or not len(array):
            expected = "arrays (N, *shape) with the same N, at least 1, for all inputs"
            raise InputError("build", f"inputs: {name}", array.shape, expected)
    return {name: _plain(f"inputs: {name}", array) for name, array in inputs.items()}


def _require_array(field: str, value: object) -> None:
    if not isinstance(value, np.ndarray):
        raise InputError("build", field, type(value).__name__, "a numpy array (for a tensor: tensor.numpy())")


def _plain(field: str, array: Array) -> Array:
    """An array of a type that packages hold."""
    if array.dtype not in _KEPT_TYPES:
        if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
            raise InputError("build", field, str(array.dtype), "uint8, int32, int64, bool, or finite float values")
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


def check_codec(codec: str) -> None:
    """InputError unless ``codec`` is the name of one, or ``auto``."""
    if codec != AUTO and codec not in CODECS:
        raise InputError("build", "codec", codec, one_of(str(codec), [AUTO, *CODECS]))


def check_names(name: str, exit_names: Sequence[str]) -> None:
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


def checked_class_names(names: Sequence[str], classes: int) -> tuple[str, ...]:
    """The names, if there are none or one per class."""
    if isinstance(names, str) or (names and len(names) != classes):
        raise InputError("build", "class_names", len(names), f"a list of {classes} names, one per class")
    for name in names:
        _check_name("class_names", name)
    return tuple(names)


def checked_exits(outputs: Sequence[dict[str, torch.Tensor]], exit_names: Sequence[str], classifier: bool) -> int:
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


def check_stop(stop: StopRule | None, exit_names: Sequence[str], plain: bool) -> None:
    """Refuse a stop rule of another network, or of one without ``plain`` classes, whose answers have no confidence."""
    if stop is None:
        return
    if not plain:
        raise InputError("build", "stop", stop.max_accuracy_loss, "none: only a classifier's answers have a confidence")
    if len(stop.thresholds) != len(exit_names):
        raise InputError("build", "stop.thresholds", len(stop.thresholds), f"{len(exit_names)}, one per exit")
