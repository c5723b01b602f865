"""The edge node without its sockets: which tasks are taken, when each runs, and the load that is reported.

Typed requests come in, typed answers go out through a call that comes with each request; any server can stand around
it. The core creates no thread and asks no global clock: both are given. It may be called from several threads.

What is taken is bounded by number, by bytes and by time (:mod:`.admission`). A task that could not be in time beside
those here is answered LATE at once, one whose last moment to start passes while it waits at that moment.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from hasten.core.edge_batches import WINDOW
from hasten.core.edge_order import ServiceOrder, earliest_deadline
from hasten.runtime.clock import Clock
from hasten.runtime.edge.admission import Admission
from hasten.runtime.edge.carried import CarriedWork, others_work
from hasten.runtime.edge.correction import ServiceCorrection
from hasten.runtime.edge.counts import EdgeCounts
from hasten.runtime.edge.outcomes import answered, late
from hasten.runtime.edge.queue import LastStarts, QueueLimits, Reply, TaskQueue, Ticket
from hasten.runtime.edge.served import Computed, Refusal, Request, Served
from hasten.runtime.edge.services import Services
from hasten.runtime.edge.slots import WorkerSlots
from hasten.runtime.edge.together import companions
from hasten.runtime.edge.workers import Workers
from hasten.runtime.notes import Notes
from hasten.runtime.wire.frames import Code
from hasten.runtime.wire.load import LoadReport
from hasten.runtime.wire.tasks import EdgeAnswer

OVERDUE_MS, LONGEST_WAIT_MS = 5_000.0, 3_600_000.0
"""A task that takes so much longer than predicted is told of; what may start later than in so long is not watched."""

Start = tuple[int, list[Ticket]]  # a worker, and what it is to run at once
Told = list[tuple[Ticket, EdgeAnswer | Refusal]]  # who is told what once the lock is let go


class EdgeCore:
    """Packages in service, the queue, and who runs what.

    Args:
        services: what is served; a device names its package by digest.
        workers: executes tasks.
        clock: tells the time, and when a task's last moment has come.
        limits: how much may wait.
        order: of service; by default earliest deadline first.
        notes: told what an operator should know.

    Attributes:
        services: what is served.
        counts: what became of tasks.
        totals: of these, how many tasks ended how.
    """

    def __init__(
        self,
        services: Sequence[Served],
        workers: Workers,
        clock: Clock,
        limits: QueueLimits | None = None,
        order: ServiceOrder = earliest_deadline,
        notes: Notes | None = None,
    ) -> None:
        self.services = Services(services)
        self.clock = clock
        self.slowdown = services[0].slowdown
        self.counts = EdgeCounts()
        self.totals = self.counts.totals
        self.notes = notes or Notes(lambda text: None)
        self._workers = workers
        self._queue = TaskQueue(order)
        self._lock = threading.Lock()
        self._slots = WorkerSlots(workers.count)
        self._last_starts = LastStarts()
        self._awaited_ms = math.inf
        self._correction = ServiceCorrection()
        self._carried = CarriedWork()
        self._admission = Admission(self._queue, limits or QueueLimits(), self._carried, order is earliest_deadline)
        self._sequence = 0
        self._closing: Refusal | None = None
        self._when_idle: Callable[[], None] | None = None

    @property
    def workers(self) -> int:
        """How many tasks run at a time."""
        return self._slots.count

    def start(self) -> None:
        """Warm every segment up, then have the workers get ready."""
        for served in self.services.all:
            served.warm()
        self._workers.start()

    def let_go(self) -> list[Served]:
        """Retired packages that nobody uses any more; they are not served from now on."""
        gone = self.services.let_go(self.clock.now_ms())
        with self._lock:
            for served in gone:
                self._correction.forget(served.digest)
        return gone

    def drain(self, why: str, when_idle: Callable[[], None]) -> None:
        """Take no more tasks, refuse those that wait, and call ``when_idle``, from any thread, once nothing runs."""
        with self._lock:
            self._closing = Refusal(Code.CLOSING, why)
            left = [self._queue.take() for _ in range(len(self._queue))]
            self.counts.ended(*[self._closing] * len(left))
            busy = not self._slots.idle
            self._when_idle = when_idle if busy else None
        self._tell((ticket, self._closing) for ticket in left)
        if not busy:
            when_idle()

    def close(self, wait_s: float = 1.0) -> None:
        """End the workers, after what they are at but for so long at most."""
        self._workers.close(wait_s)

    def submit(self, request: Request, reply: Reply, device: CarriedWork) -> Ticket:
        """Take a task of a device. ``reply`` is called once, from any thread, perhaps before this returns."""
        with self._lock:
            now = self.clock.now_ms()
            device.within_ms = request.latest_ms - now
            profiled_ms = request.served.edge_ms(request.cut, request.exit, request.may_stop) or 0.0
            ratio = self._correction.ratio(request.segment, now)
            sizes = request.served.batch_sizes(request.cut, request.exit, request.may_stop)
            ticket = Ticket(request, reply, device, now, profiled_ms, profiled_ms * ratio, sizes)
            told: Told = []
            start = None
            self.counts.came(ticket.predicted_ms, in_time=now <= ticket.last_start_ms)
            outcome = self._objection(ticket, now, told)
            if outcome is not None:
                told.append((ticket, outcome))
            elif (worker := self._slots.take()) is not None:
                start = self._start(worker, [ticket], now)
            else:
                self._wait(ticket, now)
            self.counts.ended(*(outcome for _, outcome in told))
        self._tell(told)
        self._run(start)
        return ticket

    def resize(self, workers: int) -> None:
        """Run so many tasks at a time from now on, of the workers there are; what runs is finished."""
        told: Told = []
        with self._lock:
            now = self.clock.now_ms()
            starts = [self._next(worker, now, told) for worker in self._slots.resize(workers)]
            self.counts.ended(*(outcome for _, outcome in told))
        for start in starts:
            self._run(start)
        self._tell(told)

    def abandon(self, ticket: Ticket) -> None:
        """Nobody waits for this task any more: unless it runs already it will not."""
        with self._lock:
            if self._queue.remove(ticket):
                self.totals["abandoned"] += 1

    def report(self, device: CarriedWork | None = None) -> LoadReport:
        """Predicted backlog of each worker now, and what all but this device lately ask of the edge.

        The backlog is the remaining work of tasks that would run before another with as much time as the device's last,
        one by one: how many will run at once is not known yet, and devices that count on it ask for more than there is.
        """
        with self._lock:
            return self._report(device or CarriedWork(), self.clock.now_ms())

    def check(self) -> None:
        """Tell of tasks that run for far longer than predicted; to be called now and then."""
        with self._lock:
            overdue_ms = self._slots.overdue_ms(self.clock.now_ms())
        for by_ms in (it for it in overdue_ms if it > OVERDUE_MS):
            text = f"edge: a task runs for {by_ms / 1000.0:.0f} s longer than predicted; its worker is stuck"
            self.notes.tell("stuck", text)

    # Up to the next heading with the lock held
    def _objection(self, ticket: Ticket, now: float, told: Told) -> EdgeAnswer | Refusal | None:
        """Why a task is not taken, if it is not; those that give way to it leave the queue."""
        request = ticket.request
        if self._closing is not None:
            return self._closing
        if not request.served.has(request.cut, request.exit):
            text = f"SUBMIT: got cut {request.cut} for exit {request.exit}, expected one that this package has"
            return Refusal(Code.CUT, text)
        admitted = self._admission.judge(ticket, self._slots.left_ms(now))
        for other in admitted.gave_way:
            self._queue.remove(other)
            told.append((other, self._late(other, now)))
        return None if admitted.taken else admitted.refusal or self._late(ticket, now)

    def _wait(self, ticket: Ticket, now: float) -> None:
        self._queue.add(ticket)
        if ticket.last_start_ms < now + LONGEST_WAIT_MS:
            self._last_starts.add(ticket, self._queue)
            self._await_last_start()

    def _start(self, worker: int, tickets: list[Ticket], now: float) -> Start:
        """The first of several that are run at once stands for them in what is left."""
        head, factor = tickets[0], tickets[0].factor(len(tickets))
        for ticket in tickets:
            ticket.started_ms = now
            share_ms = ticket.predicted_ms * factor / len(tickets)
            self._carried.began(share_ms, now)
            ticket.device.began(share_ms, now)
        head.predicted_ms *= factor
        self._slots.begins(worker, head)
        return worker, tickets

    def _next(self, worker: int, now: float, told: Told) -> Start | None:
        """What a worker that has become free does next; those whose turn comes too late are told so."""
        while len(self._queue) and self._slots.stays(worker):
            ticket = self._queue.take()
            if now <= ticket.last_start_ms:
                others_ms = self._slots.left_ms(now, besides=worker)
                members = companions(ticket, self._queue.first(WINDOW), now, others_ms)
                for member in members:
                    self._queue.remove(member)
                return self._start(worker, [ticket, *members], now)
            told.append((ticket, self._late(ticket, now)))
        self._slots.waits(worker)
        return None

    def _report(self, device: CarriedWork, now: float) -> LoadReport:
        self._sequence += 1
        others = others_work(self._carried, device, now)
        backlog_ms = self._queue.forecast(self._slots.left_ms(now), now, device.within_ms)
        return LoadReport(self._sequence, len(self._queue), tuple(backlog_ms), *others)

    def _late(self, ticket: Ticket, now: float) -> EdgeAnswer:
        retry_ms = self._admission.retry_ms(ticket, self._slots.left_ms(now), now)
        return late(ticket, now, self._report(ticket.device, now), retry_ms)

    def _outcome(self, ticket: Ticket, one: Computed | Refusal, now: float, size: int) -> EdgeAnswer | Refusal:
        return one if isinstance(one, Refusal) else answered(ticket, one, now, size, self._report(ticket.device, now))

    def _await_last_start(self) -> None:
        """Be called when the next waiting task's last moment has passed."""
        next_ms = self._last_starts.next_ms
        if next_ms < self._awaited_ms:
            self._awaited_ms = next_ms
            self.clock.call_at(next_ms, partial(self._last_start_passed, next_ms))

    # Without the lock
    def _last_start_passed(self, awaited_ms: float) -> None:
        """Those that wait and could not be in time any more are told so."""
        with self._lock:
            if awaited_ms != self._awaited_ms:
                return  # an earlier one came to be awaited meanwhile
            now = self.clock.now_ms()
            passed = [ticket for ticket in self._last_starts.passed(now) if self._queue.remove(ticket)]
            told = [(ticket, self._late(ticket, now)) for ticket in passed]
            self._awaited_ms = math.inf
            self._await_last_start()
            self.counts.ended(*(outcome for _, outcome in told))
        self._tell(told)

    def _run(self, start: Start | None) -> None:
        """Have a worker begin."""
        if start is None:
            return
        worker, tickets = start
        if len(tickets) == 1:
            self._workers.execute(worker, tickets[0].request, lambda it: self._done(worker, tickets, [it]))
        else:
            self._workers.execute_together(worker, [it.request for it in tickets], partial(self._done, worker, tickets))

    def _done(self, worker: int, tickets: list[Ticket], computed: Sequence[Computed | Refusal]) -> None:
        """A worker has finished tasks: it gets its next ones, then those are answered."""
        told: Told = []
        idle = None
        with self._lock:
            now = self.clock.now_ms()
            for ticket, one in zip(tickets, computed, strict=True):
                if isinstance(one, Computed):
                    took_ms = one.decode_ms + one.compute_ms
                    self.counts.ran(ticket.started_ms - ticket.arrived_ms, took_ms, ticket.share(len(tickets)))
                    self._correction.measured(*ticket.request.ran(one.stopped, ticket.profiled_ms), took_ms, now)
            start = self._next(worker, now, told)
            told += [(it, self._outcome(it, one, now, len(tickets))) for it, one in zip(tickets, computed, strict=True)]
            self.counts.ended(*(outcome for _, outcome in told))
            if self._slots.idle:
                idle, self._when_idle = self._when_idle, None
        self._run(start)
        self._tell(reversed(told))
        if idle is not None:
            idle()

    def _tell(self, told: Iterable[tuple[Ticket, EdgeAnswer | Refusal]]) -> None:
        """Reply; a reply that fails is its asker's trouble and nobody else's."""
        for ticket, outcome in told:
            try:
                ticket.reply(ticket, outcome)
            except Exception as error:
                self.notes.tell("reply", f"edge: an answer could not be handed over: {type(error).__name__}: {error}")
