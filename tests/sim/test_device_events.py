"""Simulated devices do what the runtime's own agents do in virtual time: the same decisions, rescues and answers."""

from __future__ import annotations

import numpy as np
import pytest
from virtual_cases import profile
from virtual_scenarios import both, points, scenario

from hasten.core.scenario import load_scenario, scenario_from

SCHEDULERS = ("greedy:point", "edgent", "fixed:3,1")


def cameras(tasks_per_stream=120):
    """Three cameras on one uplink, overloaded: about one task in four is finished otherwise than was decided."""
    data = load_scenario("examples/three-cameras.yaml").model_dump(by_alias=True)
    return scenario_from(data | {"view": {"kind": "device"}, "tasks_per_stream": tasks_per_stream})


def links(folder, sigma_mbps=0.4, deadline_ms=90):
    """Three devices with links of their own that vary, and one edge."""
    rate = {"kind": "gauss_markov", "mean_mbps": 1, "sigma_mbps": sigma_mbps, "memory": 0.95, "step_ms": 250}
    return scenario(
        folder,
        network=profile(task_ms=0.0, offload_ms=0.0),
        deadline_ms=deadline_ms,
        view={"kind": "device"},
        uplink={"topology": "dedicated", "order": "ready", "rtt_ms": 6, "rate": rate},
    )


def assert_same(simulated, virtual):
    """Decisions, exits that answered, and when, task by task."""
    for expected, found in zip(virtual, simulated, strict=True):
        np.testing.assert_array_equal(found.decisions, expected.decisions, err_msg=expected.scheduler)
        np.testing.assert_array_equal(found.answered_exit, expected.answered_exit, err_msg=expected.scheduler)
        np.testing.assert_allclose(found.finish_ms, expected.finish_ms, rtol=0, atol=1e-3, err_msg=expected.scheduler)
        assert found.on_time_accuracy == pytest.approx(expected.on_time_accuracy, abs=1e-12)


def test_on_a_shared_uplink_every_task_fares_as_in_virtual_time():
    simulated, virtual = both(cameras(), *SCHEDULERS)
    assert_same(simulated, virtual)
    rescued = [(it.answered_exit != it.decisions[:, 0]) & (it.answered_exit > 0) for it in simulated]
    assert sum(map(np.count_nonzero, rescued)) > 50


@pytest.mark.parametrize("seed", [1, 2])
def test_who_overloads_a_link_without_looking_fares_as_in_virtual_time(seed):
    """Its devices measure a link that seems too slow again and again, and see what an unanswered probe tells."""
    assert_same(*both(cameras(200), "neurosurgeon", seeds=(seed,)))


def test_greedy_fares_as_in_virtual_time_but_for_rounding():
    """It weighs shares that are equal but for rounding, of reports as they are on the wire."""
    simulated, virtual = both(cameras(), "greedy", seeds=range(5))
    for expected, found in zip(virtual, simulated, strict=True):
        same = (found.decisions == expected.decisions).all(axis=1)
        assert same.mean() > 0.99, found.seed
        assert abs(points([found], [expected])) < 0.5, found.seed


@pytest.mark.parametrize("seed", range(2))
def test_on_links_of_their_own_every_task_fares_as_in_virtual_time(tmp_path, seed):
    assert_same(*both(links(tmp_path), *SCHEDULERS, seeds=(seed,)))


@pytest.mark.parametrize("name", ["greedy", "greedy:point", "edgent"])
def test_where_links_fail_accuracy_is_that_of_virtual_time(tmp_path, name):
    """Connections that break, which the simulator has none of, cost little."""
    case = links(tmp_path, sigma_mbps=1)
    assert abs(points(*both(case, name, seeds=range(4)))) < 0.5
