"""Data to build a package from: bundled digits, CIFAR-10 from the data folder, or your own, with labels or without.

Training data trains, validation data calibrates, test data only measures accuracy and travels in packages as samples.
"""

from __future__ import annotations

import csv
import gzip
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.core.files import about_data_folder, data_folder
from hasten.networks.array_files import read_folder, read_npz, require_alike
from hasten.networks.digits import cluttered, digits_by_part
from hasten.networks.factory import call_named
from hasten.networks.pictures import Size, read_picture_parts
from hasten.networks.sources import Part, are_classes, read_parts
from hasten.split.inputs import Inputs, arrays_of, count_of, first_of, rows_of

Labels = NDArray[np.int64]
Targets = NDArray[Any]

VALIDATION_SHARE = 0.1
"""Share of a training set that is set aside when there is no validation set."""
TEST_SHARE = 0.2
"""Share of data in one part that is set aside for tests."""

CIFAR_SIDE = 32
CIFAR_BATCH = 10_000


@dataclass(frozen=True)
class Dataset:
    """Inputs (N, *input_shape) and labels (N,) from 0 to ``classes`` - 1, in three parts.

    Inputs are uint8 (pixels, scaled to 0..1 in the network), float32, int64 or bool; of a network with several inputs
    a dictionary of such arrays by the names of ``forward``'s parameters. Without labels ``classes`` is 0
    and the labels are None; with other targets (N, ...) than classes it is 0, too.
    """

    name: str
    classes: int
    train_x: Inputs
    train_y: Targets | None
    val_x: Inputs
    val_y: Targets | None
    test_x: Inputs
    test_y: Targets | None
    class_names: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, of the first where there are several, without the batch."""
        return tuple(arrays_of(self.train_x)[0].shape[1:])

    def first(self, train: int, test: int) -> Dataset:
        """A smaller set: the first ``train`` and ``test`` inputs of those parts."""
        return replace(
            self,
            train_x=first_of(self.train_x, train),
            train_y=None if self.train_y is None else self.train_y[:train],
            test_x=first_of(self.test_x, test),
            test_y=None if self.test_y is None else self.test_y[:test],
        )


def load_dataset(source: str, seed: int = 0, size: Size | None = None, names: Sequence[str] = ()) -> Dataset:
    """Load data by name or place.

    Args:
        source: ``digits``; ``cifar10``; a folder with train.npz and test.npz (arrays ``x``, ``y``); a folder of
            pictures, one sub-folder per class; an .npz file; or MODULE:FUNCTION, a function without arguments that
            returns data as :func:`own_dataset` takes them.
        seed: draws the digits' pictures (not which originals are test digits), and which inputs validate and test.
        size: pictures of a folder are brought to this height and width.
        names: of the network's parameters: arrays and columns that are called so, instead of ``x``, are its inputs.

    Raises:
        InputError: nothing of that name, or data that are absent, truncated or do not fit each other.
    """
    if source == "digits":
        return digits(seed)
    if source == "cifar10":
        return cifar10(seed)
    place = Path(source)
    if place.is_dir():
        if any((place / f"{part}.npz").exists() for part in ("train", "test")):
            return _with_validation(place.resolve().name, *read_folder(place, names), seed)
        return assembled(place.resolve().name, read_picture_parts(place, size), seed)
    if place.suffix == ".npz":
        return assembled(place.stem, read_npz(place, names), seed)
    if ":" in source:
        return own_dataset(call_named(source, "data"), source.partition(":")[2], seed, names)
    expected = "digits, cifar10, a folder with train.npz and test.npz or of pictures, an .npz file, or MODULE:FUNCTION"
    raise InputError("data", "name", source, expected)


def own_dataset(given: object, name: str = "data", seed: int = 0, names: Sequence[str] = ()) -> Dataset:
    """Data that a program has: arrays, a torch Dataset or DataLoader, rows with named columns, or several such parts.

    Parts are a mapping with ``train`` and perhaps ``validation`` and ``test``, or a pair (train, test). Without a test
    part a fifth of the inputs tests; without a validation part a tenth of the training inputs validates. ``names`` are
    those of the network's parameters, for several inputs.
    """
    return given if isinstance(given, Dataset) else assembled(name, read_parts(name, given, seed, names), seed)


def assembled(name: str, parts: dict[str, Part], seed: int) -> Dataset:
    """One data set of its parts; those that are missing are set aside from the training part, drawn with ``seed``."""
    first = parts["train"]
    for part in parts.values():
        if (part.y is None) != (first.y is None):
            raise InputError(name, "labels", part.y is not None, f"as in train, {first.y is not None}")
        require_alike(name, part.x, first.x, "train")
    rng = np.random.default_rng(seed)
    for missing, share in (("test", TEST_SHARE), ("val", VALIDATION_SHARE)):
        if missing not in parts:
            whole = parts["train"]
            total = count_of(whole.x)
            count = max(1, round(share * total))
            if total - count < 2:
                raise InputError(name, "inputs", total, "enough to set some aside for tests and validation")
            aside, rest = np.split(rng.permutation(total), [count])
            parts = {**parts, missing: _rows(whole, aside), "train": _rows(whole, rest)}
    labels = [part.y for part in parts.values() if part.y is not None]
    classes = max((int(y.max()) + 1 for y in labels if are_classes(y)), default=0)
    train, val, test = parts["train"], parts["val"], parts["test"]
    return Dataset(name, classes, train.x, train.y, val.x, val.y, test.x, test.y, train.class_names)


def _rows(part: Part, rows: NDArray[np.int64]) -> Part:
    return part._replace(x=rows_of(part.x, rows), y=None if part.y is None else part.y[rows])


def digits(seed: int = 0, train: int = 12_288, val: int = 1_000, test: int = 4_000) -> Dataset:
    """Cluttered digits (N, 1, 64, 64) uint8, with so many pictures per part; see :mod:`hasten.networks.digits`."""
    parts = digits_by_part()
    train_x, train_y = cluttered(*parts["train"], train, seed=3 * seed)
    val_x, val_y = cluttered(*parts["val"], val, seed=3 * seed + 1)
    test_x, test_y = cluttered(*parts["test"], test, seed=3 * seed + 2)
    return Dataset("digits", 10, train_x, train_y, val_x, val_y, test_x, test_y)


def cifar10(seed: int = 0) -> Dataset:
    """CIFAR-10 (N, 3, 32, 32) uint8 from ``cifar10/`` in the data folder; a tenth of the training images validates."""
    root = data_folder()
    place = None if root is None else root / "cifar10"
    if place is None or not place.is_dir():
        raise InputError(
            "data", "cifar10", "absent" if place is None else str(place),
            f"the folder of recorded data to hold cifar10/ ({about_data_folder()}); or use --data digits",
        )  # fmt: skip
    labels = _cifar_labels(place / "labels.csv.gz")
    x = np.concatenate([_cifar_batch(place / f"data_batch_{number}.zip") for number in range(1, 6)])
    y = np.concatenate([labels[f"data_batch_{number}"] for number in range(1, 6)])
    return _with_validation("cifar10", x, y, _cifar_batch(place / "test_batch.zip"), labels["test_batch"], seed)


def _with_validation(name: str, x: Inputs, y: Labels, test_x: Inputs, test_y: Labels, seed: int) -> Dataset:
    """Shuffle the training data and set some of it aside for validation."""
    order = np.random.default_rng(seed).permutation(len(y))
    val, train = np.split(order, [max(1, round(VALIDATION_SHARE * len(y)))])
    return Dataset(name, int(y.max()) + 1, rows_of(x, train), y[train], rows_of(x, val), y[val], test_x, test_y)


def _cifar_batch(path: Path) -> NDArray[np.uint8]:
    """Decode one batch (10000, 3, 32, 32): strips of 500 images, one below the other, as lossless WebP."""
    from PIL import Image

    try:
        with zipfile.ZipFile(path) as archive:
            strips = [np.asarray(Image.open(archive.open(name)).convert("RGB")) for name in sorted(archive.namelist())]
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(path, "file", path.name, f"a zip of WebP strips ({error})") from None
    pixels = np.concatenate(strips) if strips else np.empty((0, CIFAR_SIDE, 3), np.uint8)
    if pixels.shape != (CIFAR_BATCH * CIFAR_SIDE, CIFAR_SIDE, 3):
        raise InputError(path, "pixels", pixels.shape, f"{CIFAR_BATCH} images of 32 x 32, three channels")
    images = pixels.reshape(-1, CIFAR_SIDE, CIFAR_SIDE, 3).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images)


def _cifar_labels(path: Path) -> dict[str, Labels]:
    """Read the labels of every batch, in the order of its images."""
    labels: dict[str, list[int]] = {}
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                labels.setdefault(row["batch"], []).append(int(row["label"]))
    except (OSError, EOFError, KeyError, ValueError) as error:
        raise InputError(path, "file", path.name, f"gzipped rows of batch,index,label,filename ({error})") from None
    for batch in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        if len(labels.get(batch, [])) != CIFAR_BATCH:
            raise InputError(path, batch, len(labels.get(batch, [])), f"{CIFAR_BATCH} labels")
    return {batch: np.array(values, np.int64) for batch, values in labels.items()}
