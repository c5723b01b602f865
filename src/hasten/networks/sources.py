"""Somebody's data as they have it: arrays, torch datasets and loaders, rows with named columns, all made into arrays.

Nothing is imported for this: what is given shows by its methods what it is. Whatever it is, it has to fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hasten.core.errors import InputError
from hasten.split.inputs import Inputs, arrays_of, count_of

Array = NDArray[np.generic]

MAX_BYTES = 8 * 1024**3
"""Data that need more memory are refused while they are read."""

LABEL_COLUMNS = ("label", "labels", "y", "target", "targets", "class", "fine_label")
INPUT_COLUMNS = ("x", "image", "img", "pixel_values", "input_ids", "input_values", "inputs", "input", "features")


class Part(NamedTuple):
    """Inputs (N, *input_shape), classes (N,) or other targets (N, ...) or None, and the classes' names if known."""

    x: Inputs
    y: Array | None
    class_names: tuple[str, ...] = ()


def read_part(where: str, given: object, names: Sequence[str] = ()) -> Part:
    """Make arrays of one part (training, test) of somebody's data.

    ``given`` is inputs (N, ...); a pair of inputs and labels; a mapping with ``x`` and perhaps ``y``; a loader, whose
    items are batches; a dataset, whose items are single inputs, pairs, or rows with named columns; or any iterable of
    such items. Several inputs are a mapping of arrays wherever inputs stand, or columns that are called as the
    network's parameters are, or, in the order of these ``names``, a tuple of arrays.

    Raises:
        InputError: none of these, nothing in it, inputs of several shapes or of a type that no network takes.
    """
    if _is_array(given):
        return _checked(where, _array(given), None)
    if isinstance(given, tuple | list) and len(given) == 2 and _is_array(given[1]):
        return _checked(where, *_pair(where, given, names))
    if isinstance(given, Mapping):
        return _checked(where, *_columns(where, given, names))
    classes = _class_names(given)
    if hasattr(given, "dataset") and isinstance(given, Iterable):
        x, y = _gathered(where, (_pair(where, item, names) for item in given), np.concatenate)
    elif isinstance(given, Iterable) or (hasattr(given, "__len__") and hasattr(given, "__getitem__")):
        x, y = _gathered(where, (_pair(where, item, names) for item in _items(given)), np.stack)
    else:
        expected = "arrays, a pair (inputs, labels), a torch Dataset or DataLoader, or rows with named columns"
        raise InputError(where, "data", type(given).__name__, expected)
    return _checked(where, x, y)._replace(class_names=classes)


def _items(given: Any) -> Iterator[object]:
    """Items one by one; a torch dataset has a length but may not know where to stop."""
    if hasattr(given, "__len__") and hasattr(given, "__getitem__"):
        return (given[index] for index in range(len(given)))
    return iter(given)


def _gathered(
    where: str, pairs: Iterator[tuple[Inputs, Array | None]], join: Callable[[list[Array]], Array]
) -> tuple[Inputs, Array | None]:
    """The inputs and labels of all items, joined."""
    xs: list[Inputs] = []
    ys: list[Array] = []
    size = 0
    for number, (x, y) in enumerate(pairs):
        shape = _item_shapes(x, batched=join is np.concatenate)
        wanted = _item_shapes(xs[0], batched=join is np.concatenate) if xs else shape
        if shape != wanted:
            raise InputError(where, f"item {number}", _shown(shape), f"the shape of the first, {_shown(wanted)}")
        size += sum(array.nbytes for array in arrays_of(x))
        if size > MAX_BYTES:
            raise InputError(where, "size", f"more than {MAX_BYTES} bytes", "less; give a part of it")
        xs.append(x)
        ys += [] if y is None else [y]
    if not xs:
        raise InputError(where, "data", "no items", "at least two")
    if ys and len(ys) != len(xs):
        raise InputError(where, "labels", f"{len(ys)} of {len(xs)} items", "labels of all items or of none")
    columns = [join(list(column)) for column in zip(*map(arrays_of, xs), strict=True)]
    first = xs[0]
    joined = dict(zip(first, columns, strict=True)) if isinstance(first, Mapping) else columns[0]
    return joined, join(ys) if ys else None


def _item_shapes(x: Inputs, batched: bool) -> dict[str, tuple[int, ...]]:
    """The shape of each input of an item without its batch axis, if it has one; the one input has no name."""
    named = x if isinstance(x, Mapping) else {"": x}
    return {name: array.shape[1:] if batched else array.shape for name, array in named.items()}


def _shown(shapes: Mapping[str, object]) -> object:
    return shapes.get("", shapes)


def _pair(where: str, item: object, names: Sequence[str]) -> tuple[Inputs, Array | None]:
    """One item's input and label, if it has one; of three or more parts the last is the label."""
    if isinstance(item, Mapping):
        return _columns(where, item, names)
    if isinstance(item, tuple | list):
        *inputs, label = item if len(item) > 1 else (*item, None)
        if not inputs or (len(inputs) > 1 and len(inputs) > len(names)):
            expected = "an input, or an input and a label; several inputs as a dictionary by their names"
            raise InputError(where, "item", f"{len(item)} parts", expected)
        found = _several(inputs, names) if len(inputs) > 1 else _inputs(inputs[0], names)
        return found, None if label is None else _array(label)
    return _array(item), None


def _inputs(value: object, names: Sequence[str]) -> Inputs:
    """One input, or several: a mapping of arrays, or a tuple of them for the first of ``names``."""
    if isinstance(value, Mapping):
        own = [name for name in names if name in value] or list(value)
        return {str(name): _array(value[name]) for name in own}
    several = isinstance(value, tuple | list) and 1 < len(value) <= len(names) and all(map(_is_array, value))
    return _several(value, names) if several else _array(value)  # type: ignore[arg-type]


