"""Every run of a study as CSV and Parquet: one row for each point, scheduler and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, parquet

from hasten.core.output import replacement
from hasten.study.training import Variant
from hasten.study.work import Plain

RUNS = pa.schema(
    [
        *((name, pa.string()) for name in ("sweep", "profile", "order", "source", "scheduler", "made_as")),
        *((name, pa.int64()) for name in ("streams", "seed", "tasks", "notes")),
        *(
            (name, pa.float64())
            for name in (
                "x",
                "rate_hz",
                "mbps",
                "deadline_ms",
                "edge_slowdown",
                "burst",
                "gain",
                "on_time_accuracy",
                "on_time_rate",
                "accuracy_when_on_time",
                "dropped_share",
                "late_share",
                "latency_mean_ms",
                "latency_p95_ms",
                "latency_p99_ms",
                "uplink_bytes_per_task",
                "upper_bound",
                "solved_in_s",
            )
        ),
        ("optimal", pa.bool_()),
    ]
)
LEARNING = pa.schema(
    [
        *((name, pa.string()) for name in ("variant", "init", "replay")),
        *((name, pa.int64()) for name in ("seed", "updates", "transitions")),
        *((name, pa.float64()) for name in ("seconds", "gain", "greedy", "planned", "share_of_plan")),
    ]
)


def write_tables(out: Path, rows: Sequence[Plain], ablation: Mapping[tuple[Variant, int], Plain]) -> None:
    """Write ``runs`` and, where there is one, ``ablation``, each as ``.csv`` and ``.parquet``."""
    if rows:
        _write(out / "runs", pa.Table.from_pylist(list(rows), schema=RUNS))
    if ablation:
        points = [
            {
                "variant": variant.label,
                "init": variant.init,
                "replay": variant.replay,
                "seed": seed,
                "share_of_plan": point["score"]["share"],
            }
            | {name: point[name] for name in ("updates", "transitions", "seconds")}
            | {name: point["score"][name] for name in ("gain", "greedy", "planned")}
            for (variant, seed), cell in ablation.items()
            for point in cell["curve"]
        ]
        _write(out / "ablation", pa.Table.from_pylist(points, schema=LEARNING))


def _write(path: Path, table: pa.Table) -> None:
    with replacement(path.with_suffix(".csv")) as file:
        csv.write_csv(table, file)
    with replacement(path.with_suffix(".parquet")) as file:
        parquet.write_table(table, file)
