"""Tasks that stop early in the simulator: each takes what its own exit needs, and is worth what those are that stop there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from stopping import LOSS, stopping_profile

from hasten.api import simulate
from hasten.core.scenario import scenario_from
from hasten.core.timing import is_on_time
from hasten.runtime.device.device_times import DeviceTimes
from hasten.schedulers import make_scheduler
from hasten.sim import replay, simulate_realizations
from hasten.sim.finishes import finishes_of


def scenario(folder, order="grant", stops=True, **given):
    (folder / "stopping.json").write_text(stopping_profile().to_json())
    stream = {"name": "cam", "count": 2, "profile": str(folder / "stopping.json"), "deadline_ms": 90}
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [stream | {"arrivals": {"kind": "poisson", "rate_hz": 25}}],
            "uplink": {"order": order, "rtt_ms": 4, "rate": {"kind": "constant", "mbps": 2}},
            "tasks_per_stream": 300,
        }
        | ({"confidence": {"max_accuracy_loss": LOSS}} if stops else {})
        | given
    )


def slowly(loaded, drawn, option):
    """Finishing times and accuracies in grant order, task by task, from the profile alone."""
    profile, table = loaded.devices[0].profile, loaded.options
    device, link, edge = np.zeros(2), 0.0, 0.0
    finish, accuracy, answered = [], [], []
    for now, m, j, ease in zip(drawn.arrival_ms, drawn.stream, option, drawn.ease, strict=True):
        exit_, p = int(table.exit[m, j]), int(table.partition[m, j])
        outcome = profile.confidence.outcomes[exit_ - 1][p]
        stop = 1 + int(np.searchsorted(np.cumsum(outcome.shares)[:-1], ease, side="right"))
        blocks, heads = profile.exits[stop - 1].after_block, profile.exits
        here = min(blocks, p)
        passed = [k for k in range(1, stop) if profile.confidence.thresholds[k - 1] is not None]
        sends = blocks > p
        done = (
            max(now, device[m])
            + 10.0 * here
            + sum(heads[k - 1].device_ms for k in passed if heads[k - 1].after_block <= p)
        )
        done += 0.5 if sends else heads[stop - 1].device_ms
        end = done
        if sends:
            sent = max(done, link) + 8 * profile.payload_bytes(p) / 2000
            work = blocks - p + heads[stop - 1].edge_ms
            work += sum(heads[k - 1].edge_ms for k in passed if heads[k - 1].after_block > p)
            served = max(sent + 2, edge) + work
            end = served + 2
        if not is_on_time(end - now, 90.0):
            finish.append(np.inf), accuracy.append(0.0), answered.append(0)
            continue
        device[m] = done
        if sends:
            link, edge = sent, served
        finish.append(end), accuracy.append(outcome.accuracies[stop - 1]), answered.append(stop)
    return np.array(finish), np.array(accuracy), np.array(answered)


def test_every_task_takes_what_its_exit_needs(tmp_path):
    loaded = scenario(tmp_path)
    drawn = loaded.realize(3)
    rng = np.random.default_rng(0)
    option = rng.integers(0, loaded.options.count[drawn.stream])
    found = replay(loaded, drawn, option)
    finish, accuracy, answered = slowly(loaded, drawn, option)
    np.testing.assert_allclose(found.finish_ms, finish, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.accuracy, accuracy)
    np.testing.assert_array_equal(found.answered_exit, answered)
    assert found.on_time_accuracy == pytest.approx(accuracy.mean())
    assert {1, 2, 3} <= set(answered.tolist())
    executed = found.decisions[:, 0] > 0
    assert np.all(answered[executed] <= found.decisions[executed, 0])


@pytest.mark.parametrize("order", ["grant", "ready"])
def test_stopping_frees_what_others_wait_for(tmp_path, order):
    """The same tasks and decisions: more are in time, and shares are those of the profile."""
    with_stops, without = (scenario(tmp_path, order, stops) for stops in (True, False))
    fixed = make_scheduler("fixed:3,2")
    seeds = range(6)
    stopping = simulate_realizations(with_stops, fixed, [with_stops.realize(seed) for seed in seeds])
    going = simulate_realizations(without, make_scheduler("fixed:3,2"), [without.realize(seed) for seed in seeds])
    for one, other in zip(stopping, going, strict=True):
        np.testing.assert_array_equal(one.arrival_ms, other.arrival_ms)  # what is drawn besides draws nothing else anew
        assert one.on_time.mean() > other.on_time.mean()
    answered = np.concatenate([result.answered_exit for result in stopping])
    shares = np.bincount(answered[answered > 0], minlength=4)[1:] / np.sum(answered > 0)
    assert shares == pytest.approx([0.4, 0.3, 0.3], abs=0.1)


def test_what_stops_on_the_device_sends_nothing(tmp_path):
    loaded = scenario(tmp_path, "ready", tasks_per_stream=100, streams=[{
        "name": "cam", "profile": str(tmp_path / "stopping.json"), "deadline_ms": 5000,
        "arrivals": {"kind": "poisson", "rate_hz": 5}}])  # fmt: skip
    result = simulate(loaded, make_scheduler("fixed:3,2"), seed=1)
    here = int(np.sum(result.answered_exit == 1))
    assert 20 < here < 60
    assert result.uplink_bytes == 1000 * (100 - here)


def test_greedy_and_the_views_of_devices_run_with_stops(tmp_path):
    for changes in (
        {"view": {"kind": "device"}},
        {"view": {"age_ms": 20}},
        {"uplink": {"topology": "dedicated", "order": "ready", "rate": {"kind": "constant", "mbps": 2}}},
    ):
        with_stops, without = (scenario(tmp_path, "ready", stops, **changes) for stops in (True, False))
        gained = simulate(with_stops, make_scheduler("greedy")).on_time_accuracy
        assert gained > simulate(without, make_scheduler("greedy")).on_time_accuracy


def test_where_nothing_is_known_of_a_task_it_goes_all_the_way(tmp_path):
    """Realizations drawn elsewhere: by themselves, and beside one that knows."""
    loaded = scenario(tmp_path)
    known = loaded.realize(1)
    unknown = replace(known, ease=None)
    (hard,) = simulate_realizations(loaded, make_scheduler("greedy"), [replace(known, ease=np.ones(known.tasks))])
    for drawn in ([unknown], [known, unknown]):
        found = simulate_realizations(loaded, make_scheduler("greedy"), drawn)[-1]
        assert np.array_equal(found.finish_ms, hard.finish_ms)
        assert np.array_equal(found.answered_exit, hard.answered_exit)


def test_a_device_that_finishes_a_task_runs_the_heads_on_its_way(tmp_path):
    loaded = scenario(tmp_path, view={"kind": "device"})
    finishes, times = finishes_of(loaded, loaded.options), DeviceTimes(loaded.devices[0].profile, 1.0)
    for cut in range(finishes.ways.shape[1]):
        for i in range(finishes.ways[0, cut]):
            exit_ = int(finishes.exit[0, cut, i])
            assert finishes.device_ms[0, cut, i] == pytest.approx(times.profiled_ms((cut, exit_)))
