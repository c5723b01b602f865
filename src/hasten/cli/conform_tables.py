"""Tables of ``hasten conform``: runs side by side, and the errors of single tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.table import Table

from hasten.cli.tables import WIDE, plain_table
from hasten.core.result_table import edge_share_text, share_text


def conform_tables(document: dict[str, Any], width: int = WIDE) -> list[Table]:
    """Two tables of a ``hasten.fidelity.conform/1`` document: the runs side by side, and the errors task by task.

    A terminal narrower than ``WIDE`` gets the columns that matter most.
    """
    return [_sides_table(document, width >= WIDE), _error_table(document, width >= WIDE)]


def conform_legend(document: dict[str, Any]) -> str:
    """What the figures of :func:`conform_tables` mean."""
    overhead = document["simulated_with"]
    return (
        "Both sides met the same arrivals and link rates, with the times of the same profile, plus its "
        f"{overhead['task_ms']:.2f} ms for every task and {overhead['offload_ms']:.2f} ms for an offloaded one.\n"
        "Devices decide by what they see: some decisions differ, and each changes the queues of later tasks. Latency "
        "errors are of tasks decided and answered alike."
    )


_RUN_IN = {"real": "real processes", "virtual": "virtual time"}


def _side(document: dict[str, Any]) -> str:
    """What the side that was run is called."""
    return "virtual" if document["runtime"]["kind"] == "virtual" else "real"


def _sides_table(document: dict[str, Any], wide: bool) -> Table:
    """Three rows for each run: simulated, real or virtual, difference."""
    side = _side(document)
    table = plain_table(f"{document['scenario']}: simulated, and run in {_RUN_IN[side]}")
    columns = _side_columns(wide)
    if wide and any("edge_share" in entry[side] for entry in document["results"]):
        columns["edges"] = lambda one, sign: edge_share_text([one["edge_share"]], sign)
    for heading in ("scheduler", "seed", "", *columns):
        named = heading == "scheduler"
        table.add_column(
            heading,
            justify="left" if heading in ("scheduler", "") else "right",
            no_wrap=not named,
            overflow="fold" if named else "ellipsis",
            min_width=8 if named else None,
        )
    for entry in document["results"]:
        run = [entry["scheduler"], str(entry["seed"])]
        table.add_row(*run, "simulated", *(cell(entry["simulated"], "") for cell in columns.values()))
        table.add_row("", "", side, *(cell(entry[side], "") for cell in columns.values()))
        table.add_row("", "", "difference", *(cell(entry["difference"], "+") for cell in columns.values()))
        table.add_section()
    return table


def _side_columns(wide: bool) -> dict[str, Callable[[dict[str, Any], str], str]]:
    """Headings, and how each cell follows from a side's numbers and the sign flag of their format."""

    def latency(name: str) -> Callable[[dict[str, Any], str], str]:
        return lambda side, sign: _known(side["latency_ms"][name], f"{sign}.1f")

    columns: dict[str, Callable[[dict[str, Any], str], str]] = {
        "on-time\naccuracy": lambda side, sign: f"{side['on_time_accuracy']:{sign}.3f}",
        "on time": lambda side, sign: f"{side['on_time_rate']:{sign}.1%}",
        **{f"{name}\nms": latency(name) for name in (("mean", "p50", "p95") if wide else ("p95",))},
    }
    if wide:
        columns["dropped"] = lambda side, sign: f"{side['dropped']:{sign}d}"
        columns["late"] = lambda side, sign: f"{side['late']:{sign}d}"
        columns["exits"] = lambda side, sign: share_text([side["exit_share"]], 1, sign)
        columns["partitions"] = lambda side, sign: share_text([side["partition_share"]], 0, sign)
    return columns


def _error_table(document: dict[str, Any], wide: bool) -> Table:
    """One row for each run."""
    units = ("ms", "%") if wide else ("ms",)
    table = plain_table(
        f"latency of single tasks, {_side(document)} less simulated{': ms, and % of the deadline' if wide else ''}"
    )
    table.add_column("scheduler", overflow="fold", min_width=8)
    same = "same\ndecision"
    for heading in ("seed", *(("tasks", "fell\nback", same, "compared") if wide else (same,))):
        table.add_column(heading, justify="right", no_wrap=True)
    for unit in units:
        for heading in ("median", "p5", "p95", "mean abs."):
            table.add_column(f"{heading}\n{unit}", justify="right", no_wrap=True)
    for entry in document["results"]:
        error = entry["latency_error"]
        fallbacks = sum(count for note, count in entry["notes"].items() if note.startswith("fallback"))
        cells = [_known(entry["same_decision_share"], ".1%")]
        if wide:
            cells = [str(entry["tasks"]), str(fallbacks), *cells, str(error["tasks"])]
        cells += _error_cells(error["ms"], ".2f")
        cells += _error_cells(error["share_of_deadline"], ".1%") if wide else []
        table.add_row(entry["scheduler"], str(entry["seed"]), *cells)
    return table


def _error_cells(spread: dict[str, float | None], form: str) -> list[str]:
    """Median, p5 and p95 with their signs, and the mean absolute error."""
    signed = [_known(spread[name], "+" + form) for name in ("median", "p5", "p95")]
    return [*signed, _known(spread["mean_absolute"], form)]


def _known(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
