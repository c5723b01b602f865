"""An ONNX model whose large weights lie beside it, because one message of protobuf holds less than 2 GiB.

Each large weight becomes a reference, a tensor with external data whose location is a key; the arrays are kept by
these keys. So a model that is renamed, cut and joined with another is always small, and its weights are never copied.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

Array = NDArray[np.generic]
Weights = Mapping[str, Array]
"""Arrays by the keys that references name."""

LARGE_BYTES = 256
"""Weights smaller than this stay inside; also those of other types than float32, which shapes are computed from."""

_numbers = itertools.count()


@dataclass(frozen=True)
class LightModel:
    """A model without its large weights, and these by key."""

    proto: onnx.ModelProto
    weights: Weights


def lightened(model: onnx.ModelProto) -> LightModel:
    """Take the large weights out of ``model``, in place."""
    weights: dict[str, Array] = {}
    for item in model.graph.initializer:
        if item.data_type == TensorProto.FLOAT and not is_reference(item) and nbytes(item) >= LARGE_BYTES:
            key = new_key()
            weights[key] = numpy_helper.to_array(item)
            item.CopyFrom(reference(item, key))
    return LightModel(model, weights)


def new_key() -> str:
    """A key that no other weight of this process has."""
    return f"w{next(_numbers)}"


def reference(item: TensorProto, key: str) -> TensorProto:
    """``item`` without its data, which are to be found under ``key``."""
    found = TensorProto(name=item.name, data_type=item.data_type, dims=item.dims)
    found.data_location = TensorProto.EXTERNAL
    location = found.external_data.add()
    location.key, location.value = "location", key
    return found


def is_reference(item: TensorProto) -> bool:
    """Whether the data of ``item`` lie elsewhere."""
    return bool(item.data_location == TensorProto.EXTERNAL)


def key_of(item: TensorProto) -> str:
    """Where the data of a reference are to be found."""
    return next(str(entry.value) for entry in item.external_data if entry.key == "location")


def array_of(item: TensorProto, weights: Weights) -> Array:
    """The data of ``item``, wherever they are."""
    return weights[key_of(item)] if is_reference(item) else numpy_helper.to_array(item)


def nbytes(item: TensorProto) -> int:
    """Size of the data of ``item``, wherever they are."""
    size: int = onnx.helper.tensor_dtype_to_np_dtype(item.data_type).itemsize
    return math.prod(map(int, item.dims)) * size


def session_of(model: bytes, weights: Weights, options: ort.SessionOptions) -> ort.InferenceSession:
    """A session of a light model, which copies what it keeps of the weights."""
    lent = {key: np.ascontiguousarray(array).reshape(-1).view(np.uint8) for key, array in weights.items()}
    if lent:
        options.add_external_initializers_from_files_in_memory(
            list(lent), list(lent.values()), [array.nbytes for array in lent.values()]
        )
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def used_in(model: onnx.ModelProto, weights: Weights) -> Weights:
    """Those of ``weights`` that ``model`` refers to."""
    keys = [key_of(item) for item in model.graph.initializer if is_reference(item)]
    return {key: weights[key] for key in keys}
