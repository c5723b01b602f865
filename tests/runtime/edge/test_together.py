"""Tasks of one segment at once: who with whom, that nobody is late for it, and answers as if each had come alone."""

from __future__ import annotations

import math
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from hasten.core.edge_order import earliest_deadline, first_come
from hasten.core.profile import SegmentBatches
from hasten.runtime.edge.carried import CarriedWork
from hasten.runtime.edge.core import EdgeCore
from hasten.runtime.edge.queue import Starts, Ticket
from hasten.runtime.edge.served import Computed, Refusal, ReplicaError, Request, Served
from hasten.runtime.edge.together import all_in_time, companions, compute_together
from hasten.runtime.edge.workers import WorkerThreads
from hasten.runtime.wire.frames import Code
from hasten.runtime.wire.tasks import Status
from hasten.split.batches import BATCH_SIZES
from hasten.split.codecs import CodecError
from hasten.split.executor import Executor

TASK_MS = 10.0
MS = (10.0, 12.0, 16.0, 24.0)
"""Of 1, 2, 4 and 8."""


class Network:
    """Segments of 10 ms; exit 9 is not run in batches."""

    slowdown = 1.0

    def __init__(self, digest=b"net"):
        self.digest = digest

    def warm(self):
        pass

    def has(self, cut, exit_):
        return True

    def edge_ms(self, cut, exit_, may_stop=False):
        return TASK_MS

    def batch_sizes(self, cut, exit_, may_stop=False):
        return (1,) if exit_ == 9 else BATCH_SIZES

    def batch_factor(self, cut, exit_, count):
        return MS[int(np.searchsorted(BATCH_SIZES, count))] / MS[0]


NET = Network()


def ticket(latest_ms=math.inf, exit_=1, served=NET, arrived_ms=0.0):
    request = Request(served, 0, exit_, list, 100, latest_ms)
    return Ticket(request, None, CarriedWork(), arrived_ms, TASK_MS, TASK_MS, served.batch_sizes(0, exit_))


def test_as_many_alike_as_make_it_cheapest():
    head = ticket()
    for alike, together in ((0, 1), (1, 2), (2, 3), (3, 4), (4, 4), (6, 7), (7, 8), (20, 8)):
        waiting = [ticket(exit_=2), *(ticket() for _ in range(alike)), ticket(served=Network(b"other"))]
        found = companions(head, waiting, 0.0, [])
        assert found == waiting[1:together], (alike, together)
    assert companions(ticket(exit_=9), [ticket(exit_=9)], 0.0, []) == []


def test_one_that_may_stop_early_is_run_alone():
    """It is of the same segment, and takes no part in its batches."""
    stops = ticket()
    stops.sizes = (1,)
    assert companions(ticket(), [stops, other := ticket()], 0.0, []) == [other]
    assert companions(stops, [ticket()], 0.0, []) == []


def test_a_batch_makes_nobody_in_it_late():
    assert len(companions(ticket(latest_ms=15.9), [ticket() for _ in range(7)], 0.0, [])) == 1
    assert companions(ticket(latest_ms=11.9), [ticket() for _ in range(7)], 0.0, []) == []
    waiting = [ticket(latest_ms=20.0), *(ticket() for _ in range(6))]
    assert waiting[0] in companions(ticket(), waiting[:4], 0.0, [])
    assert waiting[0] not in companions(ticket(), waiting, 5.0, []), "it would be late in a batch of any size but 2"


def test_a_batch_makes_nobody_late_that_it_overtakes():
    other = ticket(latest_ms=25.0, exit_=2)
    waiting = [other, *(ticket() for _ in range(7))]
    assert len(companions(ticket(), waiting, 0.0, [])) == 1, "with two it starts at 12, with four at 16"
    assert len(companions(ticket(), waiting, 0.0, [0.0])) == 7, "another worker takes it"
    lost = ticket(latest_ms=15.0, exit_=2)
    assert len(companions(ticket(), [lost, *waiting[1:]], 0.0, [])) == 7, "it is late anyway"


def test_whether_all_are_in_time_when_alike_ones_go_together():
    eight = [ticket(latest_ms=24.0) for _ in range(8)]
    assert all_in_time(eight, [0.0], 0.0)
    assert not all_in_time(eight, [1.0], 0.0)
    assert not all_in_time([*eight, ticket(latest_ms=24.0)], [0.0], 0.0)
    assert all_in_time([*eight, ticket(latest_ms=24.0)], [0.0, 14.0], 0.0)


