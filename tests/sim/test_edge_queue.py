"""The edge of simulated devices serves by deadline, and takes in and turns away, as the runtime's own does."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from virtual_cases import profile
from virtual_scenarios import assert_same, both, fifo, points, scenario, simulated_only, urgent_and_not

from hasten.runtime.device.trials import Retry
from hasten.runtime.edge import offers
from hasten.runtime.virtual.cluster import run_virtual_scenario

SCHEDULERS = ("greedy:point", "fixed:4,0", "fixed:3,1")


def overloaded(folder, workers=1, **given):
    """Eight streams, half of them urgent, that would keep two workers busy all the time."""
    return urgent_and_not(
        folder,
        network=profile(task_ms=0.0, offload_ms=0.0),
        count=4,
        view={"kind": "device"},
        edge={"workers": workers, "slowdown": 2.0, "queue": "deadline"},
        tasks_per_stream=80,
        **given,
    )


def test_every_task_fares_as_in_virtual_time(tmp_path):
    case = overloaded(tmp_path)
    simulated, virtual = both(case, *SCHEDULERS)
    for expected, found in zip(virtual, simulated, strict=True):
        np.testing.assert_array_equal(found.decisions, expected.decisions, err_msg=expected.scheduler)
        np.testing.assert_array_equal(found.answered_exit, expected.answered_exit, err_msg=expected.scheduler)
        np.testing.assert_allclose(found.finish_ms, expected.finish_ms, rtol=0, atol=1e-3, err_msg=expected.scheduler)
    for found, in_turn in zip(simulated, simulated_only(fifo(case), *SCHEDULERS), strict=True):
        assert not np.array_equal(found.finish_ms, in_turn.finish_ms)


def test_of_several_workers_nearly_every_task_fares_as_in_virtual_time(tmp_path):
    """Two that must be answered at nearly the same moment may change places: devices know the edge's clock roughly."""
    simulated, virtual = both(overloaded(tmp_path, workers=2), *SCHEDULERS)
    for expected, found in zip(virtual, simulated, strict=True):
        same = np.isclose(found.finish_ms, expected.finish_ms, rtol=0, atol=1e-3)
        assert (same & (found.decisions == expected.decisions).all(axis=1)).mean() > 0.99
    assert abs(points(simulated, virtual)) < 0.1


def test_short_and_long_tasks_leave_room_as_in_virtual_time(tmp_path):
    """Twelve streams ask for three times what the edge can do; half of them send tasks of four times the length."""
    streams = []
    for edge_ms in (1.0, 4.0):
        path = tmp_path / f"{edge_ms:g}.json"
        path.write_text(profile(edge_ms=edge_ms, task_ms=0.0, offload_ms=0.0).to_json())
        arrivals = {"kind": "poisson", "rate_hz": 25}
        for deadline_ms in (60, 600):
            stream = {"name": f"{edge_ms:g} within {deadline_ms}", "count": 3, "deadline_ms": deadline_ms}
            streams.append(stream | {"profile": str(path), "arrivals": arrivals})
    rate = {"kind": "constant", "mbps": 50}
    case = scenario(
        tmp_path,
        streams=streams,
        uplink={"topology": "dedicated", "order": "ready", "rtt_ms": 10, "rate": rate},
        edge={"slowdown": 2.0, "queue": "deadline"},
        view={"kind": "device"},
        tasks_per_stream=80,
    )
    with mock.patch.object(Retry, "holds", lambda *given: False):  # simulated edges do not say when to try again
        simulated, virtual = both(case, "greedy:point", "fixed:4,0")
        with mock.patch.object(offers, "room_share", lambda *given: 1.0):
            without = run_virtual_scenario(case, ["fixed:4,0"], (0,)).results[0]
    for expected, found in zip(virtual, simulated, strict=True):
        same = np.isclose(found.finish_ms, expected.finish_ms, rtol=0, atol=1e-3)
        assert (same & (found.decisions == expected.decisions).all(axis=1)).mean() > 0.99, expected.scheduler
    assert virtual[1].on_time_accuracy > without.on_time_accuracy + 0.02


@pytest.mark.parametrize("workers", [1, 2])
def test_greedy_is_within_half_a_point_of_virtual_time(tmp_path, workers):
    assert abs(points(*both(overloaded(tmp_path, workers), "greedy", seeds=(0, 1)))) < 0.5


def test_urgent_tasks_are_answered_more_often_than_where_they_are_served_in_turn(tmp_path):
    case = overloaded(tmp_path, workers=2)
    by_deadline, in_turn = (simulated_only(each, "fixed:4,0")[0] for each in (case, fifo(case)))
    shares = [np.mean((it.on_time & (it.answered_exit == 4))[it.deadline_ms == 60]) for it in (by_deadline, in_turn)]
    assert shares[0] > shares[1] + 0.1


def test_with_time_enough_both_worlds_finish_tasks_at_the_same_moments(tmp_path):
    """Nobody is late, whatever is seen, so that only the order of service is left to differ."""
    case = urgent_and_not(tmp_path, count=2, deadlines_ms=(900, 3000))
    assert_same(*both(case, "fixed:4,0", "fixed:4,1"))