def _several(arrays: Sequence[object], names: Sequence[str]) -> Inputs:
    """Arrays for the first of the network's parameters."""
    return {name: _array(array) for name, array in zip(names, arrays, strict=False)}


def _columns(where: str, row: Mapping[str, object], names: Sequence[str]) -> tuple[Inputs, Array | None]:
    """A row's (or a batch's) inputs and label, by the names of its columns."""
    label = next((name for name in LABEL_COLUMNS if name in row), None)
    rest = [name for name in row if name != label]
    own = [name for name in names if name in rest]
    target = None if label is None else _array(row[label])
    if len(own) > 1:
        return {name: _array(row[name]) for name in own}, target
    found = own or [name for name in INPUT_COLUMNS if name in rest] or (rest if len(rest) == 1 else [])
    if not found:
        several = f", or several called as the network's parameters {', '.join(names)}" if names else ""
        raise InputError(where, "columns", list(row), f"one of {', '.join(INPUT_COLUMNS)} for the input{several}")
    return _inputs(row[found[0]], names), target


def _is_array(given: object) -> bool:
    return isinstance(given, np.ndarray | Tensor)


def _array(value: Any) -> Array:
    """A numpy array of a tensor, a picture (its channels first) or anything numpy understands."""
    if isinstance(value, Tensor):
        return np.asarray(value.detach().cpu().numpy())
    array = np.asarray(value)
    is_picture = hasattr(value, "convert") and hasattr(value, "getbands")
    if is_picture:
        array = array[np.newaxis] if array.ndim == 2 else array.transpose(2, 0, 1)
    return array


def _checked(where: str, x: Inputs, y: Array | None) -> Part:
    """Types that networks take: uint8, int64, bool, float32; classes int64."""
    count = count_of(x) if all(array.ndim for array in arrays_of(x)) else 0
    if not isinstance(x, Mapping):
        if x.ndim < 2 or count < 2:
            raise InputError(where, "inputs", x.shape, "(N, ...), at least 2 inputs")
        x = _plain(where, "inputs", x)
    else:
        for name, array in x.items():
            if array.ndim < 1 or len(array) != count or count < 2:
                expected = "(N, ...) with the same N, at least 2, for all inputs"
                raise InputError(where, f"inputs: {name}", array.shape, expected)
        x = {name: _plain(where, f"inputs: {name}", array) for name, array in x.items()}
    if y is not None:
        y = y.reshape(len(y)) if y.ndim == 2 and y.shape[1] == 1 and y.dtype.kind in "iu" else y
        if y.ndim < 1 or len(y) != count:
            raise InputError(where, "labels", f"{y.dtype} {y.shape}", f"integers ({count},), one per input")
        y = y.astype(np.int64) if are_classes(y) else _plain(where, "labels", y)
        if are_classes(y) and int(y.min()) < 0:
            raise InputError(where, "labels", int(y.min()), "class numbers from 0")
    return Part(x, y)


def are_classes(y: Array) -> bool:
    """Whether labels are numbers of classes (N,), and not other targets."""
    return y.ndim == 1 and y.dtype.kind in "iu"


def _plain(where: str, what: str, x: Array) -> Array:
    if x.dtype.kind == "f":
        x = x.astype(np.float32, copy=False)
        if not np.isfinite(x).all():
            raise InputError(where, what, "NaN or infinity", "finite numbers")
    elif x.dtype.kind in "iu" and x.dtype != np.uint8:
        x = x.astype(np.int64, copy=False)
    elif x.dtype not in (np.dtype(np.uint8), np.dtype(np.bool_)):
        raise InputError(where, what, str(x.dtype), "uint8, integers, booleans or floats")
    return np.ascontiguousarray(x)


def _class_names(given: Any) -> tuple[str, ...]:
    """Names of the classes as torchvision's and Hugging Face's datasets keep them; none otherwise."""
    source = getattr(given, "dataset", given)
    names = getattr(source, "classes", None)
    features = getattr(source, "features", None)
    if names is None and isinstance(features, Mapping):
        names = next((getattr(features[c], "names", None) for c in LABEL_COLUMNS if c in features), None)
    return tuple(names) if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names) else ()


PART_NAMES = {"train": "train", "training": "train", "val": "val", "validation": "val", "valid": "val", "test": "test"}


def read_parts(where: str, given: object, seed: int, names: Sequence[str] = ()) -> dict[str, Part]:
    """``train`` and perhaps ``val`` and ``test`` of what somebody's function gave, for parameters of these ``names``.

    A mapping or object may name the parts; a tuple may be (train, test), or four arrays as Keras gives them. Iterating
    (a loader's order) is drawn with ``seed``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(given, Mapping) and "train" in {PART_NAMES.get(str(key)) for key in given}:
            named = {PART_NAMES[str(key)]: value for key, value in given.items() if str(key) in PART_NAMES}
            return {name: read_part(f"{where}[{name}]", part, names) for name, part in named.items()}
        if isinstance(given, tuple | list) and len(given) == 4 and all(map(_is_array, given)):
            given = ((given[0], given[1]), (given[2], given[3]))
        if isinstance(given, tuple) and len(given) == 2 and not _is_array(given[1]):
            named = dict(zip(("train", "test"), given, strict=True))
            return {name: read_part(f"{where}[{name}]", part, names) for name, part in named.items()}
        return {"train": read_part(where, given, names)}
