"""LinUCB on cuts: its regression written out slowly, and that it finds the best cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hasten.api import simulate, simulate_batch
from hasten.core.decision import Observer, Outcomes, Scheduler, View
from hasten.core.scenario import Scenario, scenario_from
from hasten.schedulers import make_scheduler
from hasten.schedulers.linucb import LinUcb


def scenario(mbps: float = 10, tasks: int = 400, **changes: Any) -> Scenario:
    base: dict[str, Any] = {
        "schema": "hasten.scenario/1",
        "streams": [
            {"name": "cam", "profile": "alexnet-pi", "deadline_ms": 400, "arrivals": {"kind": "poisson", "rate_hz": 1}}
        ],
        "uplink": {"rate": {"kind": "constant", "mbps": mbps}},
        "edge": {"slowdown": 4},
        "tasks_per_stream": tasks,
    }
    return scenario_from(base | changes)


@pytest.mark.parametrize("mbps", [2, 10, 30])
def test_settles_near_the_cut_that_knowing_rate_and_edge_would_choose(mbps: float) -> None:
    s = scenario(mbps)
    known = simulate(s, make_scheduler("neurosurgeon"), 1)
    learned = simulate(s, make_scheduler("linucb"), 1)
    best = known.decisions[0]
    late = learned.decisions[-200:]
    # Every fourth task of the first phase, every fifth of the next may not stay on the device.
    assert (late == best).all(axis=1).mean() > 0.65
    assert np.median(learned.latency_ms[-200:]) == pytest.approx(np.median(known.latency_ms), abs=2.0)


def test_learns_only_from_what_the_device_can_see() -> None:
    # The same run with a wrong rate estimate and other edge facts in the context: nothing changes.
    s = scenario(tasks=100)
    blind = scenario(tasks=100, view={"rate_error": 1.0})
    first, again = (simulate(x, make_scheduler("linucb"), 3) for x in (s, blind))
    assert np.array_equal(first.decisions, again.decisions)


def outcomes(option: list[int], delay_ms: list[float]) -> Outcomes:
    n = len(option)
    done_ms = np.full(n, 30.0)
    done_ms[~np.isfinite(delay_ms)] = np.nan
    zeros = np.zeros(n, dtype=np.int64)
    return Outcomes(
        zeros, zeros, np.array(option), done_ms, np.where(np.isfinite(delay_ms), 30.0 + np.array(delay_ms), np.inf)
    )


def test_estimate_is_ridge_regression_of_the_delay_behind_the_cut() -> None:
    s = scenario()
    scheduler = LinUcb()
    scheduler.reset(s.context(np.arange(1)))
    o = s.options
    final = [int(j) for j in np.flatnonzero(o.exit[0] == 3)]
    sends = [j for j in final if o.payload_bits[0, j] > 0]
    whole_ms = next(o.device_ms[0, j] for j in final if o.payload_bits[0, j] == 0)
    x = np.array([[o.payload_bits[0, j], whole_ms - o.device_ms[0, j], 5 - o.partition[0, j]] for j in sends])
    x /= x.max(axis=0)
    rng = np.random.default_rng(0)
    picked = rng.integers(0, len(sends), 12)
    delay_ms = rng.uniform(20, 300, 12)
    delay_ms[[2, 7]] = np.inf
    half = 6
    for part in (slice(0, half), slice(half, None)):
        scheduler.observe(outcomes([sends[i] for i in picked[part]], list(delay_ms[part])))
    missed_ms = 2 * 400.0 - o.device_ms[0, [sends[i] for i in picked]]
    counted = np.where(np.isfinite(delay_ms), delay_ms, missed_ms) / 400.0
    precision = np.eye(3) + x[picked].T @ x[picked]
    theta = np.linalg.solve(precision, x[picked].T @ counted)
    assert scheduler._theta[0, 0, :, 0] == pytest.approx(theta, abs=1e-6)
    view = View(
        *(np.zeros(1, dtype=np.int64), np.zeros(1), np.zeros(1, dtype=np.int64), np.zeros(1), np.zeros(1)),
        np.zeros((1, 1)), np.ones(1), np.zeros((1, 1)),
    )  # fmt: skip
    alpha = 1 + 0.05 * np.sqrt(3 * np.log((1 + 200 * (x**2).sum(axis=1).max()) / 0.1))
    doubt = np.sqrt(np.einsum("jf,fg,jg->j", x, np.linalg.inv(precision), x))
    cost = {j: o.device_ms[0, j] + 400 * (x[i] @ theta - alpha * doubt[i]) for i, j in enumerate(sends)}
    keep = next(j for j in final if j not in sends)
    assert scheduler.decide(view).option[0] == min(cost | {keep: whole_ms}, key=(cost | {keep: whole_ms}).__getitem__)


def test_staying_on_the_device_teaches_nothing() -> None:
    s = scenario()
    scheduler = LinUcb()
    scheduler.reset(s.context(np.arange(1)))
    keep = int(np.flatnonzero((s.options.exit[0] == 3) & (s.options.payload_bits[0] == 0))[0])
    scheduler.observe(outcomes([keep], [0.0]))
    assert not scheduler._theta.any()


def test_cuts_that_always_expire_are_given_up() -> None:
    # In 120 ms over 3 Mbit/s no cut makes it, but the device alone does (106 ms).
    s = scenario(3, streams=[
        {"name": "cam", "profile": "alexnet-pi", "deadline_ms": 120, "arrivals": {"kind": "poisson", "rate_hz": 1}},
    ])  # fmt: skip
    result = simulate(s, make_scheduler("linucb"), 0)
    assert result.dropped[:5].all()
    assert (result.decisions[-200:, 1] == 5).mean() > 0.6


def test_devices_learn_apart_and_a_batch_is_like_single_runs() -> None:
    s = scenario(tasks=80, streams=[
        {"name": "cam", "count": 2, "profile": "alexnet-pi", "deadline_ms": 200,
         "arrivals": {"kind": "poisson", "rate_hz": 8}},
    ])  # fmt: skip
    together = simulate_batch(s, make_scheduler("linucb"), [1, 2, 3])
    for result, seed in zip(together, [1, 2, 3], strict=True):
        assert np.array_equal(result.decisions, simulate(s, make_scheduler("linucb"), seed).decisions)
    scheduler = LinUcb()
    simulate_batch(s, scheduler, [1, 2])
    assert len({tuple(theta) for theta in scheduler._theta.reshape(4, 3)}) == 4


def test_protocols() -> None:
    assert isinstance(LinUcb(), Scheduler)
    assert isinstance(LinUcb(), Observer)
    assert not isinstance(make_scheduler("greedy"), Observer)
