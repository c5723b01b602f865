"""Recorded tables as text: which character separates cells, what columns there are, and rows that fit them."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.core.files import MAX_TEXT_BYTES

FloatArray = NDArray[np.float64]
DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Text:
    """A text recording: its name for messages, and its bytes."""

    name: str
    data: bytes

    def lines(self) -> Iterator[str]:
        """Lines that are not empty, without their ends, one at a time."""
        for line in self._decoded(None):
            text = line.strip("\r\n")
            if text.strip():
                yield text

    def whole(self) -> str:
        """All of a text that has to be read in one piece."""
        if len(self.data) > MAX_TEXT_BYTES:
            raise InputError(self.name, "size", len(self.data), f"at most {MAX_TEXT_BYTES} bytes in this format")
        return "".join(self._decoded(None))

    def first_line(self) -> str:
        """The first line that is not empty; raises :class:`InputError` where there is none."""
        first = next(self.lines(), None)
        if first is None:
            raise InputError(self.name, "file", "an empty file", "a recording with at least one line")
        return first.strip()

    def table(self) -> Table:
        """The recording as a table whose first line names its columns."""
        first = self.first_line()
        try:
            widths = {delimiter: len(next(csv.reader([first], delimiter=delimiter))) for delimiter in DELIMITERS}
        except csv.Error as error:
            raise InputError(self.name, "line 1", first, f"a table's names of columns ({error})") from None
        delimiter = max(DELIMITERS, key=lambda candidate: widths[candidate])  # of equals the first, a comma
        rows = self._rows(delimiter)
        _, names = next(rows, (0, list[str]()))
        columns = [name.strip() for name in names]
        twice = next((name for i, name in enumerate(columns) if name in columns[:i] and name), None)
        if twice is not None:
            raise InputError(self.name, "columns", twice, "each name once")
        return Table(self.name, columns, rows)

    def _rows(self, delimiter: str) -> Iterator[tuple[int, list[str]]]:
        """(line number, cells) of each row that is not empty; all have the first one's length."""
        reader = csv.reader(self._decoded(""), delimiter=delimiter, strict=True)
        width = None
        try:
            for row in reader:
                if not any(cell.strip() for cell in row):
                    continue
                width = len(row) if width is None else width
                if len(row) < width or any(cell.strip() for cell in row[width:]):
                    raise InputError(self.name, f"line {reader.line_num}", f"{len(row)} cells", f"{width} cells")
                yield reader.line_num, row
        except csv.Error as error:
            raise InputError(self.name, f"line {reader.line_num}", "unreadable cells", f"a table ({error})") from None

    def _decoded(self, newline: str | None) -> Iterator[str]:
        try:
            yield from io.TextIOWrapper(io.BytesIO(self.data), encoding="utf-8-sig", newline=newline)
        except UnicodeDecodeError:
            raise InputError(self.name, "file", "undecodable bytes", "a text recording in UTF-8") from None


@dataclass(frozen=True)
class Table:
    """A table's columns, and its rows: (line number, cells) one at a time, each as long as ``columns``."""

    name: str
    columns: list[str]
    rows: Iterator[tuple[int, list[str]]]


def numbers(where: str, field: str, cells: Iterable[str]) -> FloatArray:
    """Finite numbers (N,), read without keeping the text; raises :class:`InputError` for anything else."""
    found = array("d")
    for cell in cells:
        try:
            if "_" in cell:
                raise ValueError
            found.append(float(cell))
        except ValueError:
            raise InputError(where, field, cell, "a number") from None
    values = np.frombuffer(found, dtype=np.float64)
    if not np.all(np.isfinite(values)):
        raise InputError(where, field, float(values[~np.isfinite(values)][0]), "a finite number")
    return values
