"""Accuracy of every exit, without and with the codec at every partition point, and the mean payload of every cut.

For each held-out input one pass gives all logits and all cut tensors; from each cut, coded and decoded again, one more
pass gives the logits of all exits behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hasten.core.confidence import Confidence
from hasten.split.codec_choice import AUTO, DEVIATIONS, costs_too_much, ranked
from hasten.split.codecs import CODECS, Codec, CodecError, make_codec
from hasten.split.inputs import Inputs, frame_of
from hasten.split.light_model import LightModel, session_of
from hasten.split.manifest import LOGITS
from hasten.split.metrics import ACCURACY, Metric, confidence_of, make_metric, score
from hasten.split.segments import Segmenter
from hasten.split.sessions import session_options

Array = NDArray[np.generic]

_ALL_CORES = 0
_SIZED_INPUTS = 32

SCORE, SURE = 0, 1
"""Of an answer."""
HELD_BYTES = 4 << 30
"""Weights of sessions that are held at once; each has its own copy."""


@dataclass(frozen=True)
class HeldOutAnswers:
    """The answers of E exits to N held-out inputs, one by one, and to the first n sent at each of P partitions.

    In the last axis the score, 0..1, and the confidence, 0 but for classes. Of exits that are not behind a partition
    nothing is told there.
    """

    whole: NDArray[np.float64]
    """(N, E, 2)"""
    sent: NDArray[np.float64]
    """(n, P, E, 2)"""


@dataclass(frozen=True)
class Accuracies:
    """What held-out data say.

    Attributes:
        uncoded: per exit, over all inputs.
        by_partition: per exit, one entry per partition 0..after_block, with the codec at that partition. Measured on
            the first ``codec_inputs`` as the change against the uncoded answers to the same inputs, and added to
            ``uncoded``; a change that so many inputs cannot tell from none is none.
        payload_bytes: per partition, mean over the same inputs.
        codecs: per partition, the name of the codec.
        answers: what all this was found from.
        confidence: where tasks stop early, if they may.
    """

    uncoded: tuple[float, ...]
    by_partition: tuple[tuple[float, ...], ...]
    payload_bytes: tuple[int, ...]
    codecs: tuple[str, ...]
    answers: HeldOutAnswers
    confidence: Confidence | None = None


def measure_accuracy(
    segmenter: Segmenter,
    inputs: Inputs,
    targets: Array,
    codec_inputs: int,
    report: Callable[[float], None],
    metric: str | Callable[..., object] = ACCURACY,
    codec: str = AUTO,
) -> Accuracies:
    """Run all ``inputs`` (N, *shape) through the network and the first ``codec_inputs`` also through ``codec``.

    ``targets`` (N, ...) are what ``metric`` compares the outputs with. With :data:`hasten.split.codec_choice.AUTO` each
    cut gets a codec of its own. Usually the smallest does, and that costs no more than a codec that is named; each that
    does not is one more pass over the first ``codec_inputs``.
    """
    bench = _Bench(segmenter, inputs, targets, make_metric(metric, targets))
    whole = bench.whole(report)
    right = whole[..., SCORE]
    held = min(codec_inputs, len(targets))
    partitions = len(segmenter.plan.cuts)
    rows = bench.candidates(min(held, _SIZED_INPUTS)) if codec == AUTO else [[codec]] * partitions
    coded = np.zeros((held, partitions, right.shape[1], 2))
    coded_right = coded[..., SCORE]
    sent = np.zeros((held, partitions))
    chosen = [row[0] for row in rows]
    todo, tried = list(range(partitions)), 0
    while todo:
        for partition in todo:
            chosen[partition] = rows[partition][tried]
        bench.through_codecs(chosen, todo, coded, sent, report)
        tried += 1
        todo = [
            partition
            for partition in todo
            if tried < len(rows[partition])
            and costs_too_much(
                right[:held, bench.behind(partition)], coded_right[:, partition, bench.behind(partition)]
            )
        ]
    uncoded = right.mean(axis=0)
    change = codec_change(right[:held, np.newaxis], coded_right)
    by_partition = tuple(
        (*(float(np.clip(uncoded[e] + change[p, e], 0, 1)) for p in range(after)), float(uncoded[e]))
        for e, after in enumerate(segmenter.plan.after_block)
    )
    payloads = tuple(int(np.ceil(size)) for size in sent.mean(axis=0))
    return Accuracies(
        tuple(float(value) for value in uncoded), by_partition, payloads, tuple(chosen), HeldOutAnswers(whole, coded)
    )


class _Bench:
    """The sessions of a network, held-out inputs (N, *shape), their targets (N, ...), and the metric."""

    def __init__(self, segmenter: Segmenter, inputs: Inputs, targets: Array, metric: Metric) -> None:
        self._segmenter, self._inputs, self._targets, self._metric = segmenter, inputs, targets, metric
        self._partitions, self._exits = len(segmenter.plan.cuts), len(segmenter.plan.after_block)
        self._everything = InlineSession(segmenter.everything())
        self._tails: dict[int, InlineSession] = {}
        weights = sum(array.nbytes for array in segmenter.network.data.values())
        self._crowded = weights * self._partitions > HELD_BYTES
        self._specs = [segmenter.specs(partition) for partition in range(self._partitions)]

    def behind(self, partition: int) -> list[int]:
        """Indices of the exits that something is sent for at ``partition``."""
        return [index for index, after in enumerate(self._segmenter.plan.after_block) if after > partition]

    def whole(self, report: Callable[[float], None]) -> NDArray[np.float64]:
        """The answer of each exit to each input (N, E, 2), without a codec."""
        found = np.zeros((len(self._targets), self._exits, 2))
        for index in range(len(self._targets)):
            found[index] = self._answers(self._values(index), 0, index)
            report((index + 1) / len(self._targets))
        return found

    def candidates(self, count: int) -> list[list[str]]:
        """Per partition the codecs to try, by their mean sizes on the first ``count`` inputs."""
        codecs = {name: make_codec(name) for name in CODECS}
        sizes = [dict.fromkeys(codecs, 0.0) for _ in range(self._partitions)]
        for index in range(count):
            values = self._values(index)
            for partition, specs in enumerate(self._specs):
                tensors = [values[spec.name] for spec in specs]
                for name in list(sizes[partition]):
                    try:
                        sizes[partition][name] += len(codecs[name].encode(tensors, specs)) / count
                    except CodecError:
                        del sizes[partition][name]
        return [ranked(of_cut) for of_cut in sizes]

    def through_codecs(
        self,
        chosen: Sequence[str],
        partitions: Sequence[int],
        coded: NDArray[np.float64],
        sent: NDArray[np.float64],
        report: Callable[[float], None],
    ) -> None:
        """Send the first inputs at each of ``partitions``; fill in the answers (n, P, E, 2), and bytes sent (n, P)."""
        groups = [[partition] for partition in partitions] if self._crowded else [partitions]
        for number, group in enumerate(groups):
            codecs = {partition: make_codec(chosen[partition]) for partition in group}
            self._hold(group)
            for index in range(len(sent)):
                self._send(codecs, coded, sent, index)
                report((number + (index + 1) / len(sent)) / len(groups))

    def _hold(self, partitions: Sequence[int]) -> None:
        """Have the sessions behind these partitions ready."""
        if self._crowded:
            self._tails.clear()
        for partition in partitions:
            if partition < self._partitions - 1 and partition not in self._tails:
                self._tails[partition] = InlineSession(self._segmenter.tails(partition))

    def _send(
        self,
        codecs: Mapping[int, Codec],
        coded: NDArray[np.float64],
        sent: NDArray[np.float64],
        index: int,
    ) -> None:
        """Send one input at the partitions of ``codecs``, as :meth:`through_codecs` says."""
        values = self._values(index)
        for partition, codec in codecs.items():
            specs = self._specs[partition]
            coded[index, partition] = 0.0
            try:
                payload = codec.encode([values[spec.name] for spec in specs], specs)
            except CodecError:  # these values do not cross: no answer
                sent[index, partition] = codec.max_payload_bytes(specs)
                continue
            sent[index, partition] = len(payload)
            if partition < self._partitions - 1:
                received = codec.decode(payload, specs)
                fed = {spec.name: tensor for spec, tensor in zip(specs, received, strict=True)}
                coded[index, partition] = self._answers(self._tails[partition].run(fed), partition, index)

    def _answers(self, values: dict[str, Array], partition: int, index: int) -> NDArray[np.float64]:
        """(E, 2): the answers of exits behind ``partition`` to one input, from tensors by name; 0 for the others."""
        found = np.zeros((self._exits, 2))
        for exit_ in self.behind(partition):
            outputs = self._segmenter.outputs_in(values, exit_ + 1)
            found[exit_, SCORE] = score(self._metric, outputs, self._targets[index])
            if LOGITS in outputs and outputs[LOGITS].ndim == 1:
                found[exit_, SURE] = confidence_of(outputs[LOGITS])
        return found

    def _values(self, index: int) -> dict[str, Array]:
        """All cut tensors and logits of one input, by name."""
        fed = dict(zip(self._segmenter.network.inputs, frame_of(self._inputs, index), strict=True))
        return {**self._everything.run(fed), **fed}


def codec_change(right: NDArray[np.float64], coded_right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Change of the mean score (..., E) by the codec; 0 where these inputs cannot tell it from none.

    Both arguments are (N, ..., E), the same inputs without and with the codec, scored 0..1 (a classifier's 0 or 1).
    Were the codec without effect, each change would be as likely up as down (for right and wrong McNemar's test).
    Without this, an input or two would decide between partitions that are as accurate as each other.
    """
    changes = coded_right.astype(np.float64) - right
    told = np.abs(changes.sum(axis=0)) > DEVIATIONS * np.sqrt((changes**2).sum(axis=0))
    return np.where(told, changes.sum(axis=0) / max(len(right), 1), 0.0)


class InlineSession:
    """An ONNX Runtime session that returns its outputs by name."""

    def __init__(self, model: LightModel) -> None:
        self._session = session_of(model.proto.SerializeToString(), model.weights, session_options(_ALL_CORES))
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, fed: dict[str, Array]) -> dict[str, Array]:
        """Outputs by name for inputs by name."""
        return dict(zip(self._names, self._session.run(self._names, fed), strict=True))
