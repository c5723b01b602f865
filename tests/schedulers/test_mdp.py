"""The online optimum: against closed forms, its own equation evaluated slowly, simulation, and other schedulers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hasten.api import simulate_batch
from hasten.core.decision import View
from hasten.core.errors import HastenError, InputError
from hasten.core.gain import PLAIN_ACCURACY, GainTerms, task_gain
from hasten.core.options import DROP
from hasten.core.scenario import Scenario, scenario_from
from hasten.schedulers import make_scheduler
from hasten.schedulers.mdp import OnlineOptimum
from hasten.schedulers.mdp_values import Problem, Values, solve

ALEXNET = {"profile": "alexnet-pi", "deadline_ms": 80}
BURSTY = {"kind": "mmpp", "rates_hz": [5, 40], "dwell_ms": [500, 500]}
WARM_UP = 50
"""Tasks left out of averages: a run starts with empty queues, the long run does not."""


def scenario(arrivals: dict[str, Any], mbps: float = 10, tasks: int = 400, **changes: Any) -> Scenario:
    base: dict[str, Any] = {
        "schema": "hasten.scenario/1",
        "streams": [{"name": "cam", **ALEXNET, "arrivals": arrivals}],
        "uplink": {"rate": {"kind": "constant", "mbps": mbps}},
        "edge": {"slowdown": 4},
        "tasks_per_stream": tasks,
    }
    return scenario_from(base | changes)


def poisson(rate_hz: float) -> dict[str, Any]:
    return {"kind": "poisson", "rate_hz": rate_hz}


def problem(**changes: Any) -> Problem:
    """Two exits on the device or at the edge."""
    numbers: dict[str, Any] = {
        "device_ms": (16.0, 41.0, 15.0, 0.0),
        "payload_bits": (0.0, 0.0, 300e3, 500e3),
        "edge_ms": (0.0, 0.0, 9.0, 12.0),
        "worth": (0.5, 0.7, 0.8, 0.8),
        "deadline_ms": 80.0,
        "gain_terms": PLAIN_ACCURACY,
        "rtt_ms": 4.0,
        "rate_bits_per_ms": 10_000.0,
        "rates_hz": (25.0,),
        "dwell_ms": (1.0,),
    }
    return Problem(**(numbers | changes))


def lone_option(service_ms: float, deadline_ms: float, rate_hz: float) -> Problem:
    """A device that can only do one thing, which takes ``service_ms``."""
    return problem(
        device_ms=(service_ms,),
        payload_bits=(0.0,),
        edge_ms=(0.0,),
        worth=(0.9,),
        deadline_ms=deadline_ms,
        rates_hz=(rate_hz,),
    )


@pytest.mark.parametrize("rate_hz", [1.0, 20.0, 80.0])
def test_a_device_that_takes_a_task_only_when_idle_loses_as_erlang_says(rate_hz: float) -> None:
    # The deadline leaves no time to wait: a loss system without buffer serves 1 / (1 + rate * service).
    served = 1.0 / (1.0 + rate_hz * 0.050)
    assert solve(lone_option(50.0, 50.0, rate_hz), 64, 1).mean_gain == pytest.approx(0.9 * served, abs=1e-4)


def test_waiting_room_for_part_of_a_service_is_used() -> None:
    # M/D/1 in which tasks wait at most 20 ms for 40 ms of service: its only useful policy, simulated.
    rate, service, room = 0.025, 40.0, 20.0
    rng = np.random.default_rng(0)
    backlog, served = 0.0, 0
    gaps = rng.exponential(1.0 / rate, 400_000)
    for gap in gaps:
        backlog = max(backlog - gap, 0.0)
        if backlog <= room:
            backlog += service
            served += 1
    found = solve(lone_option(service, service + room, 1000 * rate), 64, 1)
    assert found.mean_gain == pytest.approx(0.9 * served / len(gaps), abs=3e-3)


def interpolated(values: Values, state: np.ndarray) -> np.ndarray:
    """Trilinear interpolation, corner by corner, of the worth after decisions that leave ``state`` (S, 3)."""
    place = np.clip(state / values.rules.step_ms, 0, values.worth_after.shape[0] - 1)
    node = np.minimum(place.astype(int), values.worth_after.shape[0] - 2)
    share = place - node
    total = np.zeros(len(state))
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, share, 1 - share), axis=1)
        total += weight * values.worth_after[(*(node + corner).T, 0)]
    return total


def best_value(p: Problem, values: Values, state: np.ndarray) -> np.ndarray:
    """The optimality equation's right-hand side at backlogs (S, 3), option by option."""
    device, uplink, edge = state.T
    time_weight, late_gain, fade = p.gain_terms
    best = late_gain + interpolated(values, state)
    for x, bits, y, worth in zip(p.device_ms, p.payload_bits, p.edge_ms, p.worth, strict=True):
        after = state + np.array([x, 0.0, 0.0])
        latency = device + x
        if bits:
            after[:, 1] = np.maximum(device + x, uplink) + bits / p.rate_bits_per_ms
            after[:, 2] = np.maximum(after[:, 1] + p.rtt_ms / 2, edge) + y
            latency = after[:, 2] + p.rtt_ms / 2
        gain = task_gain(worth, latency, p.deadline_ms, time_weight, late_gain, fade)
        useful = latency <= p.deadline_ms * (1 + fade)
        best = np.where(useful, np.maximum(best, gain + interpolated(values, after)), best)
    return best


