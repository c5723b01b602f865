"""Somebody's data as they have it: arrays, torch datasets and loaders, rows with named columns, all made into arrays.

Nothing is imported for this: what is given shows by its methods what it is. Whatever it is, it has to fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hasten.core.errors import InputError

Array = NDArray[np.generic]

MAX_BYTES = 8 * 1024**3
"""Data that need more memory are refused while they are read."""

LABEL_COLUMNS = ("label", "labels", "y", "target", "targets", "class", "fine_label")
INPUT_COLUMNS = ("x", "image", "img", "pixel_values", "input_ids", "input_values", "inputs", "input", "features")


class Part(NamedTuple):
    """Inputs (N, *input_shape), classes (N,) or other targets (N, ...) or None, and the classes' names if known."""

    x: Array
    y: Array | None
    class_names: tuple[str, ...] = ()


def read_part(where: str, given: object) -> Part:
    """Make arrays of one part (training, test) of somebody's data.

    ``given`` is inputs (N, ...); a pair of inputs and labels; a mapping with ``x`` and perhaps ``y``; a loader, whose
    items are batches; a dataset, whose items are single inputs, pairs, or rows with named columns; or any iterable of
    such items.

    Raises:
        InputError: none of these, nothing in it, inputs of several shapes or of a type that no network takes.
    """
    if _is_array(given):
        return _checked(where, _array(given), None)
    if isinstance(given, tuple | list) and len(given) == 2 and all(map(_is_array, given)):
        return _checked(where, _array(given[0]), _array(given[1]))
    if isinstance(given, Mapping):
        return _checked(where, *_columns(where, given))
    names = _class_names(given)
    if hasattr(given, "dataset") and isinstance(given, Iterable):
        x, y = _gathered(where, iter(given), np.concatenate)
    elif isinstance(given, Iterable) or (hasattr(given, "__len__") and hasattr(given, "__getitem__")):
        x, y = _gathered(where, _items(given), np.stack)
    else:
        expected = "arrays, a pair (inputs, labels), a torch Dataset or DataLoader, or rows with named columns"
        raise InputError(where, "data", type(given).__name__, expected)
    return _checked(where, x, y)._replace(class_names=names)


def _items(given: Any) -> Iterator[object]:
    """Items one by one; a torch dataset has a length but may not know where to stop."""
    if hasattr(given, "__len__") and hasattr(given, "__getitem__"):
        return (given[index] for index in range(len(given)))
    return iter(given)


def _gathered(where: str, items: Iterator[object], join: Callable[[list[Array]], Array]) -> tuple[Array, Array | None]:
    """The inputs and labels of all items, joined."""
    xs: list[Array] = []
    ys: list[Array] = []
    size = 0
    for number, item in enumerate(items):
        x, y = _pair(where, item)
        shape = x.shape[1:] if join is np.concatenate else x.shape
        wanted = (xs[0].shape[1:] if join is np.concatenate else xs[0].shape) if xs else shape
        if shape != wanted:
            raise InputError(where, f"item {number}", shape, f"the shape of the first, {wanted}")
        size += x.nbytes
        if size > MAX_BYTES:
            raise InputError(where, "size", f"more than {MAX_BYTES} bytes", "less; give a part of it")
        xs.append(x)
        ys += [] if y is None else [y]
    if not xs:
        raise InputError(where, "data", "no items", "at least two")
    if ys and len(ys) != len(xs):
        raise InputError(where, "labels", f"{len(ys)} of {len(xs)} items", "labels of all items or of none")
    return join(xs), join(ys) if ys else None


def _pair(where: str, item: object) -> tuple[Array, Array | None]:
    """One item's input and label, if it has one."""
    if isinstance(item, Mapping):
        return _columns(where, item)
    if isinstance(item, tuple | list):
        if not 1 <= len(item) <= 2:
            raise InputError(where, "item", f"{len(item)} parts", "an input, or an input and a label")
        return _array(item[0]), _array(item[1]) if len(item) == 2 else None
    return _array(item), None


def _columns(where: str, row: Mapping[str, object]) -> tuple[Array, Array | None]:
    """A row's (or a batch's) input and label, by the names of its columns."""
    label = next((name for name in LABEL_COLUMNS if name in row), None)
    rest = [name for name in row if name != label]
    found = [name for name in INPUT_COLUMNS if name in rest] or (rest if len(rest) == 1 else [])
    if not found:
        raise InputError(where, "columns", list(row), f"one of {', '.join(INPUT_COLUMNS)} for the input")
    return _array(row[found[0]]), None if label is None else _array(row[label])


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


def _checked(where: str, x: Array, y: Array | None) -> Part:
    """Types that networks take: uint8, int64, bool, float32; classes int64."""
    if x.ndim < 2 or len(x) < 2:
        raise InputError(where, "inputs", x.shape, "(N, ...), at least 2 inputs")
    x = _plain(where, "inputs", x)
    if y is not None:
        y = y.reshape(len(y)) if y.ndim == 2 and y.shape[1] == 1 and y.dtype.kind in "iu" else y
        if y.ndim < 1 or len(y) != len(x):
            raise InputError(where, "labels", f"{y.dtype} {y.shape}", f"integers ({len(x)},), one per input")
        y = y.astype(np.int64) if are_classes(y) else _plain(where, "labels", y)
        if are_classes(y) and int(y.min()) < 0:
            raise InputError(where, "labels", int(y.min()), "class numbers from 0")
    return Part(np.ascontiguousarray(x), y)


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
    return x


def _class_names(given: Any) -> tuple[str, ...]:
    """Names of the classes as torchvision's and Hugging Face's datasets keep them; none otherwise."""
    source = getattr(given, "dataset", given)
    names = getattr(source, "classes", None)
    features = getattr(source, "features", None)
    if names is None and isinstance(features, Mapping):
        names = next((getattr(features[c], "names", None) for c in LABEL_COLUMNS if c in features), None)
    return tuple(names) if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names) else ()


PART_NAMES = {"train": "train", "training": "train", "val": "val", "validation": "val", "valid": "val", "test": "test"}


def read_parts(where: str, given: object, seed: int) -> dict[str, Part]:
    """``train`` and perhaps ``val`` and ``test`` of what somebody's function gave.

    A mapping or object may name the parts; a tuple may be (train, test), or four arrays as Keras gives them. Iterating
    (a loader's order) is drawn with ``seed``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(given, Mapping) and "train" in {PART_NAMES.get(str(key)) for key in given}:
            named = {PART_NAMES[str(key)]: value for key, value in given.items() if str(key) in PART_NAMES}
            return {name: read_part(f"{where}[{name}]", part) for name, part in named.items()}
        if isinstance(given, tuple | list) and len(given) == 4 and all(map(_is_array, given)):
            given = ((given[0], given[1]), (given[2], given[3]))
        if isinstance(given, tuple) and len(given) == 2 and not all(map(_is_array, given)):
            named = dict(zip(("train", "test"), given, strict=True))
            return {name: read_part(f"{where}[{name}]", part) for name, part in named.items()}
        return {"train": read_part(where, given)}
