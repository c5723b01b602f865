"""The edge without frames, sockets, threads and real time: order, what is taken, lateness, the load report."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from hasten.core.edge_order import earliest_deadline, first_come
from hasten.core.errors import InputError
from hasten.core.estimators import FORECAST_MEMORY_MS
from hasten.runtime.edge.carried import CarriedWork
from hasten.runtime.edge.core import LONGEST_WAIT_MS, OVERDUE_MS, EdgeCore
from hasten.runtime.edge.correction import FADES_MS
from hasten.runtime.edge.queue import QueueLimits
from hasten.runtime.edge.served import Computed, Refusal, Request, Served
from hasten.runtime.notes import Notes
from hasten.runtime.wire.frames import Code
from hasten.runtime.wire.tasks import EdgeAnswer, Status

TASK_MS = 10.0
FOREVER_MS = 1e6


class VirtualWorkers:
    """Every task takes ``factor`` times as long as its profile says, or ends when told to."""

    def __init__(self, clock, count=1):
        self.clock, self.count, self.factor = clock, count, 1.0
        self.outcome = None
        self.started, self.under_way = [], {}

    def start(self):
        pass

    def execute(self, worker, request, done):
        assert worker not in self.under_way
        self.started.append(request)
        self.under_way[worker] = done
        took_ms = request.served.edge_ms(request.cut, request.exit) * self.factor
        if math.isfinite(took_ms):
            self.clock.call_at(self.clock.now_ms() + took_ms, lambda: self.finish(worker, took_ms))

    def finish(self, worker, took_ms):
        outcome = self.outcome or Computed(Status.DONE, 3, 0.9, 0.0, took_ms)
        self.under_way.pop(worker)(outcome)

    def close(self, wait_s):
        pass


class Edge:
    """A core in virtual time, and what it has answered: (time, tag, outcome)."""

    def __init__(self, package, clock, workers=1, **options):
        profile = package.profile
        blocks = tuple(block.model_copy(update={"edge_ms": 0.0}) for block in profile.blocks)
        heads = tuple(head.model_copy(update={"edge_ms": TASK_MS}) for head in profile.exits)
        even = profile.model_copy(update={"blocks": blocks, "exits": heads})
        self.clock, self.told, self.said = clock, [], []
        self.served = Served(package, runner=object(), profile=even)
        self.workers = VirtualWorkers(clock, workers)
        notes = Notes(self.said.append, clock.now_ms)
        self.core = EdgeCore([self.served], self.workers, clock, notes=notes, **options)
        self.core.start()
        self.task_ms = self.served.edge_ms(0, 2)

    def submit(self, tag, within_ms=math.inf, size_bytes=100, cut=0, exit_=2, reply=None, device=None):
        def told(ticket, outcome):
            self.told.append((self.clock.now_ms(), tag, outcome))

        latest_ms = self.clock.now_ms() + within_ms
        request = Request(self.served, cut, exit_, list, size_bytes, latest_ms)
        return self.core.submit(request, reply or told, device or CarriedWork())

    @property
    def outcomes(self):
        return {tag: getattr(outcome, "status", getattr(outcome, "code", None)) for _, tag, outcome in self.told}

    def answered_ms(self, tag):
        (when_ms,) = [when_ms for when_ms, told, _ in self.told if told == tag]
        return when_ms


@pytest.fixture
def edge(package, clock):
    return Edge(package, clock)


def test_equal_deadlines_are_served_as_they_came(edge, clock):
    start_ms = clock.now_ms()
    for tag, cut in enumerate((0, 1, 2, 0, 1)):
        edge.submit(tag, cut=cut)
    clock.run(FOREVER_MS)
    assert [tag for _, tag, _ in edge.told] == [0, 1, 2, 3, 4]
    assert [request.cut for request in edge.workers.started] == [0, 1, 2, 0, 1]
    assert edge.answered_ms(2) == pytest.approx(start_ms + 3 * edge.task_ms)
    last = edge.told[-1][2]
    assert (last.status, last.exit, last.class_index, last.confidence) == (Status.DONE, 2, 3, 0.9)
    assert last.queue_us == pytest.approx(4000 * edge.task_ms, abs=2)
    assert last.compute_us == pytest.approx(1000 * edge.task_ms, abs=2)


def test_the_earliest_deadline_is_served_first(package, clock):
    """By the time that is left, not by the time that was given; first come, first served where that is asked for."""
    for order, expected in ((earliest_deadline, ["runs", "soon", "later", "any"]), (first_come, None)):
        edge = Edge(package, clock, order=order)
        tags = ("runs", "any", "later", "soon")
        for tag, within in zip(tags, (9.0, math.inf, 9.0, 5.0), strict=True):
            edge.submit(tag, within_ms=within * edge.task_ms)
        clock.run(FOREVER_MS)
        assert [tag for _, tag, _ in edge.told] == (expected or list(tags))


def test_a_device_is_told_of_the_work_before_its_next_task(package, clock):
    """What its task would overtake is none of its wait; with first come, first served all is."""
    for order, ahead in ((earliest_deadline, 1.0), (first_come, 4.0)):
        edge, hurried, patient = Edge(package, clock, order=order), CarriedWork(), CarriedWork()
        edge.submit("hopeless", within_ms=0.0, device=hurried)
        edge.submit("runs", within_ms=50.0 * edge.task_ms, device=patient)
        for tag in range(3):
            edge.submit(tag, within_ms=50.0 * edge.task_ms, device=patient)
        assert edge.core.report(hurried).backlog_ms == pytest.approx([ahead * edge.task_ms])
        assert edge.core.report(patient).backlog_ms == pytest.approx([4.0 * edge.task_ms])
        clock.run(FOREVER_MS)


def test_nobody_is_overtaken_who_would_be_late_for_it(edge, clock):
    """A promise to one that waits is worth more than a task that comes."""
    edge.submit("runs")
    edge.submit("waits", within_ms=2.5 * edge.task_ms)
    edge.submit("would overtake", within_ms=2.4 * edge.task_ms)
    assert edge.outcomes == {"would overtake": Status.LATE}
    edge.submit("may overtake", within_ms=3.5 * edge.task_ms)
    clock.run(FOREVER_MS)
    assert edge.outcomes == {
        "would overtake": Status.LATE,
        "runs": Status.DONE,
        "waits": Status.DONE,
        "may overtake": Status.DONE,
    }


def test_one_that_is_late_anyhow_keeps_nobody_out(edge, clock):
    edge.submit("runs")
    edge.submit("waits", within_ms=2.5 * edge.task_ms)
    edge.workers.factor = 1.0
    clock.run(0.5 * edge.task_ms)
    edge.core._slots._running[0].predicted_ms += 5.0 * edge.task_ms  # it turns out to take longer
    edge.submit("soon after", within_ms=1.9 * edge.task_ms)
    edge.submit("in time", within_ms=20.0 * edge.task_ms)
    assert edge.outcomes == {"soon after": Status.LATE}


def test_a_greedy_device_gives_way(edge, clock):
    """Its last task in the queue is told at once that it will be late; the others' are taken and finished."""
    greedy, modest = CarriedWork(), CarriedWork()
    edge.submit("runs", device=greedy)
    for tag in range(8):
        edge.submit(tag, within_ms=9.5 * edge.task_ms, device=greedy)
    edge.submit("modest", within_ms=9.5 * edge.task_ms, device=modest)
    assert edge.outcomes == {7: Status.LATE}
    clock.run(FOREVER_MS)
    assert edge.outcomes["modest"] is Status.DONE
    assert sum(outcome is Status.DONE for outcome in edge.outcomes.values()) == 9
    assert greedy.waiting_ms == modest.waiting_ms == 0.0