@pytest.mark.parametrize("gain_terms", [PLAIN_ACCURACY, GainTerms(0.3, -0.1, 0.0), GainTerms(0.0, 0.0, 0.5)])
def test_values_solve_their_equation(gain_terms: GainTerms) -> None:
    p = problem(gain_terms=gain_terms)
    values = solve(p, 64, 1)
    rng = np.random.default_rng(5)
    chances = (np.arange(20_000) + 0.5) / 20_000
    gaps = -np.log(1 - chances) / (p.rates_hz[0] / 1000)

    def error(state: np.ndarray) -> float:
        following = best_value(p, values, np.maximum(state - gaps[:, None], 0)).mean()
        return float(interpolated(values, state[None])[0] - (following - values.mean_gain))

    uplink = rng.uniform(0, 70, 8)
    states = np.stack([rng.uniform(0, 75, 8), uplink, rng.uniform(uplink, 80)], axis=1)
    # Relative values are known up to a constant, which shows at empty queues.
    constant = error(np.zeros(3))
    assert [error(state) for state in states] == pytest.approx([constant] * len(states), abs=2e-3)


def test_a_finer_grid_changes_little() -> None:
    values = solve(problem(), 64, 1)
    assert values.coarse_gain == pytest.approx(values.mean_gain, abs=1e-3)
    assert solve(problem(), 32, 1).mean_gain == pytest.approx(values.coarse_gain, abs=2e-5)


def test_two_equal_states_are_one() -> None:
    both = solve(problem(rates_hz=(25.0, 25.0), dwell_ms=(200.0, 600.0)), 16, 5)
    assert both.mean_gain == pytest.approx(solve(problem(), 16, 1).mean_gain, abs=2e-5)


def test_belief_grid_is_fine_enough() -> None:
    bursty = problem(rates_hz=(5.0, 40.0), dwell_ms=(500.0, 500.0))
    assert solve(bursty, 16, 17).mean_gain == pytest.approx(solve(bursty, 16, 65).mean_gain, abs=2e-4)


def test_nothing_useful_is_worth_nothing() -> None:
    assert solve(problem(deadline_ms=10.0), 8, 1).mean_gain == 0.0
    assert solve(problem(deadline_ms=10.0, gain_terms=GainTerms(0.2, -0.3, 0.0)), 8, 1).mean_gain == pytest.approx(-0.3)


@pytest.mark.parametrize("deadline_ms", [120.0, 160.0, 300.0])
def test_long_deadlines_settle(deadline_ms: float) -> None:
    # Options of equal worth made the place of the jumps alternate here.
    values = solve(problem(deadline_ms=deadline_ms, rates_hz=(20.0,)), 32, 1)
    assert 0.7 < values.mean_gain <= 0.8


def test_a_flood_of_tasks_is_refused_instead_of_answered_wrongly() -> None:
    with pytest.raises(HastenError, match="settle too slowly"):
        solve(problem(deadline_ms=2000.0, rates_hz=(200.0,)), 32, 1)


def test_more_of_anything_helps() -> None:
    base = solve(problem(), 32, 1).mean_gain
    assert solve(problem(rates_hz=(15.0,)), 32, 1).mean_gain > base
    assert solve(problem(rate_bits_per_ms=15_000.0), 32, 1).mean_gain > base
    assert solve(problem(rtt_ms=0.0), 32, 1).mean_gain >= base - 1e-4
    assert solve(problem(deadline_ms=90.0), 32, 1).mean_gain > base


@pytest.mark.parametrize(
    ("arrivals", "changes"),
    [
        (poisson(15), {}),
        (poisson(40), {}),
        (BURSTY, {}),
        (poisson(30), {"uplink": {"order": "ready", "rtt_ms": 6, "rate": {"kind": "constant", "mbps": 15}}}),
        (poisson(30), {"gain": {"kind": "tradeoff", "lambda": 0.3, "rho": 0.1}}),
        (poisson(30), {"gain": {"kind": "soft", "kappa": 0.5}}),
    ],
)
def test_value_is_what_simulation_finds_and_no_online_scheduler_beats_it(
    arrivals: dict[str, Any], changes: dict[str, Any]
) -> None:
    s = scenario(arrivals, **changes)
    seeds = range(100, 200)

    def means(name: str) -> tuple[np.ndarray, Any]:
        scheduler = make_scheduler(name)
        results = simulate_batch(s, scheduler, seeds)
        return np.array([result.gain[WARM_UP:].mean() for result in results]), scheduler

    optimum, mdp = means("mdp")
    noise = optimum.std(ddof=1) / np.sqrt(len(seeds))
    assert noise < 2e-3
    assert optimum.mean() == pytest.approx(mdp.values.mean_gain, abs=4 * noise + 5e-4)
    for name in ("greedy", "edgent:slack", "load-threshold"):
        other = means(name)[0] - optimum
        assert other.mean() <= 3 * other.std(ddof=1) / np.sqrt(len(seeds)) + 1e-9, name


