"""Sources that give frames one after another: cameras, videos, network streams, folders of pictures, Python iterables.

Files and functions are there when they are wanted and are paced by arrival times; a camera and a network stream come
when they come.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hasten.core.errors import HastenError, InputError
from hasten.runtime.device.pictures import PictureFit, opencv
from hasten.runtime.notes import say_on_stderr
from hasten.runtime.pace import now_ms
from hasten.split.manifest import TensorSpec

CAMERA = "camera:"
NETWORK = ("rtsp://", "rtsps://", "rtmp://", "http://", "https://", "udp://")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mjpeg", ".mjpg")


@dataclass(frozen=True)
class LiveSource:
    """Frames as they come."""

    frames: Iterable[Any]
    own_pace: bool
    """Whether it comes when it comes, and cannot wait."""
    rate_hz: float | None = None
    """Frames a second, where it says so."""


def live_source(source: str, specs: Sequence[TensorSpec]) -> LiveSource | None:
    """The source of this name, or None if it is not one of these kinds.

    ``camera:N``, ``rtsp://...``, a video file, a folder of pictures, or ``MODULE:FUNCTION``, which gives an iterable of
    frames that fit the package's input as they are, or dictionaries of arrays by the inputs' names.

    Raises:
        InputError: it cannot be opened, or pictures do not fit the input.
        HastenError: OpenCV is not installed.
    """
    if source.startswith(CAMERA):
        number = source.removeprefix(CAMERA)
        if not number.isascii() or not number.isdigit():
            raise InputError("device", "source", source, "camera:N, N the camera's number from 0")
        return _video(source, int(number), specs, own_pace=True)
    if source.startswith(NETWORK):
        return _video(source, source, specs, own_pace=True)
    path = Path(source)
    if path.suffix.lower() in VIDEOS:
        if not path.is_file():
            raise InputError("device", "source", source, "a video file that is there")
        return _video(source, source, specs, own_pace=False)
    if path.is_dir():
        pictures = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
        return LiveSource(_pictures(pictures, PictureFit(specs)), own_pace=False) if pictures else None
    module, colon, function = source.partition(":")
    if colon and module and function.isidentifier() and all(part.isidentifier() for part in module.split(".")):
        return LiveSource(_function(source, module, function), own_pace=False)
    return None


def paced(frames: Iterable[Any], times_ms: Iterable[float], sleep: Callable[[float], object]) -> Iterator[Any]:
    """The frames, each not before its time, which counts from the first call; ``sleep`` takes seconds."""
    start_ms = now_ms()
    for at_ms, frame in zip(times_ms, frames, strict=False):
        left_ms = start_ms + at_ms - now_ms()
        if left_ms > 0:
            sleep(left_ms / 1000.0)
        yield frame


def _video(source: str, name: str | int, specs: Sequence[TensorSpec], own_pace: bool) -> LiveSource:
    fit, cv2 = PictureFit(specs), opencv()
    logging = cv2.utils.logging
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_ERROR)  # what cannot be opened is told below, in one line
    capture = cv2.VideoCapture(name)
    logging.setLogLevel(level)
    if not capture.isOpened():
        capture.release()
        raise InputError("device", "source", source, "a camera, video or stream that OpenCV can open")
    rate_hz = float(capture.get(cv2.CAP_PROP_FPS))

    def frames() -> Iterator[Any]:
        try:
            while True:
                there, picture = capture.read()
                if not there:
                    if own_pace:  # nobody knows when it would have ended, or whether it was meant to
                        say_on_stderr(f"hasten: {source} gives no more frames")
                    return
                yield fit.frame(picture)
        finally:
            capture.release()

    return LiveSource(frames(), own_pace, rate_hz if 0 < rate_hz < 10_000 else None)


def _pictures(files: list[Path], fit: PictureFit) -> Iterator[Any]:
    cv2 = opencv()
    for file in files:
        picture = cv2.imread(str(file))
        if picture is None:
            raise InputError(file, "picture", file.name, "a picture that OpenCV can read")
        yield fit.frame(picture)


def _function(source: str, module: str, function: str) -> Iterable[Any]:
    """What the function gives; the working directory is looked in, as by ``python -m``."""
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        given = getattr(importlib.import_module(module), function)()
    except HastenError:
        raise
    except Exception as error:  # it may fail in any way
        expected = f"MODULE:FUNCTION that can be imported and called ({type(error).__name__}: {error})"
        raise InputError("device", "source", source, expected) from None
    if not isinstance(given, Iterable):
        raise InputError("device", "source", source, f"a function that gives an iterable, not {type(given).__name__}")
    return given
