"""The offline problem as an OR-Tools CP-SAT model, written down independently of hasten's own solver.

Whole milliseconds, one edge worker, gain = accuracy when on time. Every start is only bounded from below ("at least
as late as ..."), as delaying never helps: that is a third to a half faster than equalities with a maximum.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model

from hasten.core.options import OptionTable

GAIN_UNITS = 1_000_000


@dataclass(frozen=True)
class PeerAnswer:
    """What CP-SAT found: sums of gains over all tasks."""

    gain: float
    bound: float
    proven: bool
    seconds: float


def solve_with_cp_sat(
    table: OptionTable,
    deadline_ms: np.ndarray,
    arrival_ms: np.ndarray,
    stream: np.ndarray,
    link_up: list[np.ndarray],
    bits_per_ms: float,
    time_limit_s: float,
    workers: int = 2,
) -> PeerAnswer:
    """Maximise the sum of accuracies of on-time tasks.

    ``link_up`` has one boolean array per link (one: shared): whether the link carries ``bits_per_ms`` in each whole
    millisecond; it must reach beyond the last deadline. All times and all transfer times must be whole milliseconds.
    """
    model = cp_model.CpModel()
    horizon = len(link_up[0])
    ends = [_end_tables(up) for up in link_up]
    device_free, uplink_free, edge_free = [0] * table.streams, [0] * len(link_up), 0
    worth = []
    for k, now in enumerate(int(a) for a in arrival_ms):
        m = int(stream[k])
        link = 0 if len(link_up) == 1 else m
        chosen = [model.new_bool_var(f"x{k},{j}") for j in range(table.count[m])]
        run, sends = model.new_bool_var(f"run{k}"), model.new_bool_var(f"sends{k}")
        model.add(sum(chosen) == run)
        model.add(sum(c for j, c in enumerate(chosen) if table.payload_bits[m, j] > 0) == sends)
        worth += [round(float(table.accuracy[m, j]) * GAIN_UNITS) * c for j, c in enumerate(chosen)]

        def later(name: str, *lower: object, k: int = k) -> cp_model.IntVar:
            variable = model.new_int_var(0, horizon - 1, f"{name}{k}")
            for bound in lower:
                model.add(variable >= bound)
            return variable

        start = later("start", now, device_free[m])
        computed = later("computed")
        model.add(computed == start + sum(round(float(table.device_ms[m, j])) * c for j, c in enumerate(chosen)))
        device_free[m] = later("device", device_free[m])
        model.add(device_free[m] >= computed).only_enforce_if(run)
        model.add(computed <= now + round(float(deadline_ms[m]))).only_enforce_if(run)

        sending = later("sending", computed, uplink_free[link])
        sent = later("sent")
        for j, c in enumerate(chosen):
            if table.payload_bits[m, j] > 0:
                units = round(float(table.payload_bits[m, j]) / bits_per_ms)
                if link_up[link].all():
                    model.add(sent == sending + units).only_enforce_if(c)
                else:
                    end = later(f"end{j},")
                    model.add_element(sending, ends[link](units), end)
                    model.add(sent == end).only_enforce_if(c)
        uplink_free[link] = later("uplink", uplink_free[link])
        model.add(uplink_free[link] >= sent).only_enforce_if(sends)

        edge_start = later("edge_start", sent, edge_free)
        answered = later("answered")
        model.add(answered == edge_start + sum(round(float(table.edge_ms[m, j])) * c for j, c in enumerate(chosen)))
        edge_free = later("edge", edge_free)
        model.add(edge_free >= answered).only_enforce_if(sends)
        model.add(answered <= now + round(float(deadline_ms[m]))).only_enforce_if(sends)
    model.maximize(sum(worth))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = time_limit_s
    solver.parameters.num_workers = workers
    began = time.perf_counter()
    status = solver.solve(model)
    seconds = time.perf_counter() - began
    gain = solver.objective_value / GAIN_UNITS if status in (cp_model.OPTIMAL, cp_model.FEASIBLE) else 0.0
    return PeerAnswer(gain, solver.best_objective_bound / GAIN_UNITS, status == cp_model.OPTIMAL, seconds)


def _end_tables(up: np.ndarray):
    """A function from transfer units to the end of the transfer for every whole start; ends are cut at the horizon."""
    sent = np.concatenate([[0], np.cumsum(up.astype(int))])
    known: dict[int, list[int]] = {}

    def ends(units: int) -> list[int]:
        if units not in known:
            first = np.searchsorted(sent, sent[:-1] + units, side="left")
            known[units] = [int(min(end, len(up) - 1)) for end in first]
        return known[units]

    return ends