def random_view(batch: int, seed: int) -> View:
    rng = np.random.default_rng(seed)
    uplink = rng.uniform(0, 60, batch)
    return View(
        row=np.arange(batch),
        now_ms=rng.uniform(0, 1000, batch),
        stream=np.zeros(batch, dtype=np.int64),
        device_wait_ms=rng.uniform(0, 60, batch),
        uplink_wait_ms=uplink,
        edge_wait_ms=(uplink + rng.uniform(0, 20, batch))[:, None],
        rate_bits_per_ms=np.full(batch, 10_000.0),
        others_wait_ms=np.zeros((batch, 1)),
    )


def test_decides_by_gain_plus_value_of_what_is_left() -> None:
    s = scenario(poisson(25))
    scheduler = OnlineOptimum("32")
    scheduler.reset(s.context(np.arange(300)))
    view = random_view(300, 1)
    chosen = scheduler.decide(view).option
    values = scheduler.values
    o = s.options
    for b in range(300):
        state = np.array([view.device_wait_ms[b], view.uplink_wait_ms[b], view.edge_wait_ms[b, 0]])
        worth = {DROP: interpolated(values, state[None])[0]}
        for j in range(o.count[0]):
            after = state + np.array([o.device_ms[0, j], 0, 0])
            latency = after[0]
            if o.payload_bits[0, j]:
                after[1] = max(after[0], after[1]) + o.payload_bits[0, j] / 10_000
                latency = after[2] = max(after[1], after[2]) + o.edge_ms[0, j]
            if latency <= 80:
                worth[j] = o.worth[0, j] + interpolated(values, after[None])[0]
        assert worth[int(chosen[b])] == pytest.approx(max(worth.values()), abs=1e-9)
    assert len(np.unique(chosen)) > 4


@pytest.mark.parametrize("arrivals", [poisson(25), BURSTY])
def test_a_batch_decides_like_single_rows(arrivals: dict[str, Any]) -> None:
    s = scenario(arrivals, tasks=60)
    together = simulate_batch(s, OnlineOptimum("16"), [3, 4, 5])
    for result, seed in zip(together, [3, 4, 5], strict=True):
        alone = simulate_batch(s, OnlineOptimum("16"), [seed])[0]
        assert np.array_equal(result.decisions, alone.decisions)


def test_backlogs_beyond_the_grid_are_taken_as_its_edge() -> None:
    scheduler = OnlineOptimum("8")
    scheduler.reset(scenario(poisson(25)).context(np.arange(3)))
    view = random_view(3, 2)
    view.device_wait_ms[:] = [0, 1e6, 0]
    view.uplink_wait_ms[:] = 1e9
    view.rate_bits_per_ms[:] = [0, 0, 1e4]
    chosen = scheduler.decide(view).option
    assert chosen[1] == DROP
    assert chosen[0] != DROP


def test_solutions_are_kept() -> None:
    before = solve.cache_info().hits
    for _ in range(3):
        OnlineOptimum("8").reset(scenario(poisson(21)).context(np.arange(1)))
    assert solve.cache_info().hits >= before + 2


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"streams": [{"name": "cam", "count": 2, **ALEXNET, "arrivals": poisson(5)}]}, "streams"),
        ({"edge": {"workers": 2}}, "workers"),
        ({"uplink": {"rate": {"kind": "gauss_markov", "mean_mbps": 10, "sigma_mbps": 2}}}, "rate"),
        (
            {"streams": [{"name": "cam", **ALEXNET, "arrivals": {"kind": "periodic", "rate_hz": 5}}]},
            "poisson, or mmpp with one or two states",
        ),
        (
            {
                "streams": [
                    {"name": "cam", **ALEXNET, "arrivals": BURSTY | {"rates_hz": [1, 2, 3], "dwell_ms": [1, 2, 3]}}
                ]
            },
            "mmpp",
        ),
    ],
)
def test_what_it_does_not_cover_is_refused_in_one_line(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError, match=field) as error:
        OnlineOptimum().reset(scenario(poisson(5), **changes).context(np.arange(1)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("argument", ["7", "12", "0", "512", "fine", "-8", "8888888888"])
def test_a_wrong_grid_is_refused(argument: str) -> None:
    with pytest.raises(InputError, match="grid cells"):
        OnlineOptimum(argument)
