"""Any prices of devices, links and edges prove a bound, held against trying everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edge_scenarios import optimum, tiny

from hasten.offline import several_edges
from hasten.offline.bound import stages
from hasten.offline.bound.stages import NOT_YET, bound_at, make_market
from hasten.offline.several_edges import spread
from hasten.offline.time_limit import TimeLimit
from hasten.sim import Replayer


@pytest.mark.parametrize("order", ["grant", "ready"])
@pytest.mark.parametrize("seed", range(4))
def test_any_prices_prove_a_bound(tmp_path: Path, seed: int, order: str) -> None:
    scenario = tiny(tmp_path, seed, order)
    realization = scenario.realize(seed)
    best = optimum(scenario, realization)
    rng = np.random.default_rng(seed)
    for cell_ms in (0.3, 1.0, 4.0):
        market = make_market(scenario, realization, cell_ms)
        for scale in (0.0, 0.01, 0.05):
            blocks = -(-market.cells // several_edges.CELLS_PER_BLOCK)
            price = (
                scale * rng.random((len(market.capacity), blocks)) * (rng.random((len(market.capacity), blocks)) < 0.5)
            )
            assert bound_at(market, spread(price, market))[0] >= best - 1e-9


def test_without_prices_each_task_gains_what_it_would_alone(tmp_path: Path) -> None:
    scenario = tiny(tmp_path, 0, "grant")
    realization = scenario.realize(0)
    market = make_market(scenario, realization, 0.05)
    bound, _ = bound_at(market, np.zeros((len(market.capacity), market.cells)))
    alone = [Replayer(scenario, realization.part(slice(k, k + 1))) for k in range(realization.tasks)]
    count = scenario.options.count[realization.stream]
    most = [max(one.total_gain(np.array([j])) for j in range(n)) for one, n in zip(alone, count, strict=True)]
    assert bound == pytest.approx(sum(most), rel=1e-6)


def test_tasks_without_time_count_with_the_most_that_any_option_is_worth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "FIRST_TASKS", 1)
    scenario = tiny(tmp_path, 0, "grant")
    market = make_market(scenario, scenario.realize(0), 0.05)
    free = np.zeros((len(market.capacity), market.cells))
    whole, wanted = bound_at(market, free)
    bound, bought = bound_at(market, free, TimeLimit(0.0))
    assert bought.option.tolist() == [wanted.option[0], NOT_YET, NOT_YET, NOT_YET]
    most = market.worth.max(axis=1)[market.stream] - market.gain_terms.late_gain
    assert bound == pytest.approx(whole + (most - wanted.worth)[1:].sum())
    assert bound >= whole