def test_a_full_queue_is_shared_too(package, clock):
    greedy, modest = CarriedWork(), CarriedWork()
    edge = Edge(package, clock, limits=QueueLimits(tasks=5))
    for tag in range(7):
        edge.submit(tag, device=greedy)
    assert edge.outcomes == {6: Code.BUSY}
    edge.submit("modest", device=modest)
    assert edge.outcomes == {6: Code.BUSY, 5: Status.LATE}
    for tag in range(7, 10):
        edge.submit(tag, device=modest)
    assert modest.waiting_ms == pytest.approx(2 * edge.task_ms)  # four of the greedy one's: one runs, three wait
    assert edge.outcomes == {6: Code.BUSY, 5: Status.LATE, 4: Status.LATE, 8: Code.BUSY, 9: Code.BUSY}


def test_alike_devices_do_not_push_each_other_out(edge, clock):
    one, two = CarriedWork(), CarriedWork()
    edge.submit("runs", device=one)
    edge.submit("one", within_ms=2.5 * edge.task_ms, device=one)
    edge.submit("two", within_ms=2.5 * edge.task_ms, device=two)
    edge.submit("two again", within_ms=2.5 * edge.task_ms, device=two)
    assert edge.outcomes == {"two": Status.LATE, "two again": Status.LATE}


