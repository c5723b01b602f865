"""A folder of pictures, one sub-folder per class, as most people keep theirs; or just pictures, without labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.networks.sources import MAX_BYTES, PART_NAMES, Part
from hasten.split.inputs import arrays_of

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm"}

Size = tuple[int, int]
"""Height and width in pixels."""


def read_picture_parts(place: Path, size: Size | None = None) -> dict[str, Part]:
    """The pictures in ``place``: in its folders ``train``, ``val``, ``test`` if it has such, else all as one part.

    Args:
        place: the folder.
        size: pictures are scaled so that they cover it, and cut to it around their middle. None: they all are of one
            size already.

    Raises:
        InputError: no pictures, pictures of several sizes without ``size``, a file that is none, other classes in one
            part than in another.
    """
    named = {PART_NAMES[child.name]: child for child in sorted(place.iterdir()) if child.name in PART_NAMES}
    if "train" not in named:
        return {"train": _read(place, size)}
    parts = {name: _read(child, size) for name, child in named.items()}
    for name, part in parts.items():
        if part.class_names != parts["train"].class_names:
            odd = sorted(set(part.class_names) ^ set(parts["train"].class_names))
            raise InputError(named[name], "classes", odd[:4], "folders for the same classes as in train")
        shape, first = (arrays_of(found.x)[0].shape[1:] for found in (part, parts["train"]))
        if shape != first:
            raise InputError(named[name], "size", shape, f"that of train, {first}; or an image size")
    return parts


def _read(place: Path, size: Size | None) -> Part:
    """All pictures of one part (N, channels, H, W) uint8, grey if all are, and the numbers of their folders."""
    classes = sorted(child.name for child in place.iterdir() if child.is_dir() and any(_files(child)))
    if classes:
        listed = [(file, number) for number, name in enumerate(classes) for file in _files(place / name)]
    else:
        listed = [(file, -1) for file in _files(place)]
    if len(listed) < 2:
        expected = f"at least two pictures ({', '.join(sorted(SUFFIXES))}), in one folder per class or without classes"
        raise InputError(place, "pictures", len(listed), expected)
    pictures = _opened([file for file, _ in listed], size)
    labels = np.array([number for _, number in listed], np.int64) if classes else None
    return Part(pictures, labels, tuple(classes))


def _files(place: Path) -> list[Path]:
    return sorted(file for file in place.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())


def _opened(files: list[Path], size: Size | None) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    pixels: list[NDArray[np.uint8]] = []
    grey, taken = True, 0
    for file in files:
        try:
            with Image.open(file) as opened:
                grey = grey and opened.mode in ("1", "L")
                picture = opened.convert("RGB")
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(file, "picture", file.name, f"a picture that can be read ({error})") from None
        if size is not None:
            picture = ImageOps.fit(picture, (size[1], size[0]))
        array = np.asarray(picture, np.uint8)
        if pixels and array.shape != pixels[0].shape:
            expected = f"that of the first, {pixels[0].shape[:2]}; or an image size (--image-size) to bring all to"
            raise InputError(file, "size", array.shape[:2], expected)
        taken += array.nbytes
        if taken > MAX_BYTES:
            raise InputError(file.parent, "size", f"more than {MAX_BYTES} bytes", "less; a smaller image size")
        pixels.append(array)
    stacked = np.stack(pixels).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(stacked[:, :1] if grey else stacked)