class Workers:
    """As long as measured."""

    def __init__(self, clock, count=1):
        self.clock, self.count = clock, count
        self.started = []

    def start(self):
        pass

    def execute(self, worker, request, done):
        self.run([request], TASK_MS, lambda computed: done(computed[0]))

    def execute_together(self, worker, requests, done):
        self.run(requests, NET.batch_factor(0, 1, len(requests)) * TASK_MS, done)

    def run(self, requests, took_ms, done):
        self.started.append((self.clock.now_ms(), len(requests)))
        assert len({request.segment for request in requests}) == 1
        computed = [Computed(Status.DONE, 1, 0.9, 0.0, TASK_MS) for _ in requests]
        self.clock.call_at(self.clock.now_ms() + took_ms, lambda: done(computed))

    def close(self, wait_s):
        pass


class Edge:
    def __init__(self, clock, workers=1, order=earliest_deadline):
        self.clock, self.workers, self.told = clock, Workers(clock, workers), {}
        self.core = EdgeCore([NET], self.workers, clock, order=order)
        self.device = CarriedWork()

    def submit(self, tag, within_ms=math.inf, exit_=1):
        def reply(ticket, outcome):
            assert tag not in self.told
            self.told[tag] = (self.clock.now_ms(), outcome)

        request = Request(NET, 0, exit_, list, 100, self.clock.now_ms() + within_ms)
        return self.core.submit(request, reply, self.device)


def test_what_waits_when_a_worker_becomes_free_is_run_at_once(clock):
    edge, start_ms = Edge(clock), clock.now_ms()
    for tag in range(9):
        edge.submit(tag)
    assert edge.core.report(edge.device).backlog_ms == (pytest.approx(9 * TASK_MS),)
    clock.run(1000.0)
    assert edge.workers.started == [(start_ms, 1), (start_ms + 10.0, 8)]
    assert {at for at, _ in edge.told.values()} == {start_ms + 10.0, start_ms + 34.0}
    assert {outcome.status for _, outcome in edge.told.values()} == {Status.DONE}
    assert edge.core.totals["done"] == 9 and len(edge.core._queue) == 0 and edge.core._queue.batchable == 0


def test_the_times_of_an_answer_add_up_to_what_the_task_was_at_the_edge(clock):
    """Or devices would take the rest of a batch for a slow link."""
    edge = Edge(clock)
    for tag in range(5):
        edge.submit(tag)
    clock.run(1000.0)
    assert edge.workers.started[1][1] == 4
    for tag, spent_ms in ((0, 10.0), (1, 26.0), (4, 26.0)):
        answer = edge.told[tag][1]
        assert answer.compute_us == 1000 * TASK_MS
        assert answer.queue_us + answer.decode_us + answer.compute_us == pytest.approx(1000 * spent_ms, abs=2)


def test_more_is_taken_than_one_by_one_could_be_in_time(clock):
    """Beyond one worker's capacity one by one, and all in time."""
    edge = Edge(clock)
    for tag in range(60):
        clock.run(5.0)
        edge.submit(tag, within_ms=60.0)
    clock.run(1000.0)
    assert {outcome.status for _, outcome in edge.told.values()} == {Status.DONE} and len(edge.told) == 60
    assert sum(count for _, count in edge.workers.started) == 60 and len(edge.workers.started) < 35


@pytest.mark.parametrize("order", [earliest_deadline, first_come])
def test_whatever_comes_everybody_is_told_once_and_nobody_that_was_run_is_late(clock, order):
    rng = np.random.default_rng(0)
    edge, latest = Edge(clock, workers=2, order=order), {}
    for tag in range(600):
        clock.run(float(rng.exponential(2.0)))
        within_ms = float(rng.choice([15.0, 40.0, 150.0]))
        latest[tag] = clock.now_ms() + within_ms
        waiting = edge.submit(tag, within_ms, exit_=int(rng.choice([1, 1, 2, 9])))
        if rng.random() < 0.05:
            edge.core.abandon(waiting)
    clock.run(10_000.0)
    done = {tag: at for tag, (at, outcome) in edge.told.items() if outcome.status is Status.DONE}
    assert all(at <= latest[tag] + 1e-6 for tag, at in done.items())
    assert len(edge.told) + edge.core.totals["abandoned"] == 600
    assert any(count > 2 for _, count in edge.workers.started) and len(done) > 200


# For real


