"""The proof that a package computes what the whole network computes, for every (exit, partition).

The reference is the complete graph of each exit, which building compared with the original torch module. No torch is
needed, so a device can check its own copy. Tensors cross the cut uncoded here; what the codec changes is bounded by
what its kind may change, and reported as the share of samples whose top-1 answer stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import HastenError
from hasten.split.codecs import Codec, CodecError, CutCodecs
from hasten.split.executor import Executor, Key, segments_of
from hasten.split.inputs import Frame, Inputs, arrays_of, count_of, frame_of
from hasten.split.manifest import LOGITS, TensorSpec
from hasten.split.metrics import Outputs
from hasten.split.package import Package

Array = NDArray[np.generic]

TOLERANCE = 1e-4
"""Allowed difference of an output, relative to the largest magnitude of it over all inputs, however large or small.

Differences come from the order of float32 sums in differently fused graphs, about 1e-6; a wrong cut is off by more than
this by orders of magnitude."""


class VerificationError(HastenError):
    """A package does not compute what the whole network computes."""


@dataclass(frozen=True)
class OptionCheck:
    """What was found for one (exit, partition).

    ``max_error`` is relative as :data:`TOLERANCE` states; ``codec_agreement`` is None where nothing is sent.
    """

    exit: int
    partition: int
    max_error: float
    codec_agreement: float | None


@dataclass(frozen=True)
class VerifyReport:
    """The result of a check that passed."""

    options: tuple[OptionCheck, ...]
    inputs: int
    samples: int
    tolerance: float = TOLERANCE

    @property
    def max_error(self) -> float:
        """The largest relative error over all options and inputs."""
        return max(option.max_error for option in self.options)

    @property
    def worst_codec_agreement(self) -> float:
        """The smallest share of unchanged answers over all options that send something; 1 if none does."""
        return min((o.codec_agreement for o in self.options if o.codec_agreement is not None), default=1.0)


def verify(
    package: Package, *, random_inputs: int = 4, samples: int = 16, seed: int = 0, threads: int = 1
) -> VerifyReport:
    """Compare every (exit, partition) with the whole exit, on random inputs and on the package's own samples.

    Raises:
        VerificationError: the first option that differs by more than :data:`TOLERANCE`, with its numbers.
    """
    executor = Executor(package, threads)
    drawn, _ = package.samples()
    held_out = [frame_of(drawn, index) for index in range(min(samples, count_of(drawn)))]
    inputs = held_out + random_inputs_like(package.manifest.inputs, drawn, random_inputs, seed)
    exits = range(1, len(package.manifest.exits) + 1)
    whole = {}
    for number in exits:
        executor.hold([Key("finish", 0, number)])
        whole[number] = [executor.outputs(0, number, frame) for frame in inputs]
        _require_steady(executor, number, inputs[0], whole[number])
    codecs = CutCodecs()
    checks = []
    for number, partition in package.manifest.options():
        error = option_error(executor, number, partition, inputs, whole[number])
        agreement = None
        if package.manifest.classes and partition < package.manifest.exits[number - 1].after_block:
            agreement = codec_agreement(executor, codecs, number, partition, held_out, whole[number])
        checks.append(OptionCheck(number, partition, error, agreement))
    stop_error(executor, inputs, whole)
    return VerifyReport(tuple(checks), len(inputs), len(held_out))


def option_error(
    executor: Executor, exit_: int, partition: int, inputs: Sequence[Frame], whole: Sequence[Outputs]
) -> float:
    """Largest relative error of one option against the ``whole`` outputs; VerificationError beyond the tolerance."""
    worst = 0.0
    scales = {name: largest_magnitude([outputs[name] for outputs in whole]) for name in whole[0]}
    executor.hold(segments_of(executor.package.manifest, [(exit_, partition)], stops=False))
    for frame, wanted in zip(inputs, whole, strict=True):
        found = executor.outputs(partition, exit_, crossing(executor, partition, frame))
        worst = max(worst, *(relative_error(found[name], wanted[name], scale) for name, scale in scales.items()))
    if not worst <= TOLERANCE:
        raise VerificationError(
            f"{executor.package.path}: exit {exit_}, partition {partition}: got outputs that differ from the whole "
            f"network by {worst:.3g}, expected at most {TOLERANCE:g}"
        )
    return worst


def stop_error(executor: Executor, inputs: Sequence[Frame], whole: Mapping[int, Sequence[Outputs]]) -> float:
    """Largest relative error of what runs where tasks may stop early, against each exit's ``whole`` outputs.

    Each ``check`` from its partition, and what goes on behind it to the last exit, from each place that it leads to.

    Raises:
        VerificationError: it is beyond the tolerance.
    """
    manifest, worst = executor.package.manifest, 0.0
    last = len(manifest.exits)
    scales = {
        (number, name): largest_magnitude([outputs[name] for outputs in given])
        for number, given in whole.items()
        for name in given[0]
    }

    def compare(kind: str, partition: int, exit_: int, found: Outputs, wanted: Outputs) -> None:
        nonlocal worst
        error = max(relative_error(found[name], wanted[name], scales[exit_, name]) for name in wanted)
        worst = max(worst, error)
        if not error <= TOLERANCE:
            raise VerificationError(
                f"{executor.package.path}: {kind} from partition {partition}, exit {exit_}: got outputs that differ "
                f"from the whole network by {error:.3g}, expected at most {TOLERANCE:g}"
            )

    for index, frame in enumerate(inputs):
        behind: dict[int, list[Array]] = {}
        for partition, exit_ in manifest.checks():
            after = manifest.exits[exit_ - 1].after_block
            found, behind[exit_] = executor.check(partition, exit_, crossing(executor, partition, frame))
            compare("check", partition, exit_, found, whole[exit_][index])
            compare("behind check", after, last, executor.outputs(after, last, behind[exit_]), whole[last][index])
        for partition, exit_ in manifest.onwards():
            tensors = executor.onward(partition, behind[exit_])
            compare("onward", partition, last, executor.outputs(partition, last, tensors), whole[last][index])
    return worst


def codec_agreement(
    executor: Executor,
    codecs: CutCodecs,
    exit_: int,
    partition: int,
    inputs: Sequence[Frame],
    whole: Sequence[Outputs],
) -> float:
    """Share of ``inputs`` whose top-1 answer is that of ``whole`` although the codec acts at the partition point."""
    cut = executor.package.manifest.cuts[partition]
    same = 0
    for frame, wanted in zip(inputs, whole, strict=False):
        tensors = crossing(executor, partition, frame)
        try:
            received = codecs.decode(codecs.encode(tensors, cut), cut)
        except CodecError:  # not-finite values do not cross: no answer
            continue
        for sent, got in zip(tensors, received, strict=True):
            _require_bound(f"{executor.package.path}: exit {exit_}, partition {partition}", codecs.of(cut), sent, got)
        same += int(executor.finish(partition, exit_, received).argmax() == wanted[LOGITS].argmax())
    return same / len(inputs)


def _require_bound(where: str, codec: Codec, sent: Array, got: Array) -> None:
    """VerificationError when a tensor came back farther from what it was than its codec may change it."""
    allowed = codec.max_error(sent)
    if allowed == 0.0:
        apart = 0.0 if np.array_equal(sent, got, equal_nan=sent.dtype.kind == "f") else float("inf")
    else:
        apart = float(np.abs(got.astype(np.float64) - sent.astype(np.float64)).max(initial=0.0))
    if not apart <= allowed:
        raise VerificationError(
            f"{where}: codec {codec.name} changed a value by {apart:.3g}, expected at most {allowed:.3g}"
        )


def crossing(executor: Executor, partition: int, frame: Frame) -> list[Array]:
    """The tensors that cross at ``partition`` for one frame."""
    return executor.prefix(partition, frame) if partition else frame


def largest_magnitude(whole: Sequence[Array]) -> float:
    """The largest finite magnitude of one of an exit's outputs for several inputs; 1 when there is none but zero."""
    floats = [output.astype(np.float64) for output in whole]
    return max((float(np.abs(output[np.isfinite(output)]).max(initial=0.0)) for output in floats), default=0.0) or 1.0


