"""The edge of simulated devices runs alike tasks at once as the runtime's own does in virtual time."""

from __future__ import annotations

import numpy as np
import pytest
from virtual_cases import profile
from virtual_scenarios import assert_same, both, points, simulated_only, urgent_and_not

SCHEDULERS = ("greedy:point", "fixed:4,0", "fixed:3,1")
SIZES, FACTORS = (1, 2, 4, 8), (1.0, 1.4, 2.2, 4.0)


def batches():
    """Of every segment of the played network: a task in a batch of 8 takes half of its time alone."""
    return [
        {"exit": exit_, "partition": cut, "sizes": SIZES, "ms": [f * (2.5 * (exit_ - cut) + 0.3) for f in FACTORS]}
        for exit_ in range(1, 5)
        for cut in range(exit_)
    ]


def batching(folder, batch=8, workers=1, queue="deadline", count=4, **given):
    """Streams, half of them urgent, that ask for more than the edge does one by one."""
    return urgent_and_not(
        folder,
        network=profile(task_ms=0.0, offload_ms=0.0, edge_batches=batches()),
        count=count,
        view={"kind": "device"},
        edge={"workers": workers, "slowdown": 3.0, "queue": queue, "batch": batch},
        **({"tasks_per_stream": 60} | given),
    )


def test_every_task_fares_as_in_virtual_time(tmp_path):
    simulated, virtual = both(batching(tmp_path), *SCHEDULERS)
    for expected, found in zip(virtual, simulated, strict=True):
        np.testing.assert_array_equal(found.decisions, expected.decisions, err_msg=expected.scheduler)
        np.testing.assert_array_equal(found.answered_exit, expected.answered_exit, err_msg=expected.scheduler)
        np.testing.assert_allclose(found.finish_ms, expected.finish_ms, rtol=0, atol=1e-3, err_msg=expected.scheduler)


@pytest.mark.parametrize("name", ["greedy:point", "fixed:4,0"])
def test_first_come_first_served_is_within_half_a_point_of_virtual_time(tmp_path, name):
    assert abs(points(*both(batching(tmp_path, queue="fifo"), name, seeds=(0, 1)))) < 0.5


@pytest.mark.parametrize("workers", [1, 2])
def test_greedy_is_within_half_a_point_of_virtual_time(tmp_path, workers):
    assert abs(points(*both(batching(tmp_path, workers=workers), "greedy", seeds=(0, 1)))) < 0.5


def test_with_time_enough_both_worlds_finish_tasks_at_the_same_moments(tmp_path):
    """Nobody is late, whatever is seen, so that only who is run with whom is left to differ."""
    case = batching(tmp_path, batch=4, count=2, deadlines_ms=(9000, 30000), tasks_per_stream=40)
    assert_same(*both(case, "fixed:4,0", "fixed:4,1"))


def test_more_tasks_are_in_time_at_once_than_one_by_one(tmp_path):
    """In turn: an edge that serves by deadline keeps room in overload, and takes the short ones."""
    cases = (batching(tmp_path, batch, queue="fifo", deadlines_ms=(200, 600)) for batch in (8, 1))
    at_once, one_by_one = (simulated_only(case, "fixed:4,0")[0] for case in cases)
    shares = [np.mean(it.on_time & (it.answered_exit == 4)) for it in (at_once, one_by_one)]
    assert shares[0] > 1.25 * shares[1]


def test_no_more_tasks_end_at_once_than_may_be_run_at_once(tmp_path):
    """Answers of one batch come back at the same moment; the links are as quick, and their own."""
    most = {}
    for batch in (1, 2, 8):
        result = simulated_only(batching(tmp_path, batch), "fixed:4,0")[0]
        edge_only = result.finish_ms[np.isfinite(result.finish_ms) & (result.answered_exit == 4)]
        most[batch] = int(np.unique(edge_only.round(6), return_counts=True)[1].max())
    assert most[1] == 1
    assert most[2] == 2
    assert 3 <= most[8] <= 8
