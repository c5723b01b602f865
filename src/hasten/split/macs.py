"""How much work an operation is: its multiply-accumulates."""

from __future__ import annotations

import math

from onnx import NodeProto

from hasten.split.network import ExportedNetwork

_RECURRENT = {"LSTM", "GRU", "RNN"}
_CHANNELS_FIRST = {"Conv", "QLinearConv", "ConvInteger"}
_WEIGHTED = _RECURRENT | _CHANNELS_FIRST | {"ConvTranspose", "Gemm", "MatMul", "Einsum"}


def macs(network: ExportedNetwork, node: NodeProto) -> int:
    """Multiply-accumulates of one sample for the usual weighted operations; 0 for the nearly free ones."""
    if node.op_type not in _WEIGHTED:
        return 0
    output = math.prod(network.shapes.get(node.output[0], (1,)))
    kernel = network.weights.get(node.input[1])
    if node.op_type in _RECURRENT:  # each of the sequence's steps applies both matrices whole
        steps = network.shapes.get(node.input[0], (1,))[0]
        return max(1, steps * ((kernel or 0) + network.weights.get(node.input[2], 0)))
    if kernel is None:  # two activations, as in attention
        inner = network.shapes.get(node.input[0], (1,))[-1]
        return max(1, output * inner)
    if node.op_type == "ConvTranspose":  # each input element meets the weights of its channel
        read = network.shapes.get(node.input[0], (1, 1))
        return max(1, math.prod(read) * kernel // max(1, read[1]))
    channels = network.shapes.get(node.output[0], (1, 1))[1 if node.op_type in _CHANNELS_FIRST else -1]
    return max(1, output * kernel // max(1, channels))
