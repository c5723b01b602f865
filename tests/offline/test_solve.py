"""``solve_offline`` where the exact search answers: certificates, replay in the simulator, reasons."""

from __future__ import annotations

import itertools
import json
import signal
import warnings
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hasten.api import simulate
from hasten.core import compiled
from hasten.core.options import DROP
from hasten.core.profile import SegmentBatches
from hasten.core.scenario import Scenario, scenario_from
from hasten.offline import bounded, solve, solve_offline, time_limit, warmup
from hasten.offline.effort import Effort
from hasten.offline.exact import search as exact
from hasten.offline.exact.search import Search, exact_search
from hasten.offline.instance import Instance, instance_of
from hasten.offline.plan import CertificateError, offline_document
from hasten.offline.solve import _warn_of_batches
from hasten.schedulers import make_scheduler
from hasten.sim import replay

ARRIVALS = [
    {"kind": "poisson", "rate_hz": 15},
    {"kind": "periodic", "rate_hz": 15, "jitter": 0.5},
    {"kind": "mmpp", "rates_hz": [5, 40], "dwell_ms": [500, 500]},
    {"kind": "explicit", "times_ms": [0, 0, 5, 10, 60, 61, 62, 63, 200]},
]
RATES = [
    {"kind": "constant", "mbps": 8},
    {"kind": "gauss_markov", "mean_mbps": 8, "sigma_mbps": 5, "step_ms": 20},
]


def make(streams: int = 1, deadline_ms: float = 80, arrivals: Any = None, **more: Any) -> Scenario:
    uplink = {"rate": RATES[0]} | more.pop("uplink", {})
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [
                {
                    "name": "cam",
                    "count": streams,
                    "profile": "alexnet-pi",
                    "deadline_ms": deadline_ms,
                    "arrivals": arrivals or ARRIVALS[0],
                }
            ],
            "uplink": uplink,
            "edge": {"slowdown": 4},
            "tasks_per_stream": len((arrivals or {}).get("times_ms", range(60))),
        }
        | more
    )


@pytest.mark.parametrize("arrivals", ARRIVALS, ids=lambda spec: spec["kind"])
@pytest.mark.parametrize("rate", RATES, ids=lambda spec: spec["kind"])
@pytest.mark.parametrize("topology", ["shared", "dedicated"])
@pytest.mark.parametrize("gain", ["on_time_accuracy", "tradeoff", "soft"])
def test_plan_replays_to_its_gain(arrivals: Any, rate: Any, topology: str, gain: str) -> None:
    scenario = make(
        2,
        arrivals=arrivals,
        uplink={"rate": rate, "topology": topology, "rtt_ms": 4},
        edge={"workers": 2, "slowdown": 4},
        gain={"kind": gain},
    )
    plan = solve_offline(scenario, seed=3)
    result = replay(scenario, scenario.realize(3), plan.option)
    assert plan.optimal
    assert plan.upper_bound == plan.gain
    assert result.mean_gain == pytest.approx(plan.gain, abs=1e-12)
    np.testing.assert_array_equal(result.decisions, plan.decisions)
    assert simulate(scenario, make_scheduler("greedy"), 3).mean_gain <= plan.gain + 1e-12


@pytest.mark.parametrize("order", ["grant", "ready"])
@pytest.mark.parametrize("topology", ["shared", "dedicated"])
def test_one_stream_is_exact_in_every_order(order: str, topology: str) -> None:
    scenario = make(uplink={"order": order, "topology": topology})
    plan = solve_offline(scenario)
    assert plan.optimal
    assert plan.gain == solve_offline(make()).gain
    assert replay(scenario, scenario.realize(0), plan.option).mean_gain == pytest.approx(plan.gain, abs=1e-12)


def test_ready_order_starts_from_a_plan_at_once() -> None:
    scenario = make(3, uplink={"order": "ready"})
    plan = solve_offline(scenario, time_limit_s=0.0)
    assert 0.5 < plan.gain <= plan.upper_bound <= 0.792 + 1e-9
    assert replay(scenario, scenario.realize(0), plan.option).mean_gain == pytest.approx(plan.gain, abs=1e-12)


def test_no_tasks() -> None:
    plan = solve_offline(make(tasks_per_stream=0))
    assert (plan.gain, plan.upper_bound, plan.gap, plan.optimal, plan.reason) == (0.0, 0.0, 0.0, True, "no tasks")
    assert plan.decisions.shape == (0, 2)


def test_nothing_feasible() -> None:
    plan = solve_offline(make(deadline_ms=2))
    assert (plan.gain, plan.upper_bound, plan.optimal) == (0.0, 0.0, True)
    assert "misses its deadline" in plan.reason
    assert (plan.option == DROP).all()
    assert (plan.decisions == 0).all()


