"""Accuracy of every exit, without and with the codec at every partition point, and the mean payload of every cut.

For each held-out input one pass gives all logits and all cut tensors; from each cut, coded and decoded again, one more
pass gives the logits of all exits behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from hasten.split.codecs import CodecError, make_codec
from hasten.split.manifest import DEFAULT_CODEC
from hasten.split.metrics import ACCURACY, make_metric, score
from hasten.split.segments import Segmenter
from hasten.split.sessions import session_options

Array = NDArray[np.generic]

_ALL_CORES = 0
_DEVIATIONS = 2.0
"""A codec's effect on accuracy counts from so many standard deviations of what chance alone would show."""


@dataclass(frozen=True)
class Accuracies:
    """What held-out data say.

    Attributes:
        uncoded: per exit, over all inputs.
        by_partition: per exit, one entry per partition 0..after_block, with the codec at that partition. Measured on
            the first ``codec_inputs`` as the change against the uncoded answers to the same inputs, and added to
            ``uncoded``; a change that so many inputs cannot tell from none is none.
        payload_bytes: per partition, mean over the same inputs.
    """

    uncoded: tuple[float, ...]
    by_partition: tuple[tuple[float, ...], ...]
    payload_bytes: tuple[int, ...]


def measure_accuracy(
    segmenter: Segmenter,
    inputs: Array,
    targets: Array,
    codec_inputs: int,
    report: Callable[[float], None],
    metric: str | Callable[..., object] = ACCURACY,
) -> Accuracies:
    """Run all ``inputs`` (N, *shape) through the network and the first ``codec_inputs`` also through the codec.

    ``targets`` (N, ...) are what ``metric`` compares the outputs with.
    """
    measure = make_metric(metric, targets)

    def scores(values: dict[str, Array], behind: int, target: Array) -> list[float]:
        return [
            score(measure, segmenter.outputs_in(values, number), target) if after > behind else 0.0
            for number, after in enumerate(plan.after_block, start=1)
        ]

    plan = segmenter.plan
    partitions, exits = len(plan.cuts), len(plan.after_block)
    everything = InlineSession(segmenter.everything())
    tails = [InlineSession(segmenter.tails(partition)) for partition in range(partitions - 1)]
    specs = [segmenter.specs(partition) for partition in range(partitions)]
    codec = make_codec(DEFAULT_CODEC)
    right = np.zeros((len(inputs), exits))
    coded_right = np.zeros((min(codec_inputs, len(inputs)), partitions, exits))
    sent = np.zeros((len(coded_right), partitions))
    for index, target in enumerate(targets):
        frame = inputs[index : index + 1]
        values = {**everything.run({segmenter.network.input: frame}), segmenter.network.input: frame}
        right[index] = scores(values, 0, target)
        if index < len(coded_right):
            for partition in range(partitions):
                try:
                    payload = codec.encode([values[spec.name] for spec in specs[partition]], specs[partition])
                except CodecError:  # not-finite values do not cross: no answer
                    sent[index, partition] = codec.max_payload_bytes(specs[partition])
                    continue
                sent[index, partition] = len(payload)
                if partition < partitions - 1:
                    received = codec.decode(payload, specs[partition])
                    fed = {spec.name: tensor for spec, tensor in zip(specs[partition], received, strict=True)}
                    coded_right[index, partition] = scores(tails[partition].run(fed), partition, target)
        report((index + 1) / len(inputs))
    uncoded = right.mean(axis=0)
    change = codec_change(right[: len(coded_right), np.newaxis], coded_right)
    by_partition = tuple(
        (*(float(np.clip(uncoded[e] + change[p, e], 0, 1)) for p in range(after)), float(uncoded[e]))
        for e, after in enumerate(plan.after_block)
    )
    payloads = tuple(int(np.ceil(size)) for size in sent.mean(axis=0))
    return Accuracies(tuple(float(value) for value in uncoded), by_partition, payloads)


def codec_change(right: NDArray[np.float64], coded_right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Change of the mean score (..., E) by the codec; 0 where these inputs cannot tell it from none.

    Both arguments are (N, ..., E), the same inputs without and with the codec, scored 0..1 (a classifier's 0 or 1).
    Were the codec without effect, each change would be as likely up as down (for right and wrong McNemar's test).
    Without this, an input or two would decide between partitions that are as accurate as each other.
    """
    changes = coded_right.astype(np.float64) - right
    told = np.abs(changes.sum(axis=0)) > _DEVIATIONS * np.sqrt((changes**2).sum(axis=0))
    return np.where(told, changes.sum(axis=0) / max(len(right), 1), 0.0)


class InlineSession:
    """An ONNX Runtime session that returns its outputs by name."""

    def __init__(self, model: bytes) -> None:
        self._session = ort.InferenceSession(model, session_options(_ALL_CORES), providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, fed: dict[str, Array]) -> dict[str, Array]:
        """Outputs by name for inputs by name."""
        return dict(zip(self._names, self._session.run(self._names, fed), strict=True))