@pytest.fixture(scope="module")
def batching(package):
    """The package in service, with times of batches."""
    batches = tuple(
        SegmentBatches(exit=exit_, partition=partition, sizes=(1, 2, 4), ms=(1.0, 1.2, 1.6))
        for exit_, partition in package.manifest.options()
        if partition < package.manifest.exits[exit_ - 1].after_block
    )
    served = Served(package, profile=package.profile.model_copy(update={"edge_batches": batches}))
    served.warm()
    return served


def requests(served, exit_, cut, count):
    executor = Executor(served.package)
    frames = served.package.samples()[0]
    found = []
    for i in range(count):
        tensors = executor.prefix(cut, [frames[i][None]]) if cut else [frames[i][None]]
        found.append(Request(served, cut, exit_, lambda tensors=tensors: tensors, 100, math.inf))
    return found


@pytest.mark.parametrize(("exit_", "cut"), [(1, 0), (1, 1), (2, 0), (2, 2)])
def test_answers_are_those_of_each_alone(batching, exit_, cut):
    assert batching.batch_sizes(cut, exit_) == (1, 2, 4)
    asked = requests(batching, exit_, cut, 3)
    executor = Executor(batching.package)
    for request, found in zip(asked, compute_together(asked), strict=True):
        logits = executor.finish(cut, exit_, request.tensors())
        assert found.status is Status.DONE and found.class_index == logits.argmax()
        weights = np.exp(logits - logits.max())
        assert found.confidence == pytest.approx((weights / weights.sum()).max(), rel=1e-4)
        assert found.compute_ms >= 0.0 and found.decode_ms >= 0.0


def test_one_that_cannot_be_decoded_is_refused_and_the_others_are_answered(batching):
    def broken():
        raise CodecError("not a payload")

    def too_large():
        raise MemoryError

    asked = requests(batching, 2, 0, 4)
    asked[1] = Request(batching, 0, 2, broken, 100, math.inf)
    asked[2] = Request(batching, 0, 2, too_large, 100, math.inf)
    first, second, third, fourth = compute_together(asked)
    assert second == Refusal(Code.PAYLOAD, "not a payload")
    assert isinstance(third, Refusal) and third.code is Code.FAILED
    assert first.status is fourth.status is Status.DONE


def test_a_batch_that_fails_is_run_one_by_one(batching, monkeypatch):
    def fails(self, partition, exit_, samples):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Executor, "outputs_of", fails)
    assert [found.status for found in compute_together(requests(batching, 2, 0, 2))] == [Status.DONE] * 2


def test_a_batch_that_no_replica_answers_has_failed(batching, monkeypatch):
    """One by one each task would wait as long again."""

    def fails(self, partition, exit_, samples):
        raise ReplicaError("no answer")

    monkeypatch.setattr(Executor, "outputs_of", fails)
    found = compute_together(requests(batching, 2, 0, 3))
    assert found == [Refusal(Code.FAILED, "edge: ReplicaError: no answer")] * 3


def test_threads_run_batches(batching):
    told, done = [], threading.Event()
    threads = WorkerThreads(1)
    threads.start()
    threads.execute_together(0, requests(batching, 2, 0, 4), lambda found: (told.extend(found), done.set()))
    assert done.wait(30)
    threads.close(5.0)
    assert [found.status for found in told] == [Status.DONE] * 4


def test_what_does_not_compute_the_same_is_not_run_in_batches(package, monkeypatch):
    once = Executor.outputs_of

    def mixed(self, partition, exit_, samples):
        return once(self, partition, exit_, samples)[::-1]

    monkeypatch.setattr(Executor, "outputs_of", mixed)
    batches = (SegmentBatches(exit=2, partition=0, sizes=(1, 2), ms=(1.0, 1.5)),)
    served = Served(package, profile=package.profile.model_copy(update={"edge_batches": batches}))
    served.warm()
    assert served.batch_sizes(0, 2) == (1,)


def test_without_room_for_them_there_are_no_batches(package):
    batches = (SegmentBatches(exit=2, partition=0, sizes=(1, 2), ms=(1.0, 1.5)),)
    profile = package.profile.model_copy(update={"edge_batches": batches})
    served = Served(package, Executor(package, memory_bytes=1 << 20, role="edge"), profile=profile)
    served.warm()
    assert served.batch_sizes(0, 2) == (1,)


def test_starts_take_any_work():
    starts = Starts(100.0, [5.0, 0.0])
    assert [starts.take(3.0), starts.take(4.0), starts.next(SimpleNamespace(predicted_ms=1.0))] == [100.0, 103.0, 105.0]
