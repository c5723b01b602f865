"""Stages worked out from decisions end when the simulator says, and none serves two tasks at once."""

import numpy as np
import pytest
from sim_cases import COMBINATIONS, random_scenario
from stopping import LOSS, stopping_profile

import hasten as hs
from hasten.sim.stage_times import stage_times


@pytest.mark.parametrize(("topology", "order"), COMBINATIONS)
@pytest.mark.parametrize("noise", ["none", "profile"])
def test_answers_are_there_when_the_simulator_says(tmp_path, topology, order, noise):
    scenario = random_scenario(tmp_path, 5, topology, order, tasks=40, streams=3, noise=noise)
    realization = scenario.realize(0)
    result = hs.simulate(scenario, "random")
    times = stage_times(scenario, realization, result)
    remote = np.isfinite(times.edge_end_ms)
    local = np.isfinite(times.device_end_ms) & ~np.isfinite(times.uplink_start_ms) & np.isfinite(result.finish_ms)
    assert remote.sum() > 5 and np.array_equal(remote | local, np.isfinite(result.finish_ms))
    zero = np.zeros(realization.tasks)
    drawn = realization.noise
    extra = (drawn.local_extra_ms, drawn.offload_extra_ms) if drawn is not None else (zero, zero)
    back = times.edge_end_ms + scenario.uplink.rtt_ms / 2 + extra[1]
    np.testing.assert_allclose(back[remote], result.finish_ms[remote], rtol=0, atol=1e-6)
    np.testing.assert_allclose((times.device_end_ms + extra[0])[local], result.finish_ms[local], rtol=0, atol=1e-6)
    assert_alone(times.device_start_ms, times.device_end_ms, result.stream)
    links = np.zeros_like(result.stream) if topology == "shared" else result.stream
    assert_alone(times.uplink_start_ms, times.uplink_end_ms, links)
    assert_alone(times.edge_start_ms, times.edge_end_ms, times.worker)


@pytest.mark.parametrize("order", ["grant", "ready"])
@pytest.mark.parametrize("noise", ["none", "profile"])
def test_each_of_several_edges_serves_its_own_tasks_when_the_simulator_says(tmp_path, order, noise):
    one = scenario_of_edges(tmp_path, order, noise)
    realization = one.realize(0)
    result = hs.simulate(one, "random")
    times = stage_times(one, realization, result)
    remote = np.isfinite(times.edge_end_ms)
    assert min((remote & (result.edge == edge)).sum() for edge in range(3)) > 5
    rtt_ms = np.array([edge.uplink.rtt_ms for edge in one.every_edge])[result.edge]
    extra = 0.0 if realization.noise is None else realization.noise.offload_extra_ms
    back = times.edge_end_ms + rtt_ms / 2 + extra
    np.testing.assert_allclose(back[remote], result.finish_ms[remote], rtol=0, atol=1e-6)
    assert_alone(times.uplink_start_ms, times.uplink_end_ms, one.links[result.edge, result.stream])
    assert_alone(times.edge_start_ms, times.edge_end_ms, 10 * result.edge + times.worker)


def scenario_of_edges(tmp_path, order, noise):
    """Three streams; three edges of different speed, workers, round trip and links."""
    base = random_scenario(tmp_path, 5, "shared", order, tasks=60, streams=3, noise=noise, view={"age_ms": 0})
    data = base.model_dump(by_alias=True)
    uplink, edge = data.pop("uplink"), data.pop("edge")
    varying = {"kind": "gauss_markov", "mean_mbps": 12, "sigma_mbps": 5}
    rates = [{"kind": "constant", "mbps": 9}, varying, {"kind": "constant", "mbps": 7}]
    edges = [
        {
            "name": f"e{i}",
            "uplink": uplink | {"topology": "dedicated" if i == 1 else "shared", "rtt_ms": 2.0 * i, "rate": rate},
            "edge": edge | {"workers": 1 + i % 2, "slowdown": 1.0 + i},
        }
        for i, rate in enumerate(rates)
    ]
    return hs.scenario_from(data | {"edges": edges})


def assert_alone(start, end, server):
    """No server is at two tasks at a time."""
    for one in np.unique(server[np.isfinite(end)]):
        mine = np.isfinite(end) & (server == one)
        order = np.argsort(start[mine], kind="stable")
        assert np.all(start[mine][order][1:] >= end[mine][order][:-1] - 1e-9)


def test_a_dropped_task_is_nowhere(tmp_path):
    scenario = random_scenario(tmp_path, 5, "shared", "grant", tasks=40, streams=3)
    result = hs.simulate(scenario, "random")
    times = stage_times(scenario, scenario.realize(0), result)
    assert result.dropped.any() and np.isnan(times.device_end_ms[result.dropped]).all()


@pytest.mark.parametrize("order", ["grant", "ready"])
def test_a_task_that_stops_early_keeps_stages_busy_no_longer(tmp_path, order):
    (tmp_path / "stopping.json").write_text(stopping_profile().to_json())
    stream = {"name": "cam", "count": 2, "profile": str(tmp_path / "stopping.json"), "deadline_ms": 90}
    stream |= {"arrivals": {"kind": "poisson", "rate_hz": 25}}
    uplink = {"order": order, "rtt_ms": 4, "rate": {"kind": "constant", "mbps": 2}}
    data = {"schema": "hasten.scenario/1", "streams": [stream], "uplink": uplink, "tasks_per_stream": 60}
    scenario = hs.scenario_from(data | {"confidence": {"max_accuracy_loss": LOSS}})
    result = hs.simulate(scenario, "random")
    times = stage_times(scenario, scenario.realize(0), result)
    remote, answered = np.isfinite(times.edge_end_ms), np.isfinite(result.finish_ms)
    stopped = answered & (result.answered_exit < result.decisions[:, 0])
    assert remote.sum() > 3 and stopped.sum() > 3
    ends = np.where(remote, times.edge_end_ms + 2.0, times.device_end_ms)
    np.testing.assert_allclose(ends[answered], result.finish_ms[answered], rtol=0, atol=1e-6)
