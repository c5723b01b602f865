"""Results as tables: the columns of a run's tasks, and a summary in one flat row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import HastenError

if TYPE_CHECKING:
    from hasten.core.results import Result

OUTCOMES = ("on_time", "late", "dropped")
OPTIONAL = ("correct", "answered_exit", "promised", "energy_mj")
"""Columns that only some results have."""


def task_columns(result: Result) -> dict[str, NDArray[Any]]:
    """Column by column (N,) what happened to each task, in order of arrival; NaN ms where there was no answer."""
    outcome = np.array(OUTCOMES)[np.where(result.on_time, 0, np.where(result.dropped, 2, 1))]
    columns: dict[str, NDArray[Any]] = {
        "scheduler": np.full(result.tasks, result.scheduler),
        "seed": np.full(result.tasks, result.seed),
        "stream": result.stream,
        "arrival_ms": result.arrival_ms,
        "exit": result.decisions[:, 0],
        "partition": result.decisions[:, 1],
        "latency_ms": np.where(np.isfinite(result.latency_ms), result.latency_ms, np.nan),
        "deadline_ms": result.deadline_ms,
        "outcome": outcome,
        "on_time": result.on_time,
        "accuracy": result.accuracy,
        "gain": result.gain,
    }
    if result.edge is not None and result.edge_share:
        columns["edge"] = result.edge
    return columns | {name: column for name in OPTIONAL if (column := getattr(result, name)) is not None}


def flat_summary(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary without nesting: ``latency_ms.p50``, ``exit_share.2`` and so on."""
    flat: dict[str, Any] = {}
    for name, value in summary.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value
    return flat


def pandas_for(what: str) -> Any:
    """The module pandas; :class:`HastenError` says how to install it."""
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise HastenError(f"{what} needs {error.name}: pip install 'hasten[notebook]'") from error
    return pandas


def share_text(shares: Sequence[Mapping[str, float]], first: int, sign: str = "") -> str:
    """Shares of exits or partitions from ``first``, means over runs: ``2:31% 4:69%``; tiny ones left out."""
    numbers = sorted({int(number) for one in shares for number in one if int(number) >= first})
    means = {number: float(np.mean([one.get(str(number), 0.0) for one in shares])) for number in numbers}
    return " ".join(f"{number}:{share:{sign}.0%}" for number, share in means.items() if abs(share) >= 0.005)


def edge_share_text(shares: Sequence[Mapping[str, float]], sign: str = "") -> str:
    """Shares of tasks sent to each of several edges, means over runs: ``west:43% east:40%``."""
    names = dict.fromkeys(name for one in shares for name in one)
    return " ".join(f"{name}:{np.mean([one.get(name, 0.0) for one in shares]):{sign}.0%}" for name in names)
