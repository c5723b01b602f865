"""From per-task logs to a :class:`~hasten.core.results.Result`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.gain import Gain, task_gain
from hasten.core.options import DROP, OptionTable, StreamCosts, of_several_edges, option_table
from hasten.core.profile import Profile
from hasten.core.results import Result, edge_share
from hasten.runtime.device.tasks import Reason

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class StreamLog:
    """One stream's tasks: its profile, deadline, arrivals (n,) and the record of each."""

    profile: Profile
    deadline_ms: float
    arrival_ms: FloatArray
    records: Sequence[dict[str, Any]]
    slowdown: float = 1.0


def collect(
    scheduler: str, seed: int, streams: Sequence[StreamLog], gain: Gain, edges: Sequence[str] = ("edge",)
) -> Result:
    """Merge the streams' logs in order of arrival (ties: stream order); ``edges`` are the names of the devices' edges.

    Accuracy and gain are those of the (exit, partition) that answered; energy is that of the option as decided, or of
    where the task stopped early.
    """
    stream = np.repeat(np.arange(len(streams)), [len(log.records) for log in streams])
    arrival_ms = np.concatenate([log.arrival_ms for log in streams])
    order = np.lexsort((stream, arrival_ms))
    records = [record for log in streams for record in log.records]
    records = [records[i] for i in order]
    stream, arrival_ms = stream[order], arrival_ms[order]
    deadline_ms = np.array([log.deadline_ms for log in streams])[stream]
    table = option_table([StreamCosts(log.profile, log.slowdown) for log in streams])
    if len(edges) > 1:  # of which nothing but the columns' order matters: what a device spends is the same at each
        table = of_several_edges([table] * len(edges))
    latency_ms = np.array([np.inf if r["latency_ms"] is None else r["latency_ms"] for r in records], dtype=float)
    answered = np.array([r["answered_exit"] for r in records], dtype=np.int64)
    accuracy = np.array(
        [
            streams[m].profile.answered_accuracy(
                (r["exit"], r["partition"]), (r["answered_exit"], r["answered_partition"])
            )
            for m, r in zip(stream.tolist(), records, strict=True)
        ],
        dtype=np.float64,
    )
    energy_mj = _energy(table, stream, records)
    worth = accuracy - (gain.energy_weight_per_mj * energy_mj if gain.energy_weight_per_mj > 0 else 0.0)
    quality = [_quality(record) for record in records]
    return Result(
        scheduler=scheduler,
        seed=seed,
        arrival_ms=arrival_ms,
        stream=stream,
        decisions=np.array([(r["exit"], r["partition"]) for r in records], dtype=np.int64).reshape(-1, 2),
        finish_ms=arrival_ms + latency_ms,
        deadline_ms=deadline_ms,
        accuracy=accuracy,
        gain=np.asarray(task_gain(worth, latency_ms, deadline_ms, *gain.terms())),
        uplink_bytes=float(sum(r["bytes"] for r in records)),
        decision_us=np.array([r["decision_us"] for r in records], dtype=float),
        energy_mj=None if np.all(np.isnan(energy_mj)) else energy_mj,
        correct=np.array(quality, dtype=np.float64) if quality and None not in quality else None,
        answered_exit=answered,
        **_edges(edges, [streams[m].profile for m in stream.tolist()], records),
        promised=np.array([r.get("promised") for r in records], dtype=float),
        notes=_notes(records),
    )


def read_log(path: Path) -> list[dict[str, Any]]:
    """A stream's records in order of arrival."""
    with path.open(encoding="utf-8") as file:
        return sorted((json.loads(line) for line in file), key=lambda record: int(record["task"]))


def _edges(names: Sequence[str], profiles: Sequence[Profile], records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Where each task was to be sent, and the share that each edge got; nothing where there is but one."""
    if len(names) == 1:
        return {}
    sent = np.array(
        [
            r["exit"] > 0 and r["partition"] < profile.exits[r["exit"] - 1].after_block
            for r, profile in zip(records, profiles, strict=True)
        ],
        dtype=bool,
    )
    edge = np.where(sent, np.array([r["edge"] for r in records], dtype=np.int64), 0)
    return {"edge": edge, "edge_share": edge_share(names, edge, sent)}


def _quality(record: dict[str, Any]) -> float | None:
    """How good an answer was, 0 without one; None where nobody can tell."""
    if record["label"] is not None:
        return float(bool(record["correct"]))
    score = record.get("score")
    return None if score is None else float(score)


def _energy(table: OptionTable, stream: NDArray[np.int64], records: Sequence[dict[str, Any]]) -> FloatArray:
    option = np.array([r["option"] if r["exit"] else DROP for r in records], dtype=np.int64)
    chosen = np.maximum(option, 0)
    spent_mj = table.energy_mj[stream, chosen]
    if table.stops is not None:
        answered = np.array([r["answered_exit"] for r in records], dtype=np.int64)
        stopped = np.array([0 < r["answered_exit"] < r["exit"] and not r["fallback"] for r in records], dtype=bool)
        spent_mj = np.where(stopped, table.stops.energy_mj[stream, chosen, np.maximum(answered - 1, 0)], spent_mj)
    energy_mj: FloatArray = np.where(option == DROP, 0.0, spent_mj)
    return np.where(np.isnan(table.energy_mj[stream, 0]), np.nan, energy_mj)


def _notes(records: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How often tasks ended otherwise than answered as planned, or the scheduler had something to tell."""
    reasons = Counter(r["reason"] for r in records if r["reason"] != Reason.ANSWERED.value)
    fallbacks = Counter(f"fallback_{r['fallback']}" for r in records if r["fallback"])
    told = Counter(r["note"] for r in records if r["note"])
    return dict(sorted((reasons + fallbacks + told).items()))
