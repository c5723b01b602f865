"""How long the segments of a package take on this machine, and the block and head times that add up to it.

The timing law adds the times of blocks and heads, but what runs are fused segments. So every segment is timed as a
whole, in turns with the others and with an idle gap before each call (a small network called now and then takes up to
twice as long as in a tight loop, because caches have gone cold), and non-negative block and head times are fitted to
the medians by least squares of the relative error. Making a session is never part of a time: where the memory does not
hold all segments, those that it holds are timed in turns, then the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hasten.core.profile import Block, ExitHead, Profile
from hasten.split.codecs import CutCodecs
from hasten.split.executor import Executor, Key, Role
from hasten.split.inputs import Frame, count_of, frame_of
from hasten.split.manifest import PackageManifest

Array = NDArray[np.float64]

TIMED_FRAMES = 16
"""So many of a package's samples take turns as inputs."""
LONG_ENOUGH = 0.2
"""Segments of at least this share of the longest one's time count for how times spread."""


@dataclass(frozen=True)
class SegmentTimes:
    """Medians over the repeats, in milliseconds.

    Attributes:
        prefix: partition -> (blocks 1..p, encoding of what crosses there); at 0 what crosses is the input.
        finish: (partition, exit) -> (decoding of what crosses there, the rest up to the logits).
        spread: median over the segments of (quartile 3 - quartile 1) / median.
        ratios: of each role, single times over their segment's median, of all segments that are not too short for it.
    """

    prefix: dict[int, tuple[float, float]]
    finish: dict[tuple[int, int], tuple[float, float]]
    spread: float
    ratios: dict[Role, tuple[float, ...]]

    def describe(self, gap_ms: float, repeats: int, threads: int) -> str:
        """How these times were taken, in words for a profile's ``source``."""
        workers = f"{threads} thread{'s' if threads > 1 else ''}"
        clock = "processor" if threads == 1 else "elapsed"
        calls = f"median {clock} time of {repeats} calls {gap_ms:g} ms apart"
        return f"onnxruntime {onnxruntime.__version__}, {workers}, {calls}, spread {self.spread:.0%}"


@dataclass(frozen=True)
class FittedTimes:
    """Block and head times, in milliseconds, and how well their sums meet the measured segments.

    ``encode`` has the time to encode what crosses at each cut, the input's first: as measured, not fitted.
    ``residual`` is the root mean square of the relative differences over what the role regularly runs, ``worst`` the
    largest of them.
    """

    blocks: tuple[float, ...]
    heads: tuple[float, ...]
    encode: tuple[float, ...]
    residual: float
    worst: float


def time_segments(
    executor: Executor,
    *,
    gap_ms: float,
    repeats: int,
    warmup: int = 2,
    progress: Callable[[float], None] | None = None,
    clock: Callable[[], float] | None = None,
) -> SegmentTimes:
    """Time every prefix and every finish ``repeats`` times, in turns, each after ``gap_ms`` of idling.

    ``clock`` gives seconds; by default processor time of this thread, to which other programs do not add, or elapsed
    time when helpers work along.
    """
    manifest = executor.package.manifest
    clock = clock or (time.thread_time if executor.threads == 1 else time.perf_counter)
    codecs = CutCodecs()
    inputs = executor.package.samples()[0]
    frames = [frame_of(inputs, index) for index in range(min(TIMED_FRAMES, count_of(inputs)))]
    payloads = _payloads(executor, codecs, frames)
    keys = [Key("prefix", partition, 0) for partition in range(manifest.block_count + 1)]
    keys += [Key("finish", partition, exit_) for exit_, partition in manifest.options()]
    taken: dict[Key, list[tuple[float, float]]] = {key: [] for key in keys}
    groups = executor.groups(keys[1:])  # the prefix of no blocks needs no session
    groups[0].insert(0, keys[0])
    turns = warmup + repeats
    for done, group in enumerate(groups):
        executor.hold([key for key in group if key != keys[0]])
        for turn in range(turns):
            sample = turn % len(frames)
            for key in group:
                _idle(gap_ms)
                if key.kind == "finish":
                    pair = _time_finish(executor, codecs, clock, key, payloads[key.partition][sample])
                else:
                    pair = _time_prefix(executor, codecs, clock, key.partition, frames[sample])
                if turn >= warmup:
                    taken[key].append(pair)
            if progress is not None:
                progress((done * turns + turn + 1) / (len(groups) * turns))
    return _summary(taken)


