"""The numbers beside a page, as CSV: its runs, and their tasks. Plain CSV, a row each, with a head."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hasten.core.output import write_text
from hasten.core.result_table import flat_summary, task_columns
from hasten.core.results import Result
from hasten.core.scenario import Scenario


def table_paths(page: Path) -> tuple[Path, Path]:
    """Where the tables of a page go: of its runs, and of their tasks."""
    return page.with_suffix(".csv"), page.with_name(f"{page.stem}-tasks.csv")


def write_result_tables(page: Path, scenario: Scenario, results: Sequence[Result]) -> list[Path]:
    """Write both tables beside ``page``; returns their paths."""
    runs, tasks = table_paths(page)
    write_rows(runs, [flat_summary(result.summary()) for result in results])
    write_columns(tasks, [stream.name for stream in scenario.devices], [task_columns(result) for result in results])
    return [runs, tasks]


def write_columns(path: Path, streams: Sequence[str], tables: Sequence[Mapping[str, NDArray[Any]]]) -> None:
    """Write tables of tasks one after the other, each with columns (N,), and with the names of the streams."""
    head = ["stream_name", *dict.fromkeys(name for table in tables for name in table)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for table in tables:
        columns = {name: [_cell(value) for value in column.tolist()] for name, column in table.items()}
        columns["stream_name"] = [streams[m] for m in table["stream"]]
        nothing = [""] * len(table["stream"])
        writer.writerows(zip(*(columns.get(name, nothing) for name in head), strict=True))
    write_text(path, text.getvalue())


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows that may have different columns; one that a row lacks is empty, and so is None."""
    kept = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in kept for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(kept)
    write_text(path, text.getvalue())


def _cell(value: Any) -> Any:
    """Nothing for what is not a number."""
    return "" if value != value else value
