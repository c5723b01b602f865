"""Where a device's tasks come from: frames (a package's samples, a folder of arrays, synthetic) and arrival times."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.arrivals import Arrivals
from hasten.core.errors import InputError
from hasten.core.files import Record, read_yaml, validated
from hasten.runtime.device.tasks import Arrival
from hasten.runtime.outputs import Outputs
from hasten.split.inputs import Inputs, count_of, frame_of
from hasten.split.manifest import TensorSpec
from hasten.split.metrics import NAMES as METRICS
from hasten.split.metrics import make_metric, score
from hasten.split.package import Package
from hasten.split.verify import random_inputs_like

Array = NDArray[np.generic]

SAMPLES, SYNTHETIC = "samples", "synthetic"
SYNTHETIC_FRAMES = 64
STRETCH = 65_536
"""Arrivals drawn at a time."""
MAX_ARRAY_BYTES = 2 << 30
"""A file of arrays beyond this size is refused before it is read."""
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
SHORT_ARRIVALS = ("poisson", "periodic")


@dataclass(frozen=True)
class Frames:
    """Frames to draw tasks from: (N, *input shape) of each input, and their classes (N,) where known.

    ``judge`` says how good outputs for a frame are, by its number, where the frames have targets that are no classes.
    """

    inputs: Inputs
    labels: NDArray[np.int64] | None
    judge: Callable[[int, Outputs], float] | None = None

    def arrivals(self, times_ms: NDArray[np.float64], seed: int, stream: int = 0) -> ArrivingTasks:
        """One task for each time; which frame each shows is drawn from ``seed`` and ``stream``."""
        order = np.random.default_rng([seed, 3, stream]).integers(count_of(self.inputs), size=len(times_ms))
        return ArrivingTasks(self, times_ms, order)

    def stream(self, times_ms: Iterable[float], seed: int, stream: int = 0) -> Iterator[Arrival]:
        """The same tasks, one after the other, for times that need not end."""
        rng, count = np.random.default_rng([seed, 3, stream]), count_of(self.inputs)
        for at_ms in times_ms:
            yield self._arrival(float(at_ms), int(rng.integers(count)))

    def _arrival(self, at_ms: float, sample: int) -> Arrival:
        label = None if self.labels is None else int(self.labels[sample])
        judge = None if self.judge is None else partial(self.judge, sample)
        return Arrival(at_ms, sample, frame_of(self.inputs, sample), label, judge)


class ArrivingTasks(Sequence[Arrival]):
    """Tasks to come, made when asked for."""

    def __init__(self, frames: Frames, times_ms: NDArray[np.float64], order: NDArray[np.int64]) -> None:
        self._frames, self._times_ms, self._order = frames, times_ms, order

    def __len__(self) -> int:
        return len(self._times_ms)

    def __getitem__(self, number: Any) -> Any:
        return self._frames._arrival(float(self._times_ms[number]), int(self._order[number]))


def arrival_times(process: Arrivals, seed: int, tasks: int | None) -> Iterator[float]:
    """Arrival times in ms, without end if no number is given, drawn in stretches so that memory stays what it is.

    A stretch begins where the one before ended; a process with a memory of its own (bursts, a recording) starts anew.
    """
    rng, left, end_ms = np.random.default_rng([seed, 0, 0]), tasks, 0.0
    while left is None or left > 0:
        count = STRETCH if left is None else min(left, STRETCH)
        times_ms = process.times(rng, count, np.inf, 0.0, None)
        shift_ms = 0.0
        if end_ms > 0 and process.kind == "periodic":
            shift_ms = end_ms + 1000.0 / process.rate_hz - float(times_ms[0])
        elif end_ms > 0:
            shift_ms = end_ms
        yield from (times_ms + shift_ms).tolist()
        if len(times_ms) < count or process.kind == "explicit":
            return
        end_ms = float(times_ms[-1]) + shift_ms
        left = None if left is None else left - count


def open_source(source: str, package: Package, seed: int = 0) -> Frames:
    """Frames named by ``samples`` (the package's own), ``synthetic``, or a folder or file of ``.npy``/``.npz``.

    A ``.npz`` holds ``x`` and, where known, ``y``; for a package with several inputs each by its name instead of ``x``.
    Raises :class:`InputError` when the frames do not fit the package.
    """
    if source == SAMPLES:
        return known_frames(package, *package.samples())
    if source == SYNTHETIC:
        return _synthetic(package, seed)
    path = Path(source)
    try:
        files = sorted(p for p in path.iterdir() if p.suffix in (".npy", ".npz")) if path.is_dir() else [path]
        absent = not files or not files[0].is_file()
    except (OSError, ValueError):  # a folder that is not for us, or a name that no file can have
        absent = True
    if absent:
        raise InputError(
            "device", "source", source, "samples, synthetic, or a folder with .npy or .npz files or with pictures"
        )
    parts = [_read_arrays(file, package) for file in files]
    known = [targets for _, targets in parts if targets is not None]
    targets = np.concatenate(known) if len(known) == len(parts) else None
    arrays = [np.concatenate(same) for same in zip(*(given for given, _ in parts), strict=True)]
    return known_frames(package, _inputs(package, arrays), targets)


def known_frames(package: Package, inputs: Inputs, targets: Array | None) -> Frames:
    """Frames (N, *input shape) with targets (N, ...), which are classes, or what the package's metric compares with.

    A metric that the package knows by name only, a function of whoever built it, judges nothing.
    """
    manifest = package.manifest
    if targets is None or (not manifest.classes and manifest.metric not in METRICS):
        return Frames(inputs, None)
    if manifest.classes:
        return Frames(inputs, targets.astype(np.int64, copy=False))
    metric = make_metric(manifest.metric, targets)
    return Frames(inputs, None, lambda sample, outputs: score(metric, outputs, targets[sample]))


def _synthetic(package: Package, seed: int) -> Frames:
    rng = np.random.default_rng([seed, 4])
    drawn = random_inputs_like(package.manifest.inputs, package.samples()[0], SYNTHETIC_FRAMES, seed)
    arrays = [
        rng.standard_normal((SYNTHETIC_FRAMES, *spec.shape), dtype=np.float32)
        if spec.dtype == "float32"
        else np.concatenate([frame[number] for frame in drawn])
        for number, spec in enumerate(package.manifest.inputs)
    ]
    return Frames(_inputs(package, arrays), None)


def _inputs(package: Package, arrays: Sequence[Array]) -> Inputs:
    """The array (N, *shape) of the one input, or of each by its name."""
    specs = package.manifest.inputs
    return arrays[0] if len(specs) == 1 else {spec.name: array for spec, array in zip(specs, arrays, strict=True)}


def _read_arrays(path: Path, package: Package) -> tuple[list[Array], Array | None]:
    specs = package.manifest.inputs
    names = ["x"] if len(specs) == 1 else [spec.name for spec in specs]
    kinds = ".npy frames, or .npz with x" if len(specs) == 1 else f".npz with {', '.join(names)}"
    try:
        _check_sizes(path)
        loaded: Any = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            arrays, targets = [loaded], None
        else:
            with loaded:
                arrays, targets = [loaded[name] for name in names], loaded.get("y")
    except InputError:
        raise
    except _UNREADABLE as error:
        reason = "no arrays in it" if "pickle" in str(error) else error  # numpy's advice is to unpickle what it is not
        raise InputError(path, "file", path.name, f"{kinds} and optionally y ({reason})") from None
    if len(arrays) != len(specs):
        raise InputError(path, "file", path.name, f"{kinds}: one array of each input")
    for spec, array in zip(specs, arrays, strict=True):
        _check_array(path, spec, array, arrays[0].shape[:1])
    if targets is not None:
        _check_targets(path, targets, len(arrays[0]), package)
    return arrays, targets


def _check_targets(path: Path, targets: Array, count: int, package: Package) -> None:
    """InputError unless these are classes (count,), or targets (count, ...) as the package has them."""
    found, target = f"{targets.dtype}{list(targets.shape)}", package.manifest.label
    if package.manifest.classes:
        if targets.shape != (count,) or targets.dtype.kind not in "iu":
            raise InputError(path, "labels", found, f"{count} class numbers")
    elif targets.shape != (count, *target.shape) or targets.dtype != target.dtype:
        raise InputError(path, "targets", found, f"{target.dtype}{[count, *target.shape]}")


def _check_array(path: Path, spec: TensorSpec, array: Array, count: tuple[int, ...]) -> None:
    """InputError unless the array (count, ...) holds frames of an input, all finite."""
    if array.shape != (*count, *spec.shape) or not count or array.dtype != spec.dtype or not array.size:
        expected = f"{spec.dtype}{['N', *spec.shape]} with N at least 1, the same for all inputs"
        raise InputError(path, "frames", f"{array.dtype}{list(array.shape)}", expected)
    for number, frame in enumerate(array if array.dtype.kind == "f" else ()):
        if not np.all(np.isfinite(frame)):
            raise InputError(path, f"frame {number}", float(frame[~np.isfinite(frame)][0]), "finite numbers")


def _check_sizes(path: Path) -> None:
    """Refuse what is too large before it is read, and arrays that an archive would unpack to too much."""
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = max((info.file_size for info in archive.infolist()), default=0)
    if size > MAX_ARRAY_BYTES:
        raise InputError(path, "size", size, f"at most {MAX_ARRAY_BYTES} bytes")


class _ArrivalsFile(Record):
    """A file that holds one arrival process, as a scenario writes it."""

    arrivals: Arrivals


def parse_arrivals(text: str) -> Arrivals:
    """``poisson:RATE_HZ``, ``periodic:RATE_HZ``, or ``file:NAME``: YAML as under ``arrivals`` in a scenario."""
    if text.startswith("file:"):
        path = Path(text.removeprefix("file:"))
        return validated(_ArrivalsFile, {"arrivals": read_yaml(path)}, path).arrivals
    kind, _, rate = text.partition(":")
    try:
        rate_hz = float(rate)
    except ValueError:
        rate_hz = 0.0
    if kind not in SHORT_ARRIVALS or not 0 < rate_hz < float("inf"):
        expected = f"{' or '.join(f'{name}:RATE_HZ' for name in SHORT_ARRIVALS)} with a rate above 0, or file:NAME.yaml"
        raise InputError("device", "arrivals", text, expected)
    return validated(_ArrivalsFile, {"arrivals": {"kind": kind, "rate_hz": rate_hz}}, "arrivals").arrivals