def test_nothing_feasible_costs_what_dropping_costs() -> None:
    plan = solve_offline(make(deadline_ms=2, gain={"kind": "tradeoff", "rho": 0.25}))
    assert (plan.gain, plan.upper_bound, plan.gap) == (-0.25, -0.25, 0.0)


def test_dead_link() -> None:
    dead = {"rate": {"kind": "constant", "mbps": 0}}
    plan = solve_offline(make(deadline_ms=10, uplink=dead))
    assert plan.gain == 0.0
    assert "zero for ever" in plan.reason
    plan = solve_offline(make(uplink=dead))
    assert plan.gain > 0.0
    assert (plan.decisions[plan.option != DROP, 1] > 0).all()


def test_certificate_is_plain_data() -> None:
    document = json.loads(json.dumps(offline_document("busy", [solve_offline(make())])))
    assert document["schema"] == "hasten.offline/1"
    assert {"seed", "tasks", "gain", "upper_bound", "gap", "optimal", "seconds"} <= document["results"][0].keys()


def test_ctrl_c_returns_plan_and_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    optimum = solve_offline(make(3)).gain
    monkeypatch.setattr(solve, "BEAM_WIDTH", 2)

    def interrupted(*arguments: Any) -> Search:
        signal.raise_signal(signal.SIGINT)
        return exact_search(*arguments)

    monkeypatch.setattr(solve, "exact_search", interrupted)
    plan = solve_offline(make(3))
    assert (plan.reason, plan.optimal) == ("interrupted", False)
    assert 0.9 * optimum <= plan.gain <= optimum <= plan.upper_bound


def test_early_ctrl_c_still_returns_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    search = solve.beam_search

    def interrupted(*arguments: Any) -> Search:
        signal.raise_signal(signal.SIGINT)
        return search(*arguments)

    monkeypatch.setattr(solve, "beam_search", interrupted)
    plan = solve_offline(make(3))
    assert plan.reason == "interrupted"
    assert 0.5 < plan.gain < plan.upper_bound


def test_a_second_ctrl_c_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted_twice(*arguments: Any) -> Search:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not reached")

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(solve, "beam_search", interrupted_twice)
    with pytest.raises(KeyboardInterrupt):
        solve_offline(make(3))
    assert signal.getsignal(signal.SIGINT) is before


def test_a_certificate_that_the_simulator_contradicts_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the search went by another timing law than the simulator: its bound was below what Greedy gains."""
    search = solve.beam_search

    def wrong_bound(instance: Instance, *arguments: Any) -> Search:
        found = search(instance, *arguments)
        nothing = np.full_like(found.option, DROP)
        return replace(found, option=nothing, gain=0.0, bound=0.0, complete=True)

    monkeypatch.setattr(solve, "beam_search", wrong_bound)
    with pytest.raises(CertificateError, match=r"no plan .* more than 0\.0, the simulator replays one to 0\.[5-9]"):
        solve_offline(make(2))

    def wrong_gain(instance: Instance, option: Any) -> Any:
        return 0.999, option

    monkeypatch.setattr(solve, "beam_search", search)
    monkeypatch.setattr(solve, "evaluate", wrong_gain)
    with pytest.raises(CertificateError, match=r"gain is said to be 0\.999, the simulator replays it to"):
        solve_offline(make(2))


def test_compiling_takes_no_time_of_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    monkeypatch.setattr(time_limit.time, "monotonic", lambda: now_s[0])
    limit = time_limit.TimeLimit(10.0)
    share = limit.share(0.5)
    now_s[0] = 3.0
    with share.paused():
        now_s[0] = 103.0
    assert (limit.spent_s, limit.left_s, share.left_s, share.overdue) == (3.0, 7.0, 2.0, False)
    now_s[0] = 110.0
    assert limit.expired and share.expired and share.overdue


@pytest.mark.parametrize(("limit_s", "proven"), [(40.0, True), (16.0, False)])
def test_a_beam_on_course_to_a_proof_may_use_more_than_its_share(
    monkeypatch: pytest.MonkeyPatch, limit_s: float, proven: bool
) -> None:
    now_s = [0.0]
    advance = exact.advance

    def a_second(*arguments: Any) -> Any:
        now_s[0] += 1.0
        return advance(*arguments)

    monkeypatch.setattr(time_limit.time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(exact, "advance", a_second)
    monkeypatch.setattr(exact, "SLICE_TASKS", 1)
    scenario = make(2, tasks_per_stream=15)
    instance, _ = instance_of(scenario, scenario.realize(0))
    limit = time_limit.TimeLimit(limit_s)
    beam = exact.beam_search(instance, 500, limit.share(0.5))
    assert (beam.complete, limit.spent_s) == (proven, 30.0 if proven else 16.0)


def test_a_million_tasks_do_not_make_the_limit_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left when the time is up gets the plan at hand and a bound at once, chunk by chunk."""
    monkeypatch.setattr(bounded, "TASKS_PER_CHUNK", 10)
    monkeypatch.setattr(bounded, "relaxations", None)
    scenario = make(3, uplink={"order": "ready"}, tasks_per_stream=100)
    plan = solve_offline(scenario, time_limit_s=0.0)
    assert 0.5 < plan.gain <= plan.upper_bound


