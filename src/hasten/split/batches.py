"""Several samples in one call of a segment: whether that computes the same, and how long it takes by their number.

Graphs are cut for one sample. Most compute the same for several, and some do not (an operation that mixes samples, a
shape that is written out). So a segment is run in batches only after it was compared, sample by sample.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import HastenError
from hasten.core.profile import SegmentBatches
from hasten.split.codecs import CutCodecs
from hasten.split.executor import Executor, Key
from hasten.split.inputs import Frame, count_of, frame_of
from hasten.split.verify import TOLERANCE

Array = NDArray[np.generic]

BATCH_SIZES = (1, 2, 4, 8)
"""Batches of so many are measured."""
COMPARED = 3
"""So many samples are compared: in the first, the last and another place of a batch."""


def cut_samples(executor: Executor, partition: int, count: int) -> list[Frame]:
    """What the package's first so many samples are at a cut, in turns if there are fewer: tensors (1, *shape) each."""
    inputs = executor.package.samples()[0]
    frames = [frame_of(inputs, i % count_of(inputs)) for i in range(count)]
    return [executor.prefix(partition, frame) if partition else frame for frame in frames]


def runs_in_batches(executor: Executor, partition: int, exit_: int, samples: Sequence[Frame]) -> bool:
    """Whether a segment gives for all of ``samples`` at once what it gives for each, as ``hasten verify`` compares."""
    try:
        together = executor.outputs_of(partition, exit_, samples)
        alone = [executor.outputs(partition, exit_, sample) for sample in samples]
    except (HastenError, ValueError, IndexError):  # the runtime refuses the graph, or outputs are not one per sample
        return False
    return all(
        _alike(np.stack([one[name] for one in together]), np.stack([one[name] for one in alone])) for name in alone[0]
    )


def batchable(executor: Executor, segments: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """Which of these (partition, exit) run in batches and fit into the memory beside what is held; they are held."""
    kept: set[tuple[int, int]] = set()
    before = Executor(executor.package, memory_bytes=0)  # an edge's holds no prefixes
    samples: dict[int, list[Frame]] = {}
    for partition, exit_ in segments:
        if not executor.has_room(Key("batch", partition, exit_)):
            continue
        if partition not in samples:
            samples[partition] = cut_samples(before, partition, COMPARED)
        if runs_in_batches(executor, partition, exit_, samples[partition]):
            kept.add((partition, exit_))
    return {(partition, exit_) for partition, exit_ in kept if executor.holds(Key("batch", partition, exit_))}


def time_batches(
    executor: Executor,
    *,
    gap_ms: float,
    repeats: int,
    progress: Callable[[float], None] | None = None,
    clock: Callable[[], float] | None = None,
) -> tuple[SegmentBatches, ...]:
    """Medians by batch size, decoding included, of every segment that an edge runs and that runs in batches.

    ``clock`` gives seconds; by default as :func:`hasten.split.segment_times.time_segments` takes it.
    """
    clock = clock or (time.thread_time if executor.threads == 1 else time.perf_counter)
    manifest, codecs = executor.package.manifest, CutCodecs()
    options = [(exit_, p) for exit_, p in manifest.options() if p < manifest.exits[exit_ - 1].after_block]
    found: list[SegmentBatches] = []
    for done, (exit_, partition) in enumerate(options):
        cut = manifest.cuts[partition]
        samples = cut_samples(executor, partition, max(BATCH_SIZES))
        payloads = [codecs.encode(sample, cut) for sample in samples]
        keys = [Key("finish", partition, exit_), Key("batch", partition, exit_)]
        fit = sum(executor.segment_bytes(key) for key in keys) <= executor.memory_bytes
        if not fit or not runs_in_batches(executor, partition, exit_, samples[:COMPARED]):
            continue
        executor.hold(keys)
        taken: dict[int, list[float]] = {size: [] for size in BATCH_SIZES}
        for _ in range(repeats):
            for size, times in taken.items():
                time.sleep(gap_ms / 1e3)
                start = clock()
                tensors = [codecs.decode(payload, cut) for payload in payloads[:size]]
                if size == 1:
                    executor.outputs(partition, exit_, tensors[0])
                else:
                    executor.outputs_of(partition, exit_, tensors)
                times.append(1e3 * (clock() - start))
        medians = tuple(float(np.median(times)) for times in taken.values())
        found.append(SegmentBatches(exit=exit_, partition=partition, sizes=BATCH_SIZES, ms=medians))
        if progress is not None:
            progress((done + 1) / len(options))
    return tuple(found)


def _alike(one: Array, other: Array) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.dtype.kind != "f":
        return bool((one == other).all())
    scale = float(np.abs(other).max(initial=0.0))
    error = np.abs(np.subtract(one, other)).max(initial=0.0)
    return bool(np.isfinite(scale) and error <= TOLERANCE * scale)
