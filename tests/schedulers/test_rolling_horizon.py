"""Rolling-horizon planning on situations small enough to solve by hand, and as a scheduler among others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_policies import among_edges

from hasten.api import simulate, simulate_batch
from hasten.core.calibration import LOCAL, NODES
from hasten.core.compiled import KernelCache
from hasten.core.decision import Context, EdgeView, View
from hasten.core.errors import InputError
from hasten.core.options import DROP, StreamCosts, option_table
from hasten.core.profile import Profile
from hasten.core.scenario import Scenario, scenario_from
from hasten.schedulers import make_scheduler

HASTY = {"after_block": 1, "accuracy": 0.5, "device_ms": 25}
THOROUGH = {"after_block": 2, "accuracy": 0.52, "device_ms": 50}


def two_exits() -> Profile:
    """On the device exit 1 takes 25 ms and exit 2 takes 50 ms; nothing gets through the uplink in time."""
    return Profile.model_validate(
        {
            "schema": "hasten.profile/1",
            "name": "two exits",
            "source": "made up",
            "input_bytes": 10**9,
            "blocks": [{"name": f"b{i}", "device_ms": 0, "edge_ms": 0, "output_bytes": 10**9} for i in (1, 2)],
            "exits": [{"name": f"e{i}", "edge_ms": 0} | e for i, e in enumerate((HASTY, THOROUGH))],
        }
    )


def context(streams: int = 1, batch: int = 1, rate_hz: float = 50.0) -> Context:
    return Context(
        options=option_table([StreamCosts(two_exits())] * streams),
        deadline_ms=np.full(streams, 50.0),
        rate_hz=np.full(streams, rate_hz),
        streams=streams,
        batch=batch,
    )


def view(now_ms: float = 0.0, wait_ms: float = 0.0, stream: int = 0, streams: int = 1, row: int = 0) -> View:
    others = np.zeros((1, streams))
    others[0, stream] = wait_ms
    return View(
        row=np.array([row]),
        now_ms=np.array([now_ms]),
        stream=np.array([stream]),
        device_wait_ms=np.array([wait_ms]),
        uplink_wait_ms=np.zeros(1),
        edge_wait_ms=np.zeros((1, 1)),
        rate_bits_per_ms=np.full(1, 1.0),
        others_wait_ms=others,
    )


def exits_chosen(spec: str, views: list[View], told: Context) -> list[int]:
    scheduler = make_scheduler(spec)
    scheduler.reset(told)
    options = [int(scheduler.decide(v).option[0]) for v in views]
    return [0 if j == DROP else int(told.options.exit[0, j]) for j in options]


def test_promises_that_are_often_broken_count_for_less() -> None:
    # Exit 2 has no slack; where 8 of 10 such promises are kept, 0.8 * 0.52 is less than 0.5.
    sure = np.ones((1, 2, NODES))
    unsure = sure.copy()
    unsure[0, LOCAL, 0] = 0.8
    for kept_share, chosen in ((None, 2), (sure, 2), (unsure, 1)):
        seen = replace(view(), kept_share=kept_share)
        assert exits_chosen("rolling-horizon:0", [seen], context()) == [chosen]
        assert exits_chosen("rolling-horizon:0", [seen], replace(context(), exact=True)) == [2]


def test_looks_ahead_where_greedy_does_not() -> None:
    # With the next task 20 ms away, exit 2 now would make it late whatever it does: 0.52 against 0.5 + 0.5.
    assert exits_chosen("greedy", [view()], context()) == [2]
    assert exits_chosen("rolling-horizon:0", [view()], context()) == [2]
    assert exits_chosen("rolling-horizon:1", [view()], context()) == [1]


def test_no_need_to_hurry_when_the_next_task_is_far() -> None:
    assert exits_chosen("rolling-horizon:3", [view()], context(rate_hz=10.0)) == [2]


def test_forecast_follows_the_gaps_it_sees() -> None:
    # Told 10 tasks per second, it meets one every 20 ms: the average gap falls below 25 ms and it starts to hurry.
    views = [view(now_ms=20.0 * i) for i in range(30)]
    chosen = exits_chosen("rolling-horizon:1", views, context(rate_hz=10.0))
    assert chosen[0] == 2
    assert chosen[-1] == 1


def test_drops_what_is_late_anyway() -> None:
    assert exits_chosen("rolling-horizon", [view(wait_ms=26.0)], context()) == [0]
    assert exits_chosen("rolling-horizon", [view(wait_ms=25.0)], context(rate_hz=1.0)) == [1]


def test_another_streams_next_task_does_not_hurry_this_device() -> None:
    assert exits_chosen("rolling-horizon:1", [view(streams=2)], context(streams=2, rate_hz=50.0)) == [1]
    told = context(streams=2)
    told.rate_hz[0] = 1.0
    assert exits_chosen("rolling-horizon:1", [view(streams=2)], told) == [2]


@pytest.mark.parametrize("argument", ["x", "-1", "1.5", "1000"])
def test_refuses_other_arguments(argument: str) -> None:
    with pytest.raises(InputError):
        make_scheduler(f"rolling-horizon:{argument}")


def scenario(topology: str, order: str) -> Scenario:
    cam = {"name": "cam", "count": 2, "profile": "alexnet-pi", "deadline_ms": 80}
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [cam | {"arrivals": {"kind": "poisson", "rate_hz": 15}}],
            "uplink": {"topology": topology, "order": order, "rate": {"kind": "constant", "mbps": 8}},
            "edge": {"slowdown": 4, "workers": 2},
            "tasks_per_stream": 40,
        }
    )


@pytest.mark.parametrize("topology", ["shared", "dedicated"])
@pytest.mark.parametrize("order", ["grant", "ready"])
def test_batch_decides_as_single_runs_do(topology: str, order: str) -> None:
    busy = scenario(topology, order)
    batch = simulate_batch(busy, make_scheduler("rolling-horizon"), [3, 4])
    for result in batch:
        alone = simulate(busy, make_scheduler("rolling-horizon"), result.seed)
        np.testing.assert_array_equal(alone.decisions, result.decisions)
        assert alone.mean_gain > 0.9 * simulate(busy, make_scheduler("greedy"), result.seed).mean_gain


@pytest.mark.parametrize("topology", ["shared", "dedicated"])
def test_what_has_to_be_compiled_is_compiled_before_the_first_decision(
    monkeypatch: pytest.MonkeyPatch, topology: str
) -> None:
    def compiled_late(*arguments: object) -> None:
        raise AssertionError(f"compiled in a decision: {arguments}")

    busy = scenario(topology, "ready")
    make_scheduler("rolling-horizon").reset(busy.context(np.zeros(1, dtype=np.int64)))
    monkeypatch.setattr(KernelCache, "load_overload", compiled_late)
    scheduler = make_scheduler("rolling-horizon")
    scheduler.reset(busy.context(np.zeros(1, dtype=np.int64)))
    scheduler.decide(replace(view(streams=2), edge_wait_ms=np.zeros((1, 2))))


@pytest.mark.parametrize("order", ["grant", "ready"])
def test_plans_among_several_edges_decide_in_a_batch_as_alone_and_use_them_all(order: str) -> None:
    busy = among_edges(3, count=2, tasks=40, order=order)
    for result in simulate_batch(busy, make_scheduler("rolling-horizon"), [3, 4]):
        alone = simulate(busy, make_scheduler("rolling-horizon"), result.seed)
        np.testing.assert_array_equal(alone.decisions, result.decisions)
        np.testing.assert_array_equal(alone.edge, result.edge)
        assert set(alone.edge) == {0, 1, 2}
        assert alone.mean_gain > 0.95 * simulate(busy, make_scheduler("greedy"), result.seed).mean_gain


def test_a_second_edge_that_cannot_be_reached_is_left_and_plans_are_as_good_as_without() -> None:
    one = among_edges(1, count=2, tasks=40)
    data = one.model_dump(by_alias=True)
    dead = data["edges"][0] | {"name": "dead"}
    dead = dead | {"uplink": dead["uplink"] | {"rate": {"kind": "constant", "mbps": 0.0}}}
    both = scenario_from(data | {"edges": [*data["edges"], dead]})
    alone, result = (simulate(which, make_scheduler("rolling-horizon:3"), 1) for which in (one, both))
    assert not result.edge.any()
    assert result.mean_gain == pytest.approx(alone.mean_gain, abs=0.01)  # a beam may break ties otherwise


def test_the_free_edge_is_planned_with_and_the_busy_one_left() -> None:
    """Two edges alike but for their backlogs: whichever is busy, the task goes to the other one."""
    told = among_edges(2, count=1, tasks=5).context(np.zeros(1, dtype=np.int64))
    scheduler = make_scheduler("rolling-horizon:2")
    for busy in (0, 1):
        scheduler.reset(told)
        waits = np.where(np.arange(2) == busy, 70.0, 0.0)
        seen = View(
            row=np.zeros(1, dtype=np.int64),
            now_ms=np.zeros(1),
            stream=np.zeros(1, dtype=np.int64),
            device_wait_ms=np.zeros(1),
            uplink_wait_ms=waits[:1],
            edge_wait_ms=np.zeros((1, 1)),
            rate_bits_per_ms=np.full(1, 2e4),
            others_wait_ms=np.zeros((1, 1)),
            further_edges=(EdgeView(waits[1:], np.zeros((1, 2)), np.full(1, 2e4), np.full(1, 3.0)),),
        )
        chosen = scheduler.decide(seen).option[0]
        assert told.options.payload_bits[0, chosen] > 0 and told.options.edge[0, chosen] == 1 - busy