def test_where_every_task_can_have_its_best_nothing_is_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead link and a far deadline: the simple rule's plan gains what the tasks gain alone."""
    monkeypatch.setattr(bounded, "relaxations", None)
    uplink = {"order": "ready", "rate": {"kind": "constant", "mbps": 0}}
    plan = solve_offline(make(3, deadline_ms=100_000, uplink=uplink))
    assert plan.optimal and plan.reason == "" and plan.gain == pytest.approx(0.792)


@pytest.mark.parametrize("order", ["grant", "ready"])
@pytest.mark.parametrize("topology", ["shared", "dedicated"])
def test_all_kernels_are_compiled_before_the_clock_runs(
    monkeypatch: pytest.MonkeyPatch, order: str, topology: str
) -> None:
    scenario = make(3, uplink={"order": order, "topology": topology}, tasks_per_stream=20)
    warmup.compile_exact(scenario, scenario.realize(0))
    warmup.compile_bounded(scenario, scenario.realize(0))

    def compiled_late(*arguments: Any) -> None:
        raise AssertionError(f"compiled while the clock ran: {arguments}")

    monkeypatch.setattr(compiled.KernelCache, "load_overload", compiled_late)
    monkeypatch.setattr(solve, "BEAM_WIDTH", 2)
    monkeypatch.setattr(exact, "DEFAULT_WORK", 1.0)
    monkeypatch.setattr(
        bounded, "Effort", partial(bounded.Effort, rounds=2, service_order_rounds=(1, 2), search_work=1000)
    )
    plan = solve_offline(scenario)
    assert plan.method == "prices" or plan.optimal


