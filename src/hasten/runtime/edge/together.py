"""Tasks of one segment that are run at once: who with whom, by the measured times of batches, and how it is done.

Who runs with whom is the law of ``core.edge_batches``, which the simulator has in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hasten.core import edge_batches as law
from hasten.runtime.edge.correction import Segment
from hasten.runtime.edge.queue import Ticket
from hasten.runtime.edge.served import Computed, Refusal, ReplicaError, Request, compute, computed, failed, read_answer
from hasten.runtime.outputs import Outputs
from hasten.runtime.pace import dilated, now_ms
from hasten.runtime.wire.frames import Code
from hasten.split.codecs import CodecError


def companions(
    head: Ticket, waiting: Sequence[Ticket], now: float, others_ms: Sequence[float] | None = None
) -> list[Ticket]:
    """Who of those that wait (in order of service) is best run at once with ``head``, whose turn it is.

    With ``others_ms``, what is left of what the other workers run, ascending, none of those that are overtaken is made
    late either: see ``core.edge_batches``.
    """
    if head.together < 2 or not any(_kind(ticket) == head.request.segment for ticket in waiting):
        return []
    tickets = [head, *waiting]
    laid_out, times = _laid_out(tickets)
    busy_ms = [] if others_ms is None else [0.0, *others_ms]
    law.choose_batch(laid_out, len(tickets), now, times, busy_ms, (busy_ms.copy(), busy_ms.copy()))
    return [ticket for ticket, joins in zip(waiting, laid_out.joins[1:], strict=True) if joins]


def all_in_time(tickets: Iterable[Ticket], busy_ms: Sequence[float], now: float) -> bool:
    """Whether all tasks, in order of service, could be in time when alike ones are run at once."""
    waiting, times = _laid_out(list(tickets))
    return law.all_in_time(waiting, len(waiting.kind), times, sorted(now + busy for busy in busy_ms), ())


def compute_together(requests: Sequence[Request]) -> list[Computed | Refusal]:
    """Run tasks of one segment at once on the calling thread; one that cannot be decoded is refused, the others go on.

    The times told are those that each would have taken alone, by the measured times of batches: what device and edge
    learn of a segment does not depend on who came along. If the batch fails they are run one by one; if no replica
    answers, all have failed: each would wait as long again.
    """
    first = requests[0]
    served, started_ms = first.served, now_ms()
    tensors = []
    refused: dict[int, Refusal] = {}
    for i, request in enumerate(requests):
        try:
            tensors.append(request.tensors())
        except CodecError as error:
            refused[i] = Refusal(Code.PAYLOAD, str(error))
        except BaseException as error:  # as of one task alone: whatever it is, the worker goes on
            refused[i] = failed(error)
    decoded_ms = now_ms() - started_ms
    if not tensors:
        return [refused[i] for i in range(len(requests))]
    profiled_ms = (served.edge_ms(first.cut, first.exit) or 0.0) / served.slowdown
    factor = served.batch_factor(first.cut, first.exit, len(tensors)) if len(tensors) > 1 else 1.0

    def work() -> Sequence[Outputs]:
        return served.runner.outputs_of(first.cut, first.exit, tensors)

    try:
        found, took_ms = dilated(served.slowdown, factor * profiled_ms, work)
    except ReplicaError as error:
        return [refused.get(i) or failed(error) for i in range(len(requests))]
    except BaseException:  # one task's failure must not be another's
        return [refused[i] if i in refused else compute(request) for i, request in enumerate(requests)]
    decode_ms = decoded_ms / len(requests)
    compute_ms = max((decoded_ms + took_ms) / factor - decode_ms, 0.0)
    outputs = iter(found)

    def answer(request: Request) -> Computed | Refusal:
        try:
            return computed(*read_answer(request, next(outputs)), decode_ms, compute_ms)
        except Exception as error:
            return failed(error)

    return [refused[i] if i in refused else answer(request) for i, request in enumerate(requests)]


def _kind(ticket: Ticket) -> Segment | None:
    """What tasks that may be run at once with this one share; None if there are none."""
    return ticket.request.segment if ticket.together > 1 else None


def _laid_out(tickets: Sequence[Ticket]) -> tuple[law.Waiting, law.BatchTimes]:
    """Tasks in order of service, as the law reads them, and the times of their batches."""
    numbers: dict[Segment | None, int] = {None: law.BY_ITSELF}
    times = law.BatchTimes([], [])
    for ticket in tickets:
        if numbers.setdefault(_kind(ticket), len(times.sizes)) == len(times.sizes):
            times.sizes.append(ticket.sizes)
            times.factors.append([ticket.factor(size) for size in ticket.sizes])
    waiting = law.Waiting(
        work_ms=[ticket.predicted_ms for ticket in tickets],
        latest_ms=[ticket.request.latest_ms for ticket in tickets],
        kind=[numbers[_kind(ticket)] for ticket in tickets],
        joins=[False] * len(tickets),
    )
    return waiting, times
