"""The label-setting search against OR-Tools CP-SAT, an independent model of the same problem, on larger instances."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from random_instances import Case, random_case

from hasten.core.gain import PLAIN_ACCURACY
from hasten.core.options import OptionTable, StreamCosts, option_table
from hasten.core.profile import Profile
from hasten.core.rates import rate_trace
from hasten.offline.exact.search import exact_search

BITS_PER_MS = 8.0


def whole_profile(rng: np.random.Generator) -> Profile:
    """Three blocks, three exits, everything in whole milliseconds and whole bytes."""
    return Profile.model_validate(
        {
            "schema": "hasten.profile/1",
            "name": "whole",
            "source": "made up",
            "input_bytes": int(rng.integers(10, 40)),
            "blocks": [
                {
                    "name": f"b{i}",
                    "device_ms": int(rng.integers(3, 25)),
                    "edge_ms": int(rng.integers(1, 8)),
                    "output_bytes": int(rng.integers(3, 30)),
                }
                for i in range(3)
            ],
            "exits": [
                {"name": f"e{i}", "after_block": i + 1, "accuracy": a, "device_ms": 1, "edge_ms": 1}
                for i, a in enumerate([0.5, 0.7, 0.8])
            ],
        }
    )


def whole_case(seed: int) -> tuple[Case, list[np.ndarray]]:
    """One to three streams, shared or dedicated, a constant link or one that stalls."""
    rng = np.random.default_rng([7, seed])
    stalls = seed % 6 == 0
    tasks, shared = int(rng.integers(4, 6) if stalls else rng.integers(8, 13)), bool(rng.integers(2))
    base = random_case(rng, 1, 1, 1)
    streams = base.table.streams
    table: OptionTable = option_table([StreamCosts(whole_profile(rng)) for _ in range(streams)])
    arrival_ms = np.cumsum(rng.integers(0, 40 // streams, tasks)).astype(float)
    stream = rng.integers(0, streams, tasks)
    order = np.lexsort((stream, arrival_ms))
    links = 1 if shared else streams
    horizon = int(arrival_ms[-1]) + 250

    def steps_up() -> np.ndarray:
        return np.repeat(rng.random(horizon // 10 + 1) < 0.6, 10) if stalls else np.ones(horizon, bool)

    up = [steps_up() for _ in range(links)]
    for steps in up:
        steps[-100:] = True
    traces = tuple(rate_trace(np.arange(len(steps), dtype=float), steps * BITS_PER_MS, math.inf) for steps in up)
    case = dataclasses.replace(
        base,
        table=table,
        deadline_ms=rng.choice([50.0, 80.0, 100.0], size=streams),
        gain_terms=PLAIN_ACCURACY,
        rtt_ms=0.0,
        workers=1,
        shared=shared,
        arrival_ms=arrival_ms[order],
        stream=stream[order],
        traces=traces,
    )
    return case, up


@pytest.mark.parametrize("seed", range(12))
def test_exact_search_equals_cp_sat(seed: int) -> None:
    from cp_sat_peer import solve_with_cp_sat  # its solver takes long to import

    case, up = whole_case(seed)
    peer = solve_with_cp_sat(
        case.table, case.deadline_ms, case.arrival_ms, case.stream, up, BITS_PER_MS, time_limit_s=20, workers=1
    )
    search = exact_search(case.instance())
    assert search.complete
    assert search.gain <= peer.bound + 1e-6
    if peer.proven:
        assert search.gain == pytest.approx(peer.gain, abs=1e-6)
