"""Data in files of arrays: a folder with train.npz and test.npz, or one .npz file with all parts."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.networks.sources import Part, read_part
from hasten.split.inputs import Inputs, count_of

Array = NDArray[np.generic]
Labels = NDArray[np.int64]

MAX_ARRAY_BYTES = 8 * 1024**3
"""An array of a data folder beyond this size is refused before it is read."""

_SUFFIXES = {"train": "_train", "val": "_val", "test": "_test"}
_INPUT, _LABELS = "x", "y"
_TYPES = ("uint8", "float32", "int32", "int64", "bool")


def read_npz(path: Path, names: Sequence[str] = ()) -> dict[str, Part]:
    """The parts of one file: ``x`` and perhaps ``y``, or ``x_train``, ``y_train``, ``x_test``, ``y_test``.

    Several inputs are arrays called as the network's parameters ``names`` instead of ``x``.
    """
    found = _names_in(path)
    parts = {}
    for part, suffix in _SUFFIXES.items():
        suffix = "" if part == "train" and not any(name.endswith(suffix) for name in found) else suffix
        own = [name.removesuffix(suffix) for name in found if name.endswith(suffix)]
        inputs = _inputs_among(own, names)
        if inputs:
            arrays = {name: _read_array(path, name + suffix) for name in inputs}
            given = arrays[_INPUT] if inputs == [_INPUT] else arrays
            labels = _read_array(path, _LABELS + suffix) if _LABELS in own else None
            parts[part] = read_part(str(path), given if labels is None else (given, labels), names)
    if "train" not in parts:
        expected = "x and perhaps y, or x_train, y_train, x_test, y_test; of several inputs their names instead of x"
        raise InputError(path, "arrays", sorted(found), expected)
    return parts


def read_folder(place: Path, names: Sequence[str] = ()) -> tuple[Inputs, Labels, Inputs, Labels]:
    """``x`` (N, *input_shape) and ``y`` (N,), integers from 0, of ``place``/train.npz and of test.npz.

    Several inputs are arrays called as the network's parameters ``names`` instead of ``x``.
    """
    train_x, train_y = _read_part(place / "train.npz", names)
    test_x, test_y = _read_part(place / "test.npz", names)
    require_alike(place / "test.npz", test_x, train_x, "train.npz")
    if int(test_y.max()) > int(train_y.max()):
        raise InputError(place / "test.npz", "y", int(test_y.max()), f"classes of train.npz, 0..{int(train_y.max())}")
    return train_x, train_y, test_x, test_y


def require_alike(where: str | Path, inputs: Inputs, first: Inputs, of: str) -> None:
    """Refuse inputs of other names, shapes or types than the ``first``, which are those ``of`` what is named."""
    ours, theirs = _named(inputs), _named(first)
    if list(ours) != list(theirs):
        raise InputError(where, "inputs", list(ours), f"those of {of}, {list(theirs)}")
    for name, array in ours.items():
        other = theirs[name]
        for what, own, wanted in (
            ("shape", array.shape[1:], other.shape[1:]),
            ("dtype", str(array.dtype), str(other.dtype)),
        ):
            if own != wanted:
                raise InputError(where, f"{what} of {name}", own, f"that of {of}, {wanted}")


def _named(inputs: Inputs) -> Mapping[str, Array]:
    return inputs if isinstance(inputs, Mapping) else {_INPUT: inputs}


def _read_part(path: Path, names: Sequence[str]) -> tuple[Inputs, Labels]:
    """Read and check the arrays ``x`` (or several by name) and ``y`` of one .npz file."""
    inputs = _inputs_among(_names_in(path), names) or [_INPUT]
    arrays = {name: _read_array(path, name) for name in inputs}
    y = _read_array(path, _LABELS)
    for name, x in arrays.items():
        several = len(inputs) > 1
        if x.ndim < 2 - several or len(x) < 2 or x.dtype.name not in _TYPES:
            expected = f"{', '.join(_TYPES)} (N, ...), at least 2 inputs"
            raise InputError(path, name, f"{x.dtype} {x.shape}", expected)
        if len(x) != len(arrays[inputs[0]]):
            raise InputError(path, name, len(x), f"as many as {inputs[0]}, {len(arrays[inputs[0]])}")
        if x.dtype == np.float32 and not np.isfinite(x).all():
            raise InputError(path, name, "NaN or infinity", "finite numbers")
    found: Inputs = arrays[_INPUT] if inputs == [_INPUT] else arrays
    count = count_of(found)
    if y.shape != (count,) or y.dtype.kind not in "iu":
        raise InputError(path, _LABELS, f"{y.dtype} {y.shape}", f"integers ({count},), one per input")
    if int(y.min()) < 0:
        raise InputError(path, _LABELS, int(y.min()), "class numbers from 0")
    return found, y.astype(np.int64)


def _inputs_among(found: Sequence[str], names: Sequence[str]) -> list[str]:
    """Which arrays of a file are inputs: ``x``, else those of the network's names, else all but the labels."""
    if _INPUT in found:
        return [_INPUT]
    rest = [name for name in found if name != _LABELS]
    return [name for name in names if name in rest] or rest


def _names_in(path: Path) -> list[str]:
    """The names of the arrays in a file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(path, "file", path.name, f"an .npz file ({error})") from None


def _read_array(path: Path, name: str) -> Array:
    """Read one array out of ``path``, after its size is known to be sane; pickled objects are refused."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo(f"{name}.npy").file_size
            if size > MAX_ARRAY_BYTES:
                raise InputError(path, name, f"{size} bytes", f"at most {MAX_ARRAY_BYTES} bytes")
            array = np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
    except InputError:
        raise
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(path, name, path.name, f"an .npz file with arrays x and y ({reason})") from None
    return np.asarray(array)
