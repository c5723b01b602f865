"""Where a device's tasks come from: frames (a package's samples, a folder of arrays, synthetic) and arrival times."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from hasten.core.arrivals import Arrivals
from hasten.core.errors import InputError
from hasten.core.files import read_yaml, validated
from hasten.runtime.tasks import Arrival
from hasten.split.package import Package

Array = NDArray[np.generic]

SAMPLES, SYNTHETIC = "samples", "synthetic"
SYNTHETIC_FRAMES = 64
MAX_ARRAY_BYTES = 2 << 30
"""A file of arrays beyond this size is refused before it is read."""
SHORT_ARRIVALS = ("poisson", "periodic")


@dataclass(frozen=True)
class Frames:
    """Frames to draw tasks from: (N, *input shape), and their labels (N,) where known."""

    inputs: Array
    labels: NDArray[np.int64] | None

    def arrivals(self, times_ms: NDArray[np.float64], seed: int, stream: int = 0) -> Tasks:
        """One task for each time; which frame each shows is drawn from ``seed`` and ``stream``."""
        order = np.random.default_rng([seed, 3, stream]).integers(len(self.inputs), size=len(times_ms))
        return Tasks(self, times_ms, order)


class Tasks(Sequence[Arrival]):
    """Tasks to come, made when asked for."""

    def __init__(self, frames: Frames, times_ms: NDArray[np.float64], order: NDArray[np.int64]) -> None:
        self._frames, self._times_ms, self._order = frames, times_ms, order

    def __len__(self) -> int:
        return len(self._times_ms)

    def __getitem__(self, number: Any) -> Any:
        sample = int(self._order[number])
        labels = self._frames.labels
        frame = self._frames.inputs[sample : sample + 1]
        return Arrival(float(self._times_ms[number]), sample, frame, None if labels is None else int(labels[sample]))


def open_source(source: str, package: Package, seed: int = 0) -> Frames:
    """Frames named by ``samples`` (the package's own), ``synthetic``, or a folder or file of ``.npy``/``.npz``.

    A ``.npz`` holds ``x`` and, where known, ``y``. Raises :class:`InputError` when the frames do not fit the package.
    """
    if source == SAMPLES:
        return Frames(*package.samples())
    if source == SYNTHETIC:
        return _synthetic(package, seed)
    path = Path(source)
    files = sorted(p for p in path.iterdir() if p.suffix in (".npy", ".npz")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise InputError("device", "source", source, "samples, synthetic, or a folder with .npy or .npz files")
    parts = [_read_arrays(file, package) for file in files]
    labels = [part.labels for part in parts]
    known = [part for part in labels if part is not None]
    return Frames(
        np.concatenate([part.inputs for part in parts]),
        np.concatenate(known) if len(known) == len(parts) else None,
    )


def _synthetic(package: Package, seed: int) -> Frames:
    spec = package.manifest.input
    rng = np.random.default_rng([seed, 4])
    shape = (SYNTHETIC_FRAMES, *spec.shape)
    if spec.dtype == "float32":
        return Frames(rng.standard_normal(shape, dtype=np.float32), None)
    return Frames(rng.integers(0, 256, shape).astype(spec.dtype), None)


def _read_arrays(path: Path, package: Package) -> Frames:
    size = path.stat().st_size
    if size > MAX_ARRAY_BYTES:
        raise InputError(path, "size", size, f"at most {MAX_ARRAY_BYTES} bytes")
    try:
        loaded: Any = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            inputs, labels = loaded, None
        else:
            with loaded:
                inputs, labels = loaded["x"], loaded.get("y")
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(path, "file", path.name, f".npy frames, or .npz with x and optionally y ({error})") from None
    spec = package.manifest.input
    if inputs.shape[1:] != spec.shape or inputs.dtype != spec.dtype or not inputs.size:
        expected = f"{spec.dtype}{['N', *spec.shape]} with N at least 1"
        raise InputError(path, "frames", f"{inputs.dtype}{list(inputs.shape)}", expected)
    if labels is not None and (labels.shape != inputs.shape[:1] or labels.dtype.kind not in "iu"):
        raise InputError(path, "labels", f"{labels.dtype}{list(labels.shape)}", f"{len(inputs)} class numbers")
    return Frames(inputs, None if labels is None else labels.astype(np.int64))


class _ArrivalsFile(BaseModel):
    """A file that holds one arrival process, as a scenario writes it."""

    model_config = ConfigDict(extra="forbid")
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
