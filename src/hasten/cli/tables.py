"""Tables and progress for people at a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from hasten.core.progress import alone, terminal_bar
from hasten.core.result_table import edge_share_text, share_text

if TYPE_CHECKING:
    from hasten.offline import OfflinePlan
    from hasten.split.package import Package
    from hasten.split.verify import VerifyReport

ProgressCall = Callable[[str, float], None]
"""Told what is being done and the fraction done, 0 to 1."""

WIDE = 150
"""A result table with all its columns needs about so many characters."""
WIDEST = 400
"""Where output is not a terminal, no table is cut and no line folded before that."""
LONG_NAME = 20
"""Longer names of schedulers are folded; on narrow terminals more of them."""


def make_console(to_stderr: bool = False) -> Console:
    """A console; where output is not a terminal, as wide as the widest table."""
    console = Console(stderr=to_stderr)
    return console if console.is_terminal else Console(stderr=to_stderr, width=WIDEST)


@contextmanager
def progress_bar(console: Console) -> Iterator[ProgressCall]:
    """A progress bar on standard error where that is a terminal; else a line on ``console`` for each new step."""
    terminal = make_console(to_stderr=True)
    if not terminal.is_terminal:
        said: set[str] = set()

        def say(what: str, done: float) -> None:
            if what not in said:
                said.add(what)
                with suppress(OSError, SystemExit):  # results are not lost for want of a reader of this
                    console.print(f"{what} ...", highlight=False)

        yield say
        return
    with alone(), terminal_bar(terminal) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda what, done: bar.update(task, description=what, completed=done)


def result_table(document: dict[str, Any], title: str, width: int = WIDE) -> Table:
    """One row for each scheduler: means over seeds, with the spread where there are several.

    A terminal narrower than ``WIDE`` gets the columns that matter most.
    """
    measured = any("measured_on_time_accuracy" in entry for entry in document["results"])
    columns = _result_columns(measured, width >= WIDE)
    if width >= WIDE and any("edge_share" in entry for entry in document["results"]):
        columns["edges"] = _edges
    if any("simulated_on_time_accuracy" in entry for entry in document["results"]):
        predicted = {"on-time acc.\nsimulated": _simulated}
        columns = predicted | columns
    table = plain_table(title)
    schedulers = dict.fromkeys(entry["scheduler"] for entry in document["results"])
    longest = max((len(_short(scheduler)) for scheduler in schedulers), default=0)
    folded_from = min(max(longest, 8), LONG_NAME) if width >= WIDE else 8  # a narrow terminal needs it for the numbers
    table.add_column("scheduler", overflow="fold", min_width=folded_from)
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for scheduler in schedulers:
        entries = [entry for entry in document["results"] if entry["scheduler"] == scheduler]
        table.add_row(_short(scheduler), *(cell(entries) for cell in columns.values()))
    return table


def _short(scheduler: str) -> str:
    """A scheduler's name; of a policy's file the name without its folder."""
    kind, colon, file = scheduler.partition(":")
    return f"{kind}:{Path(file).name}" if colon and kind in ("policy", "dqn") else scheduler


Entries = Sequence[dict[str, Any]]


def _result_columns(measured: bool, wide: bool) -> dict[str, Callable[[Entries], str]]:
    """Headings, and how each cell follows from a scheduler's results."""

    def latency(quantile: str) -> Callable[[Entries], str]:
        return lambda entries: _number([entry["latency_ms"][quantile] for entry in entries], 1)

    def share(key: str, first: int) -> Callable[[Entries], str]:
        return lambda entries: share_text([entry[key] for entry in entries], first)

    def per_task(key: str, form: str, scale: float = 1.0) -> Callable[[Entries], str]:
        def cell(entries: Entries) -> str:
            tasks = sum(entry["tasks"] for entry in entries)
            return form.format(scale * sum(entry[key] for entry in entries) / tasks) if tasks else "-"

        return cell

    columns: dict[str, Callable[[Entries], str]] = {}
    if measured:
        columns["on-time acc.\nmeasured"] = lambda es: _spread([entry["measured_on_time_accuracy"] for entry in es])
    columns["on-time acc.\nprofiled" if measured else "on-time\naccuracy"] = lambda es: _spread(
        [entry["on_time_accuracy"] for entry in es]
    )
    columns["on time"] = lambda es: f"{_mean([entry['on_time_rate'] for entry in es]):.1%}"
    if wide:
        columns |= {"dropped": per_task("dropped", "{:.1%}"), "late": per_task("late", "{:.1%}")}
    columns |= {f"{q}\nms": latency(q) for q in (("p50", "p95", "p99") if wide else ("p95",))}
    columns["exits"] = share("exit_share", 1)
    if wide:
        columns["partitions"] = share("partition_share", 0)
        columns["KB sent\nper task"] = per_task("uplink_bytes", "{:.2f}", 1e-3)
    return columns


def _simulated(entries: Entries) -> str:
    return _spread([entry["simulated_on_time_accuracy"] for entry in entries])


def _edges(entries: Entries) -> str:
    return edge_share_text([entry.get("edge_share", {}) for entry in entries])