def test_a_task_that_cannot_be_in_time_is_told_at_once(edge, clock):
    """Not when its turn comes, when the device could do nothing else any more."""
    edge.submit("runs")
    edge.submit("waits", within_ms=2.0 * edge.task_ms)
    edge.submit("hopeless", within_ms=2.9 * edge.task_ms)
    assert edge.outcomes == {"hopeless": Status.LATE}
    assert edge.told[0][2].report.waiting == 1
    clock.run(FOREVER_MS)
    assert edge.outcomes == {"hopeless": Status.LATE, "runs": Status.DONE, "waits": Status.DONE}


def test_a_task_that_has_become_late_does_not_wait_for_its_turn(edge, clock):
    edge.workers.factor = math.inf  # the worker is stuck
    edge.submit("stuck")
    edge.submit("waits", within_ms=5.0 * edge.task_ms)
    edge.submit("waits longer", within_ms=4.5 * edge.task_ms)
    start_ms = clock.now_ms()
    clock.run(FOREVER_MS)
    assert edge.outcomes == {"waits": Status.LATE, "waits longer": Status.LATE}
    assert edge.answered_ms("waits") == pytest.approx(start_ms + 4.0 * edge.task_ms)
    assert edge.answered_ms("waits longer") == pytest.approx(start_ms + 3.5 * edge.task_ms)
    assert clock.due == []


def test_who_is_not_taken_is_told_when_a_task_like_it_would_be(edge, clock):
    """To the moment: one that comes then is in time, one that comes before is not."""
    within_ms = 2.5 * edge.task_ms
    for tag in ("runs", "waits"):
        edge.submit(tag)
    for tag in ("next", "too many"):
        edge.submit(tag, within_ms=within_ms)
    retry_ms = edge.told[-1][2].retry_ms
    assert edge.outcomes == {"too many": Status.LATE} and retry_ms == pytest.approx(0.5 * edge.task_ms)
    clock.run(retry_ms - 0.1)
    edge.submit("too early", within_ms=within_ms)
    clock.run(0.2)
    edge.submit("as told", within_ms=within_ms)
    clock.run(FOREVER_MS)
    late = [tag for tag, outcome in edge.outcomes.items() if outcome is Status.LATE]
    assert late == ["too many", "too early"] and edge.outcomes["as told"] is Status.DONE


def test_one_with_too_little_time_for_an_idle_edge_is_not_told_to_come_again(edge, clock):
    edge.submit("runs")
    edge.submit("hopeless", within_ms=0.5 * edge.task_ms)
    (told,) = edge.told
    assert (told[2].status, told[2].retry_ms) == (Status.LATE, 0.0)


def test_a_stuck_worker_is_reckoned_with_and_told_of(edge, clock):
    edge.workers.factor = math.inf
    edge.submit("stuck")
    clock.run(OVERDUE_MS + 2 * edge.task_ms)
    assert edge.core.report().backlog_ms[0] == pytest.approx(OVERDUE_MS + edge.task_ms)
    edge.submit("soon", within_ms=OVERDUE_MS)
    assert edge.outcomes == {"soon": Status.LATE}
    edge.core.check()
    assert "stuck" in edge.said[0]


def test_goodput_at_twice_the_capacity_is_that_at_capacity(package, clock):
    edge = Edge(package, clock)
    for tag in range(1000):
        edge.submit(tag, within_ms=8.0 * edge.task_ms)
        clock.run(0.5 * edge.task_ms)
    clock.run(FOREVER_MS)
    counted = Counter(edge.outcomes.values())
    assert counted[Status.DONE] >= 500
    assert counted[Status.DONE] + counted[Status.LATE] == 1000
    waited_ms = [outcome.queue_us / 1000.0 for _, _, outcome in edge.told if outcome.status is Status.LATE]
    assert max(waited_ms) == 0.0


