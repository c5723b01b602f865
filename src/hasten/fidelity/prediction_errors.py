"""How well a simulated run predicts a real one: the same tasks under the same scheduler, side by side and one by one.

Differences and errors are real less simulated. Sums over a run hold everything that differs: times, and decisions
that came out otherwise because the real devices saw something else. Errors of latency are of tasks decided alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import HastenError
from hasten.core.results import Result

NUMBERS = ("on_time_accuracy", "on_time_rate", "dropped", "late")
LATENCIES = ("mean", "p50", "p95")
SHARES = ("exit_share", "partition_share")


def conformance(simulated: Result, real: Result, side: str = "real") -> dict[str, Any]:
    """One entry of the ``results`` of ``hasten.fidelity.conform/1``, in which the run is called ``side``.

    Raises:
        HastenError: the two are not of the same tasks.
    """
    _require_same_tasks(simulated, real)
    same = same_decisions(simulated, real)
    sides = _compared(simulated), _compared(real)
    return {
        "scheduler": real.scheduler,
        "seed": real.seed,
        "tasks": real.tasks,
        "simulated": sides[0],
        side: sides[1],
        "difference": _difference(*sides),
        "same_decision_share": float(same.mean()) if len(same) else None,
        "latency_error": _latency_error(simulated, real, same),
        "notes": dict(real.notes),
    }


def same_decisions(simulated: Result, real: Result) -> NDArray[np.bool_]:
    """(N,): whether both decided a task for the same exit, partition and, of several edges, edge."""
    same: NDArray[np.bool_] = np.all(simulated.decisions == real.decisions, axis=1)
    if simulated.edge is not None and real.edge is not None:
        same &= simulated.edge == real.edge
    return same


def _require_same_tasks(simulated: Result, real: Result) -> None:
    """Both are in order of arrival, so that tasks of the same stream and number stand at the same place."""
    if not (np.array_equal(simulated.stream, real.stream) and np.array_equal(simulated.arrival_ms, real.arrival_ms)):
        raise HastenError(f"{real.scheduler}, seed {real.seed}: simulated and real tasks are not the same")


def _compared(result: Result) -> dict[str, Any]:
    """What of a run's summary is compared."""
    summary = result.summary()
    latency_ms = {name: summary["latency_ms"][name] for name in LATENCIES}
    edges = {key: summary[key] for key in ("edge_share",) if key in summary}
    return {key: summary[key] for key in (*NUMBERS, *SHARES)} | edges | {"latency_ms": latency_ms}


def _difference(simulated: dict[str, Any], real: dict[str, Any]) -> dict[str, Any]:
    """Key by key; a share that one side lacks is 0, a latency that one side lacks has no difference (None)."""
    found: dict[str, Any] = {key: real[key] - simulated[key] for key in NUMBERS}
    for key in SHARES:
        numbers = sorted(simulated[key] | real[key], key=int)
        found[key] = {number: real[key].get(number, 0.0) - simulated[key].get(number, 0.0) for number in numbers}
    if "edge_share" in real:
        before = simulated["edge_share"]
        found["edge_share"] = {name: share - before[name] for name, share in real["edge_share"].items()}
    pairs = {name: (simulated["latency_ms"][name], real["latency_ms"][name]) for name in LATENCIES}
    found["latency_ms"] = {name: None if None in pair else pair[1] - pair[0] for name, pair in pairs.items()}
    return found


def _latency_error(simulated: Result, real: Result, same: NDArray[np.bool_]) -> dict[str, Any]:
    """Over the tasks decided alike, ``same`` (N,), that were answered in both, and by the same exit."""
    exits = answered_exit(real)
    both = same & (exits > 0) & (answered_exit(simulated) == exits)
    error_ms = real.latency_ms[both] - simulated.latency_ms[both]
    return {
        "tasks": int(both.sum()),
        "ms": _spread(error_ms),
        "share_of_deadline": _spread(error_ms / real.deadline_ms[both]),
    }


def answered_exit(result: Result) -> NDArray[np.int64]:
    """(N,): the exit that answered each task, 0 without an answer."""
    exits = result.decisions[:, 0] if result.answered_exit is None else result.answered_exit
    return np.where(np.isfinite(result.finish_ms), exits, 0)


def _spread(errors: NDArray[np.float64]) -> dict[str, float | None]:
    if not len(errors):
        return dict.fromkeys(("median", "p5", "p95", "mean_absolute"))
    p5, median, p95 = np.percentile(errors, [5, 50, 95]).tolist()
    return {"median": median, "p5": p5, "p95": p95, "mean_absolute": float(np.abs(errors).mean())}