def failure_lines(failures: Sequence[dict[str, Any]]) -> list[str]:
    """One line for each run that gave no result: scheduler, seed, the side where there are two, and the reason."""
    return [
        f"failed: {failure['scheduler']}, seed {failure['seed']}"
        f"{', ' + failure['side'] if 'side' in failure else ''}: {failure['reason']}"
        for failure in failures
    ]


def offline_table(plans: Sequence[OfflinePlan], title: str) -> Table:
    """One row for each seed."""
    table = plain_table(title)
    for name in ("seed", "tasks", "gain", "upper bound", "gap", "optimal", "method", "seconds", "remark"):
        table.add_column(name, justify="left" if name in ("method", "remark") else "right")
    for plan in plans:
        table.add_row(
            str(plan.seed),
            str(plan.tasks),
            f"{plan.gain:.4f}",
            f"{plan.upper_bound:.4f}",
            f"{plan.gap:.2%}",
            "yes" if plan.optimal else "not proven",
            plan.method,
            f"{plan.seconds:.2f}",
            plan.reason,
        )
    return table


def package_tables(package: Package) -> list[Table]:
    """The exits and the partition points of a package."""
    from hasten.split.inspect import points_lost

    manifest, profile = package.manifest, package.profile
    exits = plain_table(f"{manifest.name}: exits")
    for name in ("exit", "name", "after block", "accuracy", "with codec", "device ms", "edge ms"):
        exits.add_column(name, justify="left" if name == "name" else "right")
    for number, (head, times) in enumerate(zip(manifest.exits, profile.exits, strict=True), start=1):
        before = profile.blocks[: times.after_block]
        exits.add_row(
            str(number),
            head.name,
            str(head.after_block),
            f"{head.accuracy:.3f}",
            f"{times.accuracy:.3f}",
            f"{sum(b.device_ms for b in before) + times.device_ms:.2f}",
            f"{sum(b.edge_ms for b in before) + times.edge_ms:.2f}",
        )
    cuts = plain_table("partition points")
    for name in ("partition", "after", "tensors", "raw bytes", "codec", "sent bytes", "encode ms", "points lost"):
        cuts.add_column(name, justify="left" if name in ("after", "tensors", "codec") else "right")
    for number, cut in enumerate(manifest.cuts):
        shapes = " ".join(f"{tensor.dtype}{list(tensor.shape)}" for tensor in cut.tensors)
        raw = sum(tensor.nbytes for tensor in cut.tensors)
        name = "input" if number == 0 else profile.blocks[number - 1].name
        lost = points_lost(manifest, number)
        cuts.add_row(
            str(number),
            name,
            shapes,
            str(raw),
            cut.codec,
            str(profile.payload_bytes(number)),
            f"{profile.encode_ms(number):.3f}",
            "" if lost is None else f"{lost:.1f}",
        )
    return [exits, cuts, _accuracy_table(package), *_stop_tables(package)]


def _stop_tables(package: Package) -> list[Table]:
    """Where tasks for the last exit stop that stay on the device, if tasks may stop early."""
    stops = package.manifest.confidence
    if stops is None:
        return []
    last = stops.outcomes[-1][-1]
    loss = f"{stops.max_accuracy_loss:g}"
    table = plain_table(
        f"early stops for a loss of at most {loss}: tasks for the last exit, accuracy {last.accuracy:.3f}"
    )
    for name in ("exit", "threshold", "stop here", "accuracy of these"):
        table.add_column(name, justify="right")
    for number, (threshold, share, accuracy) in enumerate(
        zip(stops.thresholds, last.shares, last.accuracies, strict=True), start=1
    ):
        shown = "-" if threshold is None else f"{threshold:.3f}"
        table.add_row(str(number), shown, f"{share:.1%}", f"{accuracy:.3f}" if share > 0 else "-")
    return [table]


def _accuracy_table(package: Package) -> Table:
    """Accuracy of every (exit, partition), codec included; what the codec costs more than 5 points is marked."""
    manifest = package.manifest
    table = plain_table("accuracy by partition, with the codec (! loses more than 0.05)")
    table.add_column("partition", justify="right")
    for number in range(1, len(manifest.exits) + 1):
        table.add_column(f"exit {number}", justify="right")
    for partition in range(len(manifest.cuts)):
        cells = []
        for exit_ in manifest.exits:
            here = exit_.accuracy_by_partition[partition] if partition <= exit_.after_block else None
            lost = here is not None and exit_.accuracy - here > 0.05
            cells.append("" if here is None else f"{here:.3f}{'!' if lost else ''}")
        table.add_row(str(partition), *cells)
    return table


def verify_table(report: VerifyReport) -> Table:
    """What the check of every (exit, partition) found."""
    table = plain_table(f"every (exit, partition) equals the whole network on {report.inputs} inputs")
    for name in ("exit", "partition", "largest error", "same answer with codec"):
        table.add_column(name, justify="right")
    for check in report.options:
        agreement = "-" if check.codec_agreement is None else f"{check.codec_agreement:.1%}"
        table.add_row(str(check.exit), str(check.partition), f"{check.max_error:.1e}", agreement)
    return table


def plain_table(title: str) -> Table:
    """A table in the style of all."""
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ±{np.std(values, ddof=1):.3f}"


def _number(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.{digits}f}" if known else "-"