@pytest.mark.parametrize(
    ("limits", "code"), [(QueueLimits(tasks=3), "3 tasks wait"), (QueueLimits(size_bytes=350), "300 bytes wait")]
)
def test_the_queue_is_bounded_also_for_tasks_that_never_expire(package, clock, limits, code):
    edge = Edge(package, clock, limits=limits)
    for tag in range(6):
        edge.submit(tag)
    refused = [outcome for _, _, outcome in edge.told]
    assert [refusal.code for refusal in refused] == [Code.BUSY] * 2
    assert code in refused[0].text
    assert refused[0].retry_ms == pytest.approx(edge.task_ms)  # then the next one starts, and leaves its place
    clock.run(FOREVER_MS)
    assert Counter(edge.outcomes.values()) == {Status.DONE: 4, Code.BUSY: 2}
    edge.submit("later")
    clock.run(FOREVER_MS)
    assert edge.outcomes["later"] is Status.DONE


def test_an_abandoned_task_is_neither_run_nor_counted(edge, clock):
    edge.submit("runs")
    gone = [edge.submit(("gone", i)) for i in range(3)]
    edge.submit("stays")
    for ticket in gone:
        edge.core.abandon(ticket)
    report = edge.core.report()
    assert report.waiting == 1
    assert report.backlog_ms[0] == pytest.approx(2 * edge.task_ms)
    clock.run(FOREVER_MS)
    assert edge.outcomes == {"runs": Status.DONE, "stays": Status.DONE}
    assert len(edge.workers.started) == 2
    assert edge.core.totals == {"abandoned": 3, "done": 2}


def test_what_has_left_is_not_kept_in_memory(edge, clock):
    """Last moments far ahead keep no task alive, however many come and go before."""
    import gc
    import weakref

    edge.submit("runs")
    tickets = []
    for _ in range(2000):
        ticket = edge.submit("gone", within_ms=0.9 * LONGEST_WAIT_MS)
        tickets.append(weakref.ref(ticket))
        edge.core.abandon(ticket)
    del ticket
    gc.collect()
    assert not any(ticket() for ticket in tickets)
    assert len(edge.core._last_starts._entries) < 1000


@pytest.mark.parametrize("latest_ms", [1e300, -1e300, -math.inf, math.inf])
def test_any_last_moment_may_be_asked_for(edge, clock, latest_ms):
    edge.submit("runs")
    edge.submit("odd", within_ms=latest_ms)
    clock.run(FOREVER_MS)
    assert edge.outcomes["odd"] is (Status.DONE if latest_ms > 0 else Status.LATE)


def test_backlog_is_the_remaining_work(edge, clock):
    assert edge.core.report().backlog_ms == (0.0,)
    for tag in range(4):
        edge.submit(tag)
    clock.run(0.25 * edge.task_ms)
    report = edge.core.report()
    assert report.waiting == 3
    assert report.backlog_ms[0] == pytest.approx(3.75 * edge.task_ms)
    assert edge.core.report().sequence == report.sequence + 1


def test_several_workers_share_one_queue(package, clock):
    edge = Edge(package, clock, workers=2)
    for tag in range(5):
        edge.submit(tag)
    assert set(edge.workers.under_way) == {0, 1}
    clock.run(0.5 * edge.task_ms)
    assert edge.core.report().backlog_ms == pytest.approx([1.5 * edge.task_ms, 2.5 * edge.task_ms + 0.0])
    clock.run(FOREVER_MS)
    assert edge.answered_ms(4) == pytest.approx(1000.0 + 3 * edge.task_ms)


def test_a_report_costs_the_same_however_many_wait(package, clock):
    """Counted in steps of the queue, not in time."""
    edge = Edge(package, clock, workers=2, limits=QueueLimits(tasks=100_000, size_bytes=1 << 40))
    for tag in range(5000):
        edge.submit(tag)
    laid_out = []
    tickets = edge.core._queue._tickets

    class Counting(type(tickets)):
        def __iter__(self):
            for ticket in super().__iter__():
                laid_out.append(ticket)
                yield ticket

    edge.core._queue._tickets = Counting(tickets)
    report = edge.core.report()
    assert len(laid_out) <= 64
    assert sum(report.backlog_ms) == pytest.approx(5000 * edge.task_ms)
    assert report.backlog_ms[1] - report.backlog_ms[0] <= edge.task_ms


def test_the_edge_learns_how_long_tasks_really_take(edge, clock):
    edge.workers.factor = 3.0
    for tag in range(40):
        edge.submit(tag)
    clock.run(120 * edge.task_ms)
    edge.submit("runs")
    assert edge.core.report().backlog_ms[0] == pytest.approx(3.0 * edge.task_ms, rel=0.05)