def fit_times(times: SegmentTimes, manifest: PackageManifest, role: Role) -> FittedTimes:
    """Fit block and head times to what a role runs.

    A device runs either a whole exit, or a prefix if some exit lies behind it. An edge decodes and finishes. What
    neither does regularly (a device finishes from a cut when the edge has gone) counts a hundredth; it settles what
    the rest leaves open. A call's constant cost and decoding end up in the edge's heads, of which each task there runs
    exactly one. Encoding stands apart in a profile: an offloaded task has it once and a local one never, which no sum
    of blocks can hold.
    """
    exits = manifest.exits
    columns = manifest.block_count + len(exits)
    rows: list[Array] = []
    measured: list[float] = []
    weights: list[float] = []
    if role == "device":
        for partition, (run, _) in times.prefix.items():
            if 0 < partition < manifest.block_count:
                rows.append(_members(columns, range(partition)))
                measured.append(run)
                weights.append(1.0)
    for (partition, exit_), (decode, run) in times.finish.items():
        after = exits[exit_ - 1].after_block
        regular = partition == 0 if role == "device" else partition < after
        rows.append(_members(columns, [*range(partition, after), manifest.block_count + exit_ - 1]))
        measured.append(run if role == "device" else decode + run)
        weights.append(1.0 if regular else 0.1)  # squared by the fit
    goal, weight = np.array(measured), np.array(weights)
    matrix = np.array(rows) / goal[:, None]
    solution = non_negative_least_squares(matrix * weight[:, None], weight)
    error = (matrix @ solution - 1)[weight == 1.0]
    return FittedTimes(
        tuple(float(value) for value in solution[: manifest.block_count]),
        tuple(float(value) for value in solution[manifest.block_count :]),
        tuple(times.prefix[partition][1] for partition in range(manifest.block_count + 1)),
        float(np.sqrt(np.mean(error**2))),
        float(np.abs(error).max()),
    )


def profile_from(manifest: PackageManifest, device: FittedTimes, edge: FittedTimes, source: str) -> Profile:
    """Assemble a profile from the manifest's sizes and accuracies (with the codec) and the fitted times."""
    blocks = tuple(
        Block(
            name=cut.name,
            device_ms=device.blocks[i],
            edge_ms=edge.blocks[i],
            output_bytes=cut.payload_bytes,
            encode_ms=device.encode[i + 1],
        )
        for i, cut in enumerate(manifest.cuts[1:])
    )
    exits = tuple(
        ExitHead(
            name=exit_.name,
            after_block=exit_.after_block,
            accuracy=exit_.accuracy_with_codec,
            device_ms=device.heads[i],
            edge_ms=edge.heads[i],
            accuracy_by_partition=exit_.accuracy_by_partition,
        )
        for i, exit_ in enumerate(manifest.exits)
    )
    return Profile(
        schema="hasten.profile/1",
        name=manifest.name,
        source=source,
        input_bytes=manifest.cuts[0].payload_bytes,
        input_encode_ms=device.encode[0],
        blocks=blocks,
        exits=exits,
        confidence=manifest.confidence,
    )


def role_source(role: Role, fit: FittedTimes, how: str) -> str:
    """What a profile's ``source`` says of one role."""
    codec = "encoding apart" if role == "device" else "decoding included"
    return f"{role}: {how}, fit residual {fit.residual:.0%}, {codec}"


def merged_source(before: str, parts: Mapping[Role, str]) -> str:
    """What a profile's ``source`` says, with what it says of the given roles replaced; parts start with "role:"."""
    kept = [part for part in before.split("; ") if part and not part.startswith(tuple(f"{role}:" for role in parts))]
    return "; ".join([*kept, *(parts[role] for role in sorted(parts))])


