"""Who is taken in overload: short tasks before long ones, modest devices before greedy ones, and told in time."""

from __future__ import annotations

import numpy as np
import pytest

from hasten.core.edge_admission import ROOM
from hasten.core.edge_order import earliest_deadline, first_come
from hasten.runtime.edge.carried import CarriedWork
from hasten.runtime.edge.core import EdgeCore
from hasten.runtime.edge.served import Computed, Request
from hasten.runtime.wire.tasks import Status

LENGTHS_MS = (5.0, 10.0, 20.0)


class Network:
    """Exits that take so long, whatever the cut."""

    digest, slowdown = b"", 1.0

    def warm(self):
        pass

    def has(self, cut, exit_):
        return True

    def edge_ms(self, cut, exit_, may_stop=False):
        return LENGTHS_MS[exit_]

    def batch_sizes(self, cut, exit_, may_stop=False):
        return (1,)


class Worker:
    """Tasks take as long as profiled."""

    count = 1

    def __init__(self, clock):
        self.clock = clock

    def start(self):
        pass

    def execute(self, worker, request, done):
        took_ms = LENGTHS_MS[request.exit]
        self.clock.call_at(self.clock.now_ms() + took_ms, lambda: done(Computed(Status.DONE, 0, 1.0, 0.0, took_ms)))

    def close(self, wait_s):
        pass


def played(clock, load, within_ms, order=earliest_deadline, seconds=20.0, seed=0):
    """(device, within, length, in time?, part of its time that was over when it was told) of each task.

    Devices each bring their part of ``load``, in tasks of any length and any of these deadlines.
    """
    rng, network, told = np.random.default_rng(seed), Network(), []
    core = EdgeCore([network], Worker(clock), clock, order=order)
    devices = [CarriedWork() for _ in load]
    start_ms = clock.now_ms()
    each = [rng.poisson(1000.0 * seconds * part / np.mean(LENGTHS_MS)) for part in load]
    sent = [
        (start_ms + 1000.0 * seconds * rng.random(), device, float(rng.choice(within_ms)), int(rng.integers(3)))
        for device, count in enumerate(each)
        for _ in range(count)
    ]

    def send(at_ms, device, within, exit_):
        def reply(ticket, outcome):
            over = (clock.now_ms() - at_ms) / within
            told.append((device, within, LENGTHS_MS[exit_], outcome.status is Status.DONE and over <= 1.0, over))

        core.submit(Request(network, 0, exit_, list, 1, at_ms + within), reply, devices[device])

    for task in sent:
        clock.call_at(task[0], lambda task=task: send(*task))
    clock.run(1000.0 * seconds + 1000.0)
    assert len(told) == len(sent)
    return np.array(told)


def in_time(told, **only):
    """The share in time, of all or of those with this device, deadline or length."""
    columns = {"device": 0, "within": 1, "length": 2}
    kept = np.all([told[:, columns[name]] == value for name, value in only.items()] or [True], axis=0)
    return told[kept, 3].mean() if only else told[:, 3].mean()


def test_by_deadline_a_fifth_more_are_in_time_than_first_come_first_served(clock):
    even = [0.2] * 10
    by_deadline, in_turn = (played(clock, even, (40.0, 400.0), order) for order in (earliest_deadline, first_come))
    assert in_time(by_deadline) > 1.2 * in_time(in_turn)
    assert in_time(by_deadline, within=40.0) > 0.5 > in_time(in_turn, within=40.0)


def test_in_overload_short_tasks_come_before_long_ones(clock):
    told = played(clock, [0.2] * 10, (40.0, 400.0))
    assert in_time(told, length=5.0) > 0.9
    assert in_time(told, length=20.0) < 0.3
    at_capacity = played(clock, [0.08] * 10, (40.0, 400.0))
    assert in_time(at_capacity, within=400.0, length=20.0) > 0.99


@pytest.mark.parametrize("within_ms", [(100.0,), (40.0, 400.0)])
def test_goodput_holds_and_shares_are_even_at_three_times_the_capacity(clock, within_ms):
    full, over = (played(clock, [load / 10] * 10, within_ms) for load in (1.0, 3.0))
    assert over[:, 3].sum() >= full[:, 3].sum()
    got = np.bincount(over[:, 0].astype(int), over[:, 3])
    assert got.sum() ** 2 / (len(got) * (got**2).sum()) > 0.98


@pytest.mark.parametrize("within_ms", [(100.0,), (40.0, 400.0)])
def test_who_sends_twenty_times_as_much_starves_nobody(clock, within_ms):
    told = played(clock, [2.0 / 29.0] * 9 + [40.0 / 29.0], within_ms)
    modest = told[told[:, 0] < 9]
    assert modest[:, 3].mean() > 0.93
    assert told[told[:, 0] == 9, 3].mean() < 0.4


@pytest.mark.parametrize("load", [[0.2] * 10, [0.3] * 10, [2.0 / 29.0] * 9 + [40.0 / 29.0]])
def test_whoever_is_not_served_is_told_before_half_of_its_time_is_over(clock, load):
    """So its device can still finish it alone; tasks take here as long as they should."""
    told = played(clock, load, (40.0, 400.0))
    refused = told[told[:, 3] == 0.0]
    assert len(refused) > 500
    assert refused[:, 4].max() <= 0.5
    assert np.mean(refused[:, 4] == 0.0) > 0.9


def test_one_that_is_to_leave_room_is_told_when_it_would_find_some(clock):
    """To the moment: one that comes then is taken, one that comes before is not."""
    network, told = Network(), []
    core = EdgeCore([network], Worker(clock), clock)

    def send(within_ms):
        request = Request(network, 0, 2, list, 1, clock.now_ms() + within_ms)
        core.submit(request, lambda ticket, outcome: told.append(outcome), CarriedWork())

    for _ in range(100):
        send(60.5)
    assert [outcome.status for outcome in told] == [Status.LATE] * 97  # one runs, two wait: 60 ms of work
    send(100.0)
    assert (told[-1].status, told[-1].retry_ms) == (Status.LATE, pytest.approx(60.0 - ROOM * 80.0))
    clock.run(39.0)
    told.clear()
    send(100.0)
    assert [outcome.status for outcome in told] == [Status.LATE]
    clock.run(1.0)
    told.clear()
    send(100.0)
    clock.run(1000.0)
    assert [outcome.status for outcome in told] == [Status.DONE] * 2