def test_an_edge_that_was_slow_once_is_tried_again(edge, clock):
    """All tasks refused because they were slow: without a measurement that must not last for ever."""
    edge.workers.factor = 5.0
    for tag in range(60):
        edge.submit(tag)
    clock.run(300 * edge.task_ms)
    edge.submit("too soon", within_ms=2.0 * edge.task_ms)
    assert edge.outcomes["too soon"] is Status.LATE
    edge.workers.factor = 1.0
    clock.run(2.0 * FADES_MS)
    edge.submit("tried", within_ms=2.0 * edge.task_ms)
    clock.run(FOREVER_MS)
    assert edge.outcomes["tried"] is Status.DONE


def test_refusals_and_outputs_that_are_not_finite_go_back_to_who_asked(edge, clock):
    edge.workers.outcome = Refusal(Code.FAILED, "broken head")
    edge.submit("failed")
    clock.run(FOREVER_MS)
    edge.workers.outcome = Computed(Status.INVALID, 0, 0.0, 0.0, 1.0)
    edge.submit("invalid")
    clock.run(FOREVER_MS)
    edge.workers.outcome = None
    edge.submit("fine")
    clock.run(FOREVER_MS)
    assert edge.outcomes == {"failed": Code.FAILED, "invalid": Status.INVALID, "fine": Status.DONE}
    assert edge.core.totals == {"refused (failed)": 1, "invalid": 1, "done": 1}


def test_a_reply_that_fails_is_nobody_elses_trouble(edge, clock):
    def broken(ticket, outcome):
        raise OSError("no disk")

    edge.submit("broken", reply=broken)
    edge.submit("fine")
    clock.run(FOREVER_MS)
    assert edge.outcomes == {"fine": Status.DONE}
    assert edge.said == ["edge: an answer could not be handed over: OSError: no disk"]


def test_draining_answers_what_runs_and_refuses_what_waits(edge, clock):
    idle = []
    edge.submit("runs")
    edge.submit("waits")
    edge.core.drain("it ends", lambda: idle.append(clock.now_ms()))
    edge.submit("comes")
    assert edge.outcomes == {"waits": Code.CLOSING, "comes": Code.CLOSING}
    assert idle == []
    clock.run(FOREVER_MS)
    assert edge.outcomes["runs"] is Status.DONE
    assert idle == [edge.answered_ms("runs")]


def test_draining_an_idle_edge_takes_no_time(edge):
    idle = []
    edge.core.drain("it ends", lambda: idle.append(True))
    assert idle == [True]


@pytest.mark.parametrize(("cut", "exit_"), [(3, 2), (2, 1), (0, 3), (9, 9), (0, 0)])
def test_unknown_cuts_and_exits_are_refused(edge, cut, exit_):
    edge.submit("odd", cut=cut, exit_=exit_)
    ((_, _, refusal),) = edge.told
    assert refusal.code is Code.CUT
    assert f"cut {cut} for exit {exit_}" in refusal.text


def test_bad_numbers(package, clock):
    with pytest.raises(InputError, match="slowdown"):
        Served(package, runner=object(), slowdown=0.5)
    with pytest.raises(InputError, match="packages"):
        EdgeCore([], VirtualWorkers(clock), clock)


def test_a_profile_of_another_network_is_refused(package):
    other = package.profile.model_copy(
        update={"blocks": package.profile.blocks[:-1], "exits": package.profile.exits[:1]}
    )
    with pytest.raises(InputError, match="blocks, exits"):
        Served(package, runner=object(), profile=other)


