"""Tasks of one segment that are run at once: who with whom, by the measured times of batches, and how it is done.

A batch is worth while if it takes less than its tasks one by one. It must make nobody late: neither a task in it, which
ends with the whole batch, nor one that waits and is overtaken.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from hasten.runtime.edge.queue import Starts, Ticket
from hasten.runtime.edge.served import Computed, Refusal, ReplicaError, Request, compute, computed, failed, read_answer
from hasten.runtime.outputs import Outputs
from hasten.runtime.pace import dilated, now_ms
from hasten.runtime.wire.frames import Code
from hasten.split.codecs import CodecError

WINDOW = 64
"""So many waiting tasks, the next in turn, are looked at."""


def companions(
    head: Ticket, waiting: Sequence[Ticket], now: float, others_ms: Sequence[float] | None = None
) -> list[Ticket]:
    """Who of those that wait (in order of service) is best run at once with ``head``, whose turn it is.

    Of the numbers that make none in the batch late, that which takes least per task. With ``others_ms``, what is left
    of what the other workers run, it makes none of those late either that are overtaken.
    """
    if head.together < 2:
        return []
    segment = head.request.segment
    alike = [ticket for ticket in waiting if ticket.together > 1 and ticket.request.segment == segment]
    if not alike:
        return []
    best: list[Ticket] = []
    least = 1.0
    for count in _counts(head, len(alike) + 1):
        factor = head.factor(count)
        ends_ms = now + factor * head.predicted_ms
        members = [ticket for ticket in alike if ends_ms <= ticket.request.latest_ms][: count - 1]
        if factor / count >= least or len(members) < count - 1 or ends_ms > head.request.latest_ms:
            continue
        if others_ms is None or not _hurts(head, members, waiting, now, others_ms):
            best, least = members, factor / count
    return best


def all_in_time(tickets: Iterable[Ticket], busy_ms: Sequence[float], now: float) -> bool:
    """Whether all tasks, in order of service, could be in time when alike ones are run at once."""
    left = list(tickets)
    free_ms = [now + busy for busy in busy_ms]
    heapq.heapify(free_ms)
    while left:
        start_ms, head = free_ms[0], left.pop(0)
        members = companions(head, left, start_ms)
        ends_ms = start_ms + head.factor(len(members) + 1) * head.predicted_ms
        if ends_ms > head.request.latest_ms:
            return False
        gone = set(members)
        left = [ticket for ticket in left if ticket not in gone]
        heapq.heapreplace(free_ms, ends_ms)
    return True


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


def _counts(head: Ticket, most: int) -> list[int]:
    """Numbers of tasks that may be best: the measured ones, between which the time is that of the next, and all."""
    most = min(most, head.together)
    return sorted({count for count in head.sizes if 1 < count <= most} | {most})


def _hurts(
    head: Ticket, members: Sequence[Ticket], waiting: Sequence[Ticket], now: float, others_ms: Sequence[float]
) -> bool:
    """Whether one that is overtaken would be late for it, and is not otherwise."""
    gone = set(members)
    before, after = (Starts(now, [0.0, *others_ms]) for _ in range(2))
    before.take(head.predicted_ms)
    after.take(head.factor(len(members) + 1) * head.predicted_ms)
    for ticket in waiting:
        in_time = before.next(ticket) <= ticket.last_start_ms
        if ticket not in gone and after.next(ticket) > ticket.last_start_ms and in_time:
            return True
    return False
