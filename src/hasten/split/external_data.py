"""Weights in files beside an ONNX model: where they may lie and how large they may be is checked before any is read."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, TensorProto, helper

from hasten.core.errors import InputError
from hasten.split.light_model import LARGE_BYTES, LightModel, is_reference, nbytes, new_key, reference
from hasten.split.network import sub_graphs

Array = NDArray[np.generic]


def read_external(model: onnx.ModelProto, path: Path, limit: int) -> LightModel:
    """``model``, read from ``path`` without the files beside it, with the weights in them; in place.

    Large weights are mapped, not read: the system reads them when they are used.

    Args:
        model: as ``onnx.load(path, load_external_data=False)`` gives it.
        path: the model's file.
        limit: bytes of all weights, those inside the model included.

    Raises:
        InputError: a file outside the model's folder, behind a link, absent or too short; a size that is not that of
            the weight; more bytes than ``limit``. Names the weight.
    """
    outside = [item for item in _tensors(model.graph) if is_reference(item)]
    for item in outside:
        if min(item.dims, default=0) < 0:
            raise InputError(f"{path}: weight {item.name}", "dims", list(item.dims), "sizes from 0")
        if item.data_type not in onnx.helper.get_all_tensor_dtypes():
            raise InputError(f"{path}: weight {item.name}", "data_type", item.data_type, "a type of ONNX tensors")
    size = model.ByteSize() + sum(map(nbytes, outside))
    if size > limit:
        raise InputError(path, "weights", f"{size} bytes", f"at most {limit} bytes")
    own = {id(item) for item in model.graph.initializer}
    weights: dict[str, Array] = {}
    for item in outside:
        array = _mapped(item, path)
        if id(item) in own and item.data_type == TensorProto.FLOAT and nbytes(item) >= LARGE_BYTES:
            key = new_key()
            weights[key] = array
            item.CopyFrom(reference(item, key))
        else:
            item.CopyFrom(TensorProto(name=item.name, data_type=item.data_type, dims=item.dims))
            item.raw_data = array.tobytes()
    return LightModel(model, weights)


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """All tensors of a graph, of its nodes' attributes and of the graphs in them."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for inner in sub_graphs(node):
            yield from _tensors(inner)


def _mapped(item: TensorProto, path: Path) -> Array:
    """The data of one weight, mapped."""
    where = f"{path}: weight {item.name}"
    entries = {str(entry.key): str(entry.value) for entry in item.external_data}
    file = _file(entries.get("location", ""), path, where)
    size, held = nbytes(item), file.stat().st_size
    offset, length = (_number(entries, name, usual, where) for name, usual in (("offset", 0), ("length", size)))
    if length != size:
        raise InputError(where, "length", length, f"{size} bytes, as its shape and type say")
    if offset + length > held:
        raise InputError(where, "offset", offset, f"data that lie within the {held} bytes of {file.name}")
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(item.data_type)).newbyteorder("<")
    if not size:
        return np.empty(tuple(item.dims), dtype)
    return np.memmap(file, dtype, "r", offset, tuple(item.dims))


def _file(location: str, path: Path, where: str) -> Path:
    """The file of this name in the model's folder: no other folder, no link, nothing but a file."""
    name = PurePosixPath(location)
    expected = f"the relative path of a file in the model's folder {path.parent}"
    if not location or name.is_absolute() or ".." in name.parts or "\\" in location or "\0" in location:
        raise InputError(where, "location", location, expected)
    folder = path.parent.resolve()
    file = folder.joinpath(*name.parts)
    try:
        if file.resolve() != file or not stat.S_ISREG(file.lstat().st_mode):
            raise InputError(where, "location", location, f"{expected}, not a link or anything else")
    except OSError as error:
        raise InputError(where, "location", location, f"{expected} ({error.strerror})") from None
    return file


def _number(entries: dict[str, str], name: str, usual: int, where: str) -> int:
    """``offset`` or ``length`` as the entries have it."""
    text = entries.get(name, str(usual))
    if not text.isascii() or not text.isdigit() or len(text) > len(str(1 << 63)):
        raise InputError(where, name, text, "a number of bytes")
    return int(text)