def test_every_task_has_one_outcome_whatever_happens(package, clock):
    """Random tasks, devices that leave, a worker faster or slower than promised: nothing is lost or told twice."""
    rng = np.random.default_rng(5)
    edge = Edge(package, clock, workers=3, limits=QueueLimits(tasks=20, size_bytes=5000))
    abandoned = set()
    for tag in range(600):
        edge.workers.factor = float(rng.uniform(0.3, 3.0))
        within_ms = math.inf if rng.random() < 0.2 else float(rng.uniform(0.0, 15.0 * edge.task_ms))
        ticket = edge.submit(tag, within_ms=within_ms, size_bytes=int(rng.integers(1, 600)))
        if rng.random() < 0.1 and ticket in edge.core._queue:
            edge.core.abandon(ticket)
            abandoned.add(tag)
        clock.run(float(rng.exponential(0.3 * edge.task_ms)))
        report = edge.core.report()
        assert list(report.backlog_ms) == sorted(report.backlog_ms)
        assert min(report.backlog_ms) >= 0.0
    clock.run(FOREVER_MS)
    told = [tag for _, tag, _ in edge.told]
    assert sorted(told) == sorted(set(range(600)) - abandoned)
    assert all(isinstance(outcome, EdgeAnswer | Refusal) for _, _, outcome in edge.told)
    assert edge.core.report().backlog_ms == (0.0, 0.0, 0.0)
    assert edge.core._queue.size_bytes == 0


def test_a_device_is_told_of_the_work_of_the_others_only(edge, clock):
    one, two = CarriedWork(), CarriedWork()
    begun_ms = []
    for _ in range(5):
        begun_ms.append(clock.now_ms())
        edge.submit("one", device=one)
        clock.run(3.0 * edge.task_ms)
    for_one, for_two = edge.core.report(one), edge.core.report(two)
    now = clock.now_ms()
    expected = sum(
        edge.task_ms / FORECAST_MEMORY_MS * math.exp((at_ms - now) / FORECAST_MEMORY_MS) for at_ms in begun_ms
    )
    assert (for_one.others_load, for_one.others_residual_ms) == (0.0, 0.0)  # to the bit
    assert for_two.others_load == pytest.approx(expected)
    assert for_two.others_residual_ms == pytest.approx(0.5 * edge.task_ms * expected)
    edge.submit("two", device=two)
    assert edge.core.report(one).others_load == pytest.approx(edge.task_ms / FORECAST_MEMORY_MS)
    assert edge.core.report(two).others_load == pytest.approx(expected)
    clock.run(20.0 * FORECAST_MEMORY_MS)
    assert edge.core.report(two).others_load < 1e-6


def test_only_work_that_begins_counts(edge, clock):
    device = CarriedWork()
    edge.submit("runs", device=device)
    edge.submit("cannot be in time", within_ms=0.5 * edge.task_ms, device=device)
    edge.submit("waits", device=device)
    assert edge.core.report().others_load == pytest.approx(edge.task_ms / FORECAST_MEMORY_MS)
    clock.run(1.5 * edge.task_ms)
    fade = math.exp(-1.5 * edge.task_ms / FORECAST_MEMORY_MS), math.exp(-0.5 * edge.task_ms / FORECAST_MEMORY_MS)
    assert edge.core.report().others_load == pytest.approx(edge.task_ms / FORECAST_MEMORY_MS * sum(fade))


def test_more_workers_begin_at_once_and_fewer_finish_what_they_run(package, clock):
    edge = Edge(package, clock, workers=3)
    edge.core.resize(1)
    assert edge.core.workers == 1
    start_ms = clock.now_ms()
    for tag in range(5):
        edge.submit(tag)
    assert len(edge.workers.under_way) == 1
    assert len(edge.core.report().backlog_ms) == 1
    edge.core.resize(3)
    assert len(edge.workers.under_way) == 3
    assert edge.core.report().backlog_ms == pytest.approx((edge.task_ms, 2 * edge.task_ms, 2 * edge.task_ms))
    edge.core.resize(1)
    clock.run(FOREVER_MS)
    ends = [when_ms - start_ms for when_ms, _, _ in edge.told]
    assert ends == pytest.approx([edge.task_ms] * 3 + [2 * edge.task_ms, 3 * edge.task_ms])
    assert edge.core.report().backlog_ms == (0.0,)
    edge.core.resize(2)
    assert edge.core.report().backlog_ms == (0.0, 0.0)


@pytest.mark.parametrize("count", [0, 3])
def test_there_are_only_so_many_workers(package, clock, count):
    with pytest.raises(InputError, match=r"workers: got \d, expected 1..2"):
        Edge(package, clock, workers=2).core.resize(count)


def test_work_offered_is_counted_whether_taken_or_not(edge):
    edge.submit("runs")
    edge.submit("waits")
    edge.submit("not in time beside them", within_ms=1.5 * edge.task_ms)
    edge.submit("in time nowhere", within_ms=0.5 * edge.task_ms)
    assert edge.core.counts.offered_ms == pytest.approx(3 * edge.task_ms)