def relative_error(output: Array, wanted: Array, scale: float | None = None) -> float:
    """Largest difference over ``scale``, by default the largest wanted magnitude.

    Where both are NaN or the same infinity there is none; where only one is not finite it is infinite.
    """
    if output.shape != wanted.shape:
        return float("inf")
    found, right = output.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(right)
    if not np.array_equal(found[~finite], right[~finite], equal_nan=True):
        return float("inf")
    apart = np.abs(found[finite] - right[finite]).max(initial=0.0)
    error = float(apart / (largest_magnitude([wanted]) if scale is None else scale))
    return error if np.isfinite(error) else float("inf")


def _require_steady(executor: Executor, exit_: int, frame: Frame, whole: Sequence[Outputs]) -> None:
    """The same exit on the same input must give the same again."""
    again = executor.outputs(0, exit_, frame)
    error = max(
        relative_error(again[name], wanted, largest_magnitude([outputs[name] for outputs in whole]))
        for name, wanted in whole[0].items()
    )
    if not error <= TOLERANCE:
        raise VerificationError(
            f"{executor.package.path}: exit {exit_}: got outputs that differ by {error:.3g} from call to call, "
            "expected the same: something random (dropout that was left on?) is part of the network"
        )


def random_inputs_like(specs: Sequence[TensorSpec], samples: Inputs, count: int, seed: int) -> list[Frame]:
    """Frames drawn evenly over the range that the samples of each input span, or all of 0..255 for pixels."""
    rng = np.random.default_rng(seed)
    ranges = [(array.min(), array.max()) for array in arrays_of(samples)]
    return [
        [_drawn(rng, spec, low, high) for spec, (low, high) in zip(specs, ranges, strict=True)] for _ in range(count)
    ]


def _drawn(rng: np.random.Generator, spec: TensorSpec, low: np.generic, high: np.generic) -> Array:
    """One input (1, *shape) between ``low`` and ``high``."""
    shape = (1, *spec.shape)
    if spec.dtype == "uint8":
        return rng.integers(0, 256, shape, dtype=np.uint8)
    if spec.dtype == "float32":
        return rng.uniform(float(low), float(high), shape).astype(np.float32)
    return rng.integers(int(low), int(high) + 1, shape).astype(spec.dtype)
