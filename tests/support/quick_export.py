"""torch's exporter without what it does anew for every export, which takes longer than to export a tiny network."""

from __future__ import annotations

import typing
from functools import cache

import torch
import torch._export.utils
import torch._ops
from torch.onnx._internal.exporter import _decomp
from torch.onnx._internal.exporter._registration import ONNXRegistry


def make_tables_once() -> None:
    """Have the tables of operators and of their decompositions made once in this process.

    Tests register no operators, so the tables are always the same.
    """
    ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))
    utils = torch._export.utils
    utils._collect_all_valid_cia_ops_for_namespace = cache(utils._collect_all_valid_cia_ops_for_namespace)
    table = cache(_decomp.create_onnx_friendly_decomposition_table)
    _decomp.create_onnx_friendly_decomposition_table = lambda operators: table(frozenset(operators))
    # Annotations of functions made thousands of times for an export: typing remembers Callable[...], the other does not.
    torch._ops.Callable = typing.Callable