def non_negative_least_squares(matrix: Array, goal: Array) -> Array:
    """Minimize |matrix x - goal| over x >= 0 by the active-set method of Lawson and Hanson (1974), chapter 23."""
    columns = matrix.shape[1]
    solution = np.zeros(columns)
    free = np.zeros(columns, dtype=bool)
    for _ in range(10 * columns):
        gradient = matrix.T @ (goal - matrix @ solution)
        gradient[free] = -np.inf
        best = int(gradient.argmax())
        if gradient[best] <= 1e-10:
            break
        free[best] = True
        trial = _least_squares(matrix, goal, free)
        while (trial[free] <= 0).any():
            blocking = free & (trial <= 0)
            step = float(np.min(solution[blocking] / (solution[blocking] - trial[blocking])))
            solution += step * (trial - solution)
            free &= solution > 1e-12
            solution[~free] = 0
            trial = _least_squares(matrix, goal, free)
        solution = trial
    return solution


def _least_squares(matrix: Array, goal: Array, free: NDArray[np.bool_]) -> Array:
    result = np.zeros(matrix.shape[1])
    if free.any():
        result[free] = np.linalg.lstsq(matrix[:, free], goal, rcond=None)[0]
    return result


def _members(columns: int, used: Iterable[int]) -> Array:
    """A row with a one in every column of ``used``."""
    row = np.zeros(columns)
    row[list(used)] = 1
    return row


def _payloads(executor: Executor, codecs: CutCodecs, frames: Sequence[Frame]) -> list[list[bytes]]:
    """What would be sent at every partition for each of ``frames``: one prefix after the other."""
    payloads = []
    for partition, cut in enumerate(executor.package.manifest.cuts):
        if partition:
            executor.hold([Key("prefix", partition, 0)])
        sent = [executor.prefix(partition, frame) if partition else frame for frame in frames]
        payloads.append([codecs.encode(tensors, cut) for tensors in sent])
    return payloads


def _time_prefix(
    executor: Executor, codecs: CutCodecs, clock: Callable[[], float], partition: int, frame: Frame
) -> tuple[float, float]:
    start = clock()
    tensors = executor.prefix(partition, frame) if partition else frame
    middle = clock()
    codecs.encode(tensors, executor.package.manifest.cuts[partition])
    return 1e3 * (middle - start), 1e3 * (clock() - middle)


def _time_finish(
    executor: Executor, codecs: CutCodecs, clock: Callable[[], float], key: Key, payload: bytes
) -> tuple[float, float]:
    start = clock()
    tensors = codecs.decode(payload, executor.package.manifest.cuts[key.partition])
    middle = clock()
    executor.finish(key.partition, key.exit, tensors)
    return 1e3 * (middle - start), 1e3 * (clock() - middle)


def _summary(taken: dict[Key, list[tuple[float, float]]]) -> SegmentTimes:
    prefix: dict[int, tuple[float, float]] = {}
    finish: dict[tuple[int, int], tuple[float, float]] = {}
    spreads = []
    for key, pairs in taken.items():
        first, second = (float(value) for value in np.median(pairs, axis=0))
        low, middle, high = np.quantile(np.sum(pairs, axis=1), (0.25, 0.5, 0.75))
        spreads.append((high - low) / middle if middle > 0 else 0.0)
        if key.kind == "finish":
            finish[key.partition, key.exit] = first, second
        else:
            prefix[key.partition] = first, second
    # A device runs prefixes, and exits from the input; an edge decodes and runs the rest.
    device = [np.sum(it, axis=1) for key, it in taken.items() if key.kind == "prefix"]
    device += [np.array(it)[:, 1] for key, it in taken.items() if key.kind == "finish" and key.partition == 0]
    edge = [np.sum(it, axis=1) for key, it in taken.items() if key.kind == "finish"]
    return SegmentTimes(prefix, finish, float(np.median(spreads)), {"device": _ratios(device), "edge": _ratios(edge)})


def _ratios(times: Sequence[Array]) -> tuple[float, ...]:
    """Each segment's times (repeats,) over their median; a short segment's tell of the clock rather than of it."""
    medians = [float(np.median(it)) for it in times]
    long = [(it, middle) for it, middle in zip(times, medians, strict=True) if middle >= LONG_ENOUGH * max(medians)]
    return tuple(float(ratio) for it, middle in long for ratio in it / middle) if max(medians) > 0 else ()


def _idle(gap_ms: float) -> None:
    if gap_ms > 0:
        time.sleep(gap_ms / 1e3)
