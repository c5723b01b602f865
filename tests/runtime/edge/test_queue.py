"""Who stands in the way of whom, against the schedule laid out task by task."""

from __future__ import annotations

import numpy as np
import pytest

from hasten.core.edge_order import earliest_deadline, first_come
from hasten.runtime.edge.carried import CarriedWork
from hasten.runtime.edge.queue import TaskQueue, Ticket
from hasten.runtime.edge.served import Request


def ticket(arrived_ms, work_ms, latest_ms):
    request = Request(None, 0, 1, list, 1, latest_ms)
    return Ticket(request, lambda ticket, outcome: None, CarriedWork(), arrived_ms, work_ms, work_ms)


def late(tickets, now_ms, busy_ms):
    """Positions of those that start too late when served in this order."""
    free_ms = [now_ms + busy for busy in busy_ms]
    found = []
    for position, it in enumerate(tickets):
        worker = int(np.argmin(free_ms))
        if free_ms[worker] > it.last_start_ms:
            found.append(position)
        free_ms[worker] += it.predicted_ms
    return found


@pytest.mark.parametrize("order", [first_come, earliest_deadline])
@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_hindered_is_what_a_laid_out_schedule_shows(order, workers):
    rng = np.random.default_rng(workers)

    def turn(it):
        return order(it.arrived_ms, it.request.latest_ms)

    outcomes = []
    for _ in range(300):
        queue = TaskQueue(order)
        tickets = [ticket(float(i), *rng.uniform((1.0, 10.0), (10.0, 60.0))) for i in range(rng.integers(0, 8))]
        for it in tickets:
            queue.add(it)
        waiting = sorted(tickets, key=turn)
        busy_ms = sorted(rng.uniform(0.0, 10.0, workers))
        new = ticket(10.0, *rng.uniform((1.0, 15.0), (10.0, 60.0)))
        without = [it for it in tickets if rng.random() < 0.2]
        laid_out = sorted([it for it in [*waiting, new] if it not in without], key=turn)
        before = {waiting[position] for position in late(waiting, 10.0, busy_ms)}
        first = [laid_out[p] for p in late(laid_out, 10.0, busy_ms) if laid_out[p] is new or laid_out[p] not in before]
        first = [it for it in first if it is new or turn(it) > turn(new)]
        expected = None
        if first:
            expected = [it for it in laid_out[: laid_out.index(first[0]) + 1] if it is not new]
        assert queue.hindered(new, busy_ms, without) == expected
        outcomes.append(expected is None)
    assert 0.1 < np.mean(outcomes) < 0.9


def test_tasks_leave_in_order_and_out_of_turn():
    queue = TaskQueue(earliest_deadline)
    tickets = [ticket(float(i), 1.0, latest) for i, latest in enumerate((30.0, 10.0, 20.0, 10.0))]
    for it in tickets:
        queue.add(it)
    assert queue.waiting() == [tickets[1], tickets[3], tickets[2], tickets[0]]
    assert queue.remove(tickets[3]) and not queue.remove(tickets[3])
    assert tickets[3] not in queue and tickets[1] in queue
    assert [queue.take() for _ in range(3)] == [tickets[1], tickets[2], tickets[0]]
    assert queue.size_bytes == 0 and len(queue) == 0 and queue.forecast([0.0], 0.0) == [0.0]


def test_the_forecast_is_of_what_is_served_before(clock_ms=100.0):
    queue = TaskQueue(earliest_deadline)
    for latest_ms, work_ms in ((150.0, 3.0), (130.0, 5.0), (400.0, 20.0)):
        queue.add(ticket(90.0, work_ms, latest_ms))
    assert queue.forecast([2.0], clock_ms, within_ms=20.0) == [2.0]
    assert queue.forecast([2.0], clock_ms, within_ms=40.0) == [7.0]
    assert queue.forecast([2.0], clock_ms, within_ms=100.0) == [10.0]
    assert queue.forecast([2.0], clock_ms) == [30.0]
    assert queue.forecast([0.0, 4.0], clock_ms, within_ms=100.0) == [5.0, 7.0]
    assert queue.forecast([0.0, 4.0], clock_ms) == [7.0, 25.0]
