"""The guard: normal fluctuation is inside, another world is out_of_range, and one decision is judged like many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_policies import WIDE, cameras

from hasten.core.decision import View
from hasten.policies.guard import LEAVE_AFTER, MOST_SCORE, REASONS, Guard, observed_range

SCENARIO = cameras(3)
TABLE = SCENARIO.options.undominated()[0]


def guard_of(training_range, rows=1, **context):
    told = replace(SCENARIO.context(np.zeros(rows, np.int64)), **context)
    return Guard(training_range, told, TABLE)


def view_at(now_ms, mbps=10.0, wait_ms=0.0, stream=0, row=None):
    rows = np.atleast_1d(np.asarray(now_ms, dtype=np.float64))
    full = np.ones(len(rows))
    return View(
        row=np.arange(len(rows)) if row is None else row,
        now_ms=rows,
        stream=np.full(len(rows), stream),
        device_wait_ms=full * 0,
        uplink_wait_ms=full * wait_ms,
        edge_wait_ms=np.zeros((len(rows), 1)),
        rate_bits_per_ms=full * mbps * 1000.0,
        others_wait_ms=np.zeros((len(rows), 3)),
    )


@pytest.mark.parametrize("arrivals", [{"kind": "poisson", "rate_hz": 15}, {"kind": "periodic", "rate_hz": 15}])
def test_what_it_was_trained_on_is_inside(arrivals):
    stream = {"name": "cam", "count": 3, "profile": "alexnet-pi", "deadline_ms": 80.0, "arrivals": arrivals}
    rate = {"kind": "gauss_markov", "mean_mbps": 10, "sigma_mbps": 3}
    scenario = cameras(streams=[stream], uplink={"rate": rate}, tasks=500)
    training_range = observed_range(scenario, [scenario.realize(seed) for seed in range(4)])
    guard = Guard(training_range, scenario.context(np.zeros(1, np.int64)), TABLE)
    run = scenario.realize(99)
    out_of_range = [
        guard.out_of_range_single(view_at(t, run.rates[0].at(t) / 1000.0, stream=m))
        for t, m in zip(run.arrival_ms.tolist(), run.stream.tolist(), strict=True)
    ]
    assert np.mean(out_of_range) < 0.01


def test_poisson_fluctuation_around_a_single_trained_rate_is_inside():
    training_range = WIDE.model_copy(update={"rate_hz": (15.0, 15.0)})
    guard = guard_of(training_range, 200, rate_hz=np.full(3, 15.0))
    rng = np.random.default_rng(5)
    now_ms = np.zeros(200)
    out_of_range = []
    for _ in range(500):
        now_ms = now_ms + rng.exponential(1000 / 15, 200)
        out_of_range.append(guard.out_of_range(view_at(now_ms)).mean())
    assert np.mean(out_of_range) < 0.01


@pytest.mark.parametrize(("factor", "kind"), [(3.0, "out_of_range_load"), (1 / 3.0, "out_of_range_load")])
def test_another_load_is_noticed_within_a_few_seconds(factor, kind):
    guard = guard_of(WIDE.model_copy(update={"rate_hz": (10.0, 20.0)}), rate_hz=np.full(3, 15.0))
    gap_ms = 1000 / (15 * factor)
    out_of_range = [guard.out_of_range_single(view_at(i * gap_ms)) for i in range(100)]
    assert not out_of_range[0] and all(out_of_range[-40:])
    assert guard.counts[REASONS.index(kind), 0] == sum(out_of_range)


def test_a_link_that_stalls_for_a_moment_is_inside_and_one_that_stays_slow_is_not():
    guard = guard_of(WIDE.model_copy(update={"rate_mbps": (5.0, 40.0)}))
    mbps = [10] * 5 + [1] * (LEAVE_AFTER - 1) + [10] * 5 + [1] * 20 + [10] * 2 * MOST_SCORE
    out_of_range = [guard.out_of_range_single(view_at(60.0 * i, rate)) for i, rate in enumerate(mbps)]
    assert not any(out_of_range[: 12 + LEAVE_AFTER])
    first = out_of_range.index(True)
    assert mbps[first] == 1 and all(out_of_range[first:33])
    assert out_of_range[33] and not out_of_range[-1]
    assert guard.counts[REASONS.index("out_of_range_rate"), 0] == sum(out_of_range)


def test_backlogs_beyond_what_observations_can_tell_are_out_of_range():
    guard = guard_of(WIDE)
    out_of_range = [guard.out_of_range_single(view_at(60.0 * i, wait_ms=161.0)) for i in range(10)]
    assert out_of_range[-1] and guard.counts[REASONS.index("out_of_range_backlog"), 0] == sum(out_of_range)


@pytest.mark.parametrize(
    ("change", "context", "kind"),
    [
        ({"deadline_ms": (200.0, 300.0)}, {}, "out_of_range_deadline"),
        ({"streams": (1, 2)}, {}, "out_of_range_streams"),
        ({"device_ms": (0.0, 10.0)}, {}, "out_of_range_speed"),
        ({"edge_ms": (1000.0, 2000.0)}, {}, "out_of_range_speed"),
    ],
)
def test_a_run_out_of_range_from_the_start_never_uses_the_policy(change, context, kind):
    guard = guard_of(WIDE.model_copy(update=change), **context)
    assert all(guard.out_of_range_single(view_at(60.0 * i)) for i in range(5))
    assert guard.counts[REASONS.index(kind), 0] == 5


def test_options_that_the_policy_does_not_know_are_out_of_range_if_they_matter():
    told = SCENARIO.context(np.zeros(1, np.int64))
    first = [list(range(1))] * 3
    few, _ = TABLE.columns(first)
    guard = Guard(WIDE, told, few)
    assert guard.out_of_range_single(view_at(0.0)) and guard.counts[REASONS.index("out_of_range_options"), 0] == 1
    nearly = replace(TABLE, device_ms=TABLE.device_ms * 1.04, edge_ms=TABLE.edge_ms * 0.97)
    assert not Guard(WIDE, told, nearly).out_of_range_single(view_at(0.0))


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_one_decision_is_judged_like_many(seed):
    rng = np.random.default_rng(seed)
    training_range = WIDE.model_copy(update={"rate_mbps": (5.0, 20.0), "rate_hz": (8.0, 25.0)})
    many, singles = guard_of(training_range, 3), [guard_of(training_range) for _ in range(3)]
    now_ms, scale = np.zeros(3), 10 ** rng.uniform(-0.5, 0.5, (80, 3))
    for i in range(80):
        now_ms = now_ms + rng.exponential(1000 / 15 * scale[i // 20 * 20])
        mbps, wait_ms, stream = 10 * scale[i // 10 * 10, 0], 200.0 * (rng.random() < 0.2), int(rng.integers(3))
        found = many.out_of_range(view_at(now_ms, mbps, wait_ms, stream))
        for b, single in enumerate(singles):
            view = view_at(now_ms[b], mbps, wait_ms, stream, row=np.zeros(1, np.int64))
            assert single.out_of_range_single(view) == found[b]
    assert np.array_equal(many.counts, np.concatenate([single.counts for single in singles], axis=1))


def test_the_observed_envelope_a_scenario_is_what_it_holds():
    scenario = cameras(3, uplink={"rate": {"kind": "gauss_markov", "mean_mbps": 10, "sigma_mbps": 4}})
    training_range = observed_range(scenario, [scenario.realize(0)])
    assert 0 < training_range.rate_mbps[0] < 8 and training_range.rate_mbps[1] > 12
    assert 8 < training_range.rate_hz[0] < 15 < training_range.rate_hz[1] < 30
    assert training_range.deadline_ms == (80.0, 80.0) and training_range.streams == (3, 3)
    assert training_range.device_ms[0] == training_range.device_ms[1] == TABLE.device_ms.max()
    other = observed_range(cameras(8), [cameras(8).realize(0)])
    assert training_range.joined(other).streams == (3, 8)
