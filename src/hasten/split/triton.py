"""A model repository for Triton Inference Server: what an edge runs, each (exit, partition) a model of its own.

Triton's ONNX Runtime backend runs them. Inputs are the tensors of the cut, uncoded, or the network's input at
partition 0; each has a batch of one, as in the package.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx.external_data_helper import uses_external_data

from hasten.core.errors import InputError
from hasten.core.output import write_bytes
from hasten.split.manifest import TensorSpec
from hasten.split.package import Package

_TYPES = {"float32": "TYPE_FP32", "uint8": "TYPE_UINT8", "int32": "TYPE_INT32", "int64": "TYPE_INT64"}
_TYPES |= {"bool": "TYPE_BOOL"}
MAX_MODEL_BYTES = (1 << 31) - 1
"""A file of ONNX, which protobuf limits."""


def tail_options(package: Package) -> list[tuple[int, int]]:
    """The (exit, partition) pairs that leave something to an edge."""
    after = [exit_.after_block for exit_ in package.manifest.exits]
    return [(exit_, partition) for exit_, partition in package.manifest.options() if partition < after[exit_ - 1]]


def write_repository(package: Package, folder: Path) -> list[str]:
    """Write ``NAME_eE_pP/config.pbtxt`` and ``NAME_eE_pP/1/model.onnx`` for each; return the models' names.

    What else is in ``folder`` stays.

    Raises:
        InputError: a file cannot be written, or a model is too large for one.
    """
    base = re.sub(r"[^A-Za-z0-9_.-]", "_", package.manifest.name).lstrip(".") or "model"
    names = []
    for exit_, partition in tail_options(package):
        name = f"{base}_e{exit_}_p{partition}"
        model = _model(package, partition, exit_)
        try:
            (folder / name / "1").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError("export", "triton", str(folder), f"a folder to write to ({error.strerror})") from None
        write_bytes(folder / name / "1" / "model.onnx", model)
        write_bytes(folder / name / "config.pbtxt", _config(package, name, partition, exit_).encode())
        names.append(name)
    return names


def _model(package: Package, partition: int, exit_: int) -> bytes:
    """The segment with its weights in it."""
    model = onnx.load_model_from_string(package.graph("finish", partition, exit_))
    weights = package.weights
    for item in model.graph.initializer:
        if uses_external_data(item):
            item.raw_data = weights[item.name].tobytes()
            item.ClearField("external_data")
            item.data_location = onnx.TensorProto.DEFAULT
    package.let_go()
    size = model.ByteSize()
    if size > MAX_MODEL_BYTES:
        where = f"{package.path}: partition {partition}, exit {exit_}"
        raise InputError(where, "size", f"{size} bytes", f"at most {MAX_MODEL_BYTES} bytes in one file")
    data: bytes = model.SerializeToString()
    return data


def _config(package: Package, name: str, partition: int, exit_: int) -> str:
    """The model's configuration as Triton reads it: protobuf as text."""
    manifest = package.manifest
    parameters = {
        "hasten_package": manifest.name,
        "hasten_digest": package.digest,
        "hasten_exit": str(exit_),
        "hasten_partition": str(partition),
    }
    told = "".join(
        f"parameters {{ key: {_quoted(key)} value {{ string_value: {_quoted(value)} }} }}\n"
        for key, value in parameters.items()
    )
    return (
        f"name: {_quoted(name)}\n"
        'backend: "onnxruntime"\n'
        "max_batch_size: 0\n"
        f"input [\n{_tensors(manifest.cuts[partition].tensors)}\n]\n"
        f"output [\n{_tensors(manifest.outputs(exit_))}\n]\n{told}"
    )


def _tensors(specs: Sequence[TensorSpec]) -> str:
    return ",\n".join(
        f"  {{ name: {_quoted(spec.name)} data_type: {_TYPES[spec.dtype]} dims: {[1, *spec.shape]} }}" for spec in specs
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