def test_what_the_exact_search_cannot_finish_goes_to_the_bounded_method(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = make(3)
    optimum = solve_offline(scenario).gain
    monkeypatch.setattr(solve, "BEAM_WIDTH", 2)
    plan = solve_offline(scenario, memory_limit_mb=0.01, time_limit_s=5)
    assert "memory limit" in plan.reason or plan.optimal
    assert plan.gain <= optimum + 1e-12 <= plan.upper_bound + 2e-12
    assert replay(scenario, scenario.realize(0), plan.option).mean_gain == pytest.approx(plan.gain, abs=1e-12)


def test_a_bound_of_an_edge_that_batches_is_not_claimed():
    batches = (SegmentBatches(exit=1, partition=0, sizes=(1, 2), ms=(1.0, 1.5)),)
    profiles = [SimpleNamespace(name="a", edge_batches=batches), SimpleNamespace(name="b", edge_batches=None)]
    devices, edge = [SimpleNamespace(profile=profile) for profile in profiles], SimpleNamespace(batch=1)
    with pytest.warns(UserWarning, match="^a: the bound is of an edge that serves tasks one by one"):
        _warn_of_batches(SimpleNamespace(devices=devices, edge=edge))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _warn_of_batches(SimpleNamespace(devices=devices[1:], edge=edge))
        _warn_of_batches(SimpleNamespace(devices=devices, edge=SimpleNamespace(batch=2)))


def crowded(folder: Any, seed: int, batch: int) -> Scenario:
    """Three devices of random networks far too slow for them, and an edge that does two to four times as much at once."""
    rng = np.random.default_rng(seed)
    streams = []
    for i in range(3):
        edge_ms = rng.uniform(5, 15, 2).tolist()
        sizes, ms = [1, 2, 4], [1.0, rng.uniform(1.0, 1.5), rng.uniform(1.5, 2.0)]
        measured = [
            {"exit": e, "partition": p, "sizes": sizes, "ms": [f * sum(edge_ms[p:e]) for f in ms]}
            for e in (1, 2)
            for p in range(e)
        ]
        profile = {
            "schema": "hasten.profile/1", "name": "random", "source": "made up", "input_bytes": 100,
            "blocks": [
                {"name": f"b{j}", "device_ms": rng.uniform(10, 60), "edge_ms": edge_ms[j], "output_bytes": 100}
                for j in range(2)
            ],
            "exits": [
                {"name": f"e{j}", "after_block": j, "accuracy": 0.4 + 0.3 * j, "device_ms": 1, "edge_ms": 0}
                for j in (1, 2)
            ],
            "edge_batches": measured,
        }  # fmt: skip
        file = folder / f"random-{seed % 2 * i}.json"  # alike ones in even cases
        file.write_text(json.dumps(profile))
        arrivals = {"kind": "explicit", "times_ms": np.sort(rng.uniform(0, 60, 8)).tolist()}
        stream = {"name": f"s{i}", "profile": str(file), "deadline_ms": rng.uniform(40, 90), "arrivals": arrivals}
        streams.append(stream)
    document = {
        "schema": "hasten.scenario/1",
        "streams": streams,
        "uplink": {"rate": {"kind": "constant", "mbps": 100}, "rtt_ms": 1},
        "edge": {"batch": batch, "queue": ("fifo", "deadline")[seed % 3 > 0]},
        "view": {"kind": "device"},
        "tasks_per_stream": 8,
    }
    return scenario_from(document)


def test_no_scheduler_gains_more_than_the_bound_of_an_edge_that_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(bounded, "Effort", partial(Effort, ready_labels=1e3, search_work=1e5))  # the plan is no matter
    schedulers = ("greedy", "greedy:point", "fixed:1,0", "fixed:2,0", "fixed:2,1", "min-latency")
    above_one_by_one = 0.0
    for seed in range(3):
        scenario = crowded(tmp_path, seed, 4)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # this bound is of batches: there is nothing to warn of
            plan = solve_offline(scenario)
        assert not plan.optimal and "runs tasks at once" in plan.reason
        best = max(simulate(scenario, name).mean_gain for name in schedulers)
        assert best <= plan.upper_bound + 1e-9
        with pytest.warns(UserWarning, match="one that batches"):
            above_one_by_one = max(above_one_by_one, best - solve_offline(crowded(tmp_path, seed, 1)).upper_bound)
    assert above_one_by_one > 0.05  # or anything would have bounded them


def urgent_behind_patient(folder: Any, queue: str) -> Scenario:
    """Two tasks that have time and two that have not; each takes 20 ms of the one worker, and all come at once."""
    profile = {
        "schema": "hasten.profile/1", "name": "far", "source": "made up", "input_bytes": 125,
        "blocks": [{"name": "b", "device_ms": 1000, "edge_ms": 18, "output_bytes": 100}],
        "exits": [{"name": "e", "after_block": 1, "accuracy": 0.8, "device_ms": 1, "edge_ms": 2}],
    }  # fmt: skip
    (folder / "far.json").write_text(json.dumps(profile))
    streams = [
        {
            "name": name, "profile": str(folder / "far.json"), "deadline_ms": deadline_ms,
            "arrivals": {"kind": "explicit", "times_ms": times_ms},
        }
        for name, deadline_ms, times_ms in (("patient", 200, [0, 1]), ("urgent", 42, [2, 3]))
    ]  # fmt: skip
    uplink = {"order": "ready", "rate": {"kind": "constant", "mbps": 4}}
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": streams,
            "uplink": uplink,
            "edge": {"queue": queue},
            "tasks_per_stream": 2,
        }
    )


def test_an_edge_that_serves_by_deadline_is_bounded_by_what_assumes_no_order(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In turn the urgent tasks wait for both patient ones; by deadline one of them needs to wait for one only."""
    effort, best = bounded.Effort(), {}
    monkeypatch.setattr(
        bounded, "Effort", partial(bounded.Effort, rounds=20, service_order_rounds=(1, 9), search_work=99)
    )
    for queue in ("fifo", "deadline"):
        case = urgent_behind_patient(tmp_path, queue)
        realization = case.realize(0)
        options = [range(-1, int(case.options.count[m])) for m in realization.stream]
        results = [replay(case, realization, np.array(plan)) for plan in itertools.product(*options)]
        best[queue] = max(float(result.gain.mean()) for result in results)
        found = solve_offline(case)
        assert found.gain <= best[queue] + 1e-9 <= found.upper_bound + 2e-9
        fine, _ = bounded.relaxations(case, realization, effort)
        assert (effort.rounds_of_service_order(case, fine) > 0) == (queue == "fifo")
    assert best == pytest.approx({"fifo": 0.4, "deadline": 0.6})


def test_one_stream_is_exact_whatever_the_order_at_the_edge() -> None:
    uplink = {"order": "ready"}
    plans = [solve_offline(make(uplink=uplink, edge={"slowdown": 4, "queue": q})) for q in ("fifo", "deadline")]
    assert plans[0].optimal and plans[1].optimal
    assert plans[0].gain == plans[1].gain
