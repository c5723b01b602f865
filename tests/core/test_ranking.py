"""Ranked choice against its definition, one decision at a time."""

from __future__ import annotations

import numpy as np
import pytest

from hasten.core.decision import View, predicted_latency, useful_limit_ms
from hasten.core.options import DROP
from hasten.core.ranking import LoadWindow, RankedScheduler, Ranking, load_share, rank_bonus_ms, rule_of
from hasten.core.scenario import scenario_from


@pytest.fixture(scope="module")
def context():
    stream = {"profile": "alexnet-pi", "arrivals": {"kind": "poisson", "rate_hz": 10}}
    scenario = scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [stream | {"name": f"s{i}", "deadline_ms": 60.0 + 40 * i} for i in range(2)],
            "uplink": {"rate": {"kind": "constant", "mbps": 10}},
            "tasks_per_stream": 1,
        }
    )
    return scenario.context(np.zeros(1, np.int64))


def views(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        waits = rng.uniform(0, 60, (3, 1))
        yield View(
            np.zeros(1, np.int64), np.array([100.0]), rng.integers(2, size=1), waits[0], waits[1], waits[2][:, None],
            np.array([10 ** rng.uniform(3.5, 4.5)]), np.zeros((1, 1)),
        )  # fmt: skip


def random_ranking(context, rng, window=None):
    shape = context.options.exit.shape
    late_ms = np.where(rng.random(shape) < 0.5, -np.inf, rng.uniform(-500, 0, shape))
    return Ranking(context, rng.uniform(0, 300, shape), late_ms, window=window)


@pytest.mark.parametrize("windowed", [False, True])
def test_the_best_bonus_less_latency_wins_the_first_of_equals(context, windowed):
    rng = np.random.default_rng(1)
    low = rng.uniform(0, 1, context.options.exit.shape)
    window = LoadWindow(low, low + 0.5) if windowed else None
    ranking, limit_ms, chosen = random_ranking(context, rng, window), useful_limit_ms(context), []
    for view in views(200):
        (m,) = view.stream
        latency_ms = predicted_latency(context, view, context.options)[0]
        load = float(load_share(*view.waits, context.deadline_ms[m])[0])
        best, best_key = DROP, -np.inf
        for j in range(int(context.options.count[m])):
            if windowed and not low[m, j] <= load < low[m, j] + 0.5:
                continue
            bonus = ranking.useful_ms[m, j] if latency_ms[j] <= limit_ms[m] else ranking.late_ms[m, j]
            if bonus - latency_ms[j] > best_key:
                best, best_key = j, bonus - latency_ms[j]
        chosen.append(best)
        assert ranking.decide(view).option.tolist() == [best]
    assert len(set(chosen)) > 1 and (DROP in chosen) == windowed


def test_a_higher_rank_always_wins(context):
    rank = np.tile(np.arange(context.options.exit.shape[1]), (2, 1))
    bonus_ms = rank_bonus_ms(context, rank)
    assert np.diff(bonus_ms, axis=1).min() > 2 * useful_limit_ms(context).max()


def test_a_scheduler_with_a_decide_of_its_own_is_more_than_its_rule(context):
    class Plain(RankedScheduler):
        name = "plain"

    class Own(RankedScheduler):
        name = "own"

        def decide(self, view):
            return self.choice.decide(view)

    rule = random_ranking(context, np.random.default_rng(0))
    for scheduler, expected in ((Plain(), rule), (Own(), None)):
        scheduler.choice = rule
        assert rule_of(scheduler) is expected
    assert rule_of(object()) is None
