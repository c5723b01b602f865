"""Learning curves as TensorBoard event files, written without TensorBoard.

An event file is a sequence of records: length, checksum of the length, data, checksum of the data. The data are
messages as in TensorFlow's event.proto, the checksums CRC-32C, masked. A disk that is full or gone ends the events, not
the training.
"""

from __future__ import annotations

import socket
import struct
import time
from functools import cache
from pathlib import Path
from typing import BinaryIO

from hasten.core.errors import InputError
from hasten.core.output import check_folder
from hasten.core.protobuf import bytes_field, number_field
from hasten.learn.curve import CurvePoint

_CASTAGNOLI = 0x82F63B78
_MASK = 0xA282EAD8


class EventWriter:
    """Writes every point of a learning curve to a new event file in ``folder``; a context manager.

    Attributes:
        failure: why no more events are written; empty as long as they are.
    """

    def __init__(self, folder: str | Path) -> None:
        """Begin the file.

        Raises:
            InputError: it cannot be written.
        """
        check_folder(folder, "tensorboard")
        now = time.time()
        self.path = (
            Path(folder) / f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{time.time_ns() % 10**9}"
        )
        self.failure = ""
        try:
            self._file: BinaryIO = self.path.open("xb")
            self._write(_event(now, bytes_field(3, "brain.Event:2")))
        except OSError as error:
            raise InputError(
                self.path, "tensorboard", str(folder), f"a folder to write to ({error.strerror})"
            ) from None

    def __call__(self, point: CurvePoint) -> None:
        """Write a point; does nothing once writing has failed."""
        if self.failure:
            return
        values = b"".join(
            bytes_field(1, bytes_field(1, tag) + b"\x15" + struct.pack("<f", value))  # field 2, fixed32
            for tag, value in scalars(point).items()
        )
        try:
            self._write(_event(time.time(), number_field(2, point.updates) + bytes_field(5, values)))
        except OSError as error:
            self.failure = f"{self.path}: no events after {point.updates} steps ({error.strerror})"

    def _write(self, data: bytes) -> None:
        """Append one record and hand it to the system at once."""
        length = struct.pack("<Q", len(data))
        self._file.write(length + _checksum(length) + data + _checksum(data))
        self._file.flush()

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.close()
        except OSError as error:  # what is left in the buffer after a failure fails again
            self.failure = self.failure or f"{self.path}: not all events could be written ({error.strerror})"


def scalars(point: CurvePoint) -> dict[str, float]:
    """A point's numbers under TensorBoard's slash-grouped names."""
    score = point.score
    return {
        "eval/gain": score.gain,
        "eval/gain_over_greedy": score.gain / max(score.greedy, 1e-9),
        "eval/share_of_plan": score.share,
        "eval/commonest_action_share": score.commonest,
        "train/loss": point.loss,
        "train/largest_value": point.largest_value,
        "train/explore": point.explore,
        "time/transitions": point.transitions,
        "time/seconds": point.seconds,
    }


def _event(wall_time: float, content: bytes) -> bytes:
    return b"\x09" + struct.pack("<d", wall_time) + content  # field 1, fixed64


def _checksum(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _table()[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF)


@cache
def _table() -> tuple[int, ...]:
    """CRC-32C of each byte."""
    found = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (_CASTAGNOLI if byte & 1 else 0)
        found.append(byte)
    return tuple(found)
