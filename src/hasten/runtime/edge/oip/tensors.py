"""The tensors of a request, held against what the package says: names, types, shapes and sizes, then values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hasten.runtime.edge.oip.asking import (
    DATATYPES,
    Array,
    AskError,
    GivenTensor,
    Trouble,
    batch_shape,
    wanted_tensor,
)
from hasten.split.manifest import TensorSpec

_KINDS = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}
"""Kinds of numbers that become a type: whole ones are taken for fractions, nothing else."""


def read_tensors(given: Sequence[GivenTensor], specs: Sequence[TensorSpec], where: str) -> list[Array]:
    """Each (1, *shape), in the package's order.

    Raises:
        AskError: they are not those that belong there.
    """
    found = {tensor.name: tensor for tensor in given}
    if len(found) != len(given) or set(found) != {spec.name for spec in specs}:
        names = ", ".join(tensor.name[:80] for tensor in given) or "none"
        wanted = ", ".join(map(wanted_tensor, specs))
        raise AskError(Trouble.WRONG, f"inputs: got {names}, expected those of {where}: {wanted}")
    return [_array(found[spec.name], spec) for spec in specs]


def _array(given: GivenTensor, spec: TensorSpec) -> Array:
    if given.datatype != DATATYPES[spec.dtype] or list(given.shape) != batch_shape(spec):
        got = f"{given.datatype[:20]}{list(given.shape[:10])}"
        raise AskError(Trouble.WRONG, f"inputs: {spec.name}: got {got}, expected {wanted_tensor(spec)}")
    dtype = np.dtype(spec.dtype)
    if isinstance(given.content, np.ndarray):
        if given.content.size != spec.elements:
            text = f"inputs: {spec.name}: got {given.content.size} numbers, expected {spec.elements}"
            raise AskError(Trouble.WRONG, text)
        return _cast(given.content, dtype, spec.name).reshape(batch_shape(spec))
    if len(given.content) != spec.nbytes:
        text = f"inputs: {spec.name}: got {len(given.content)} bytes, expected {spec.nbytes}"
        raise AskError(Trouble.WRONG, text)
    array: Array = np.frombuffer(given.content, dtype.newbyteorder("<")).astype(dtype, copy=False)
    if dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
        raise AskError(Trouble.WRONG, f"inputs: {spec.name}: got a byte above 1, expected 0 or 1")
    return array.reshape(batch_shape(spec))


def _cast(numbers: Array, dtype: np.dtype[Any], name: str) -> Array:
    """Numbers as the type they belong to, if they are such."""
    if numbers.dtype.kind not in _KINDS[dtype.kind]:
        raise AskError(Trouble.WRONG, f"inputs: {name}: got other values, expected numbers of type {dtype}")
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        if numbers.size and (int(numbers.min()) < info.min or int(numbers.max()) > info.max):
            raise AskError(Trouble.WRONG, f"inputs: {name}: got a number out of range, expected {info.min}..{info.max}")
    return numbers.astype(dtype)
