"""How long a stage takes for a task, compiled, and whether it is still worth starting."""

from __future__ import annotations

from hasten.core.compiled import inlined
from hasten.core.timing import transfer_end
from hasten.sim.arrays import FloatArray, Links, Rules, Tasks


@inlined
def transfer(start_ms: float, payload_bits: float, links: Links, row: int, link: int) -> float:
    """When a transfer over one of a row's links ends."""
    begin, end = links.begin[row, link], links.end[row, link]
    return transfer_end(
        start_ms,
        payload_bits,
        links.from_ms[begin:end],
        links.bits_per_ms[begin:end],
        links.sent_bits[begin:end],
        links.period_ms[row, link],
    )


@inlined
def needs_column(task: int, stream: int, option: int, tasks: Tasks, rules: Rules) -> int:
    """The column of ``rules.needs`` of a task with ``option``: where it stops, it knows by itself."""
    exits = rules.needs.until.shape[2]
    ease = tasks.ease[task] if len(tasks.ease) > 0 else 1.0  # none is easy
    k = 0
    while k < exits - 1 and ease >= rules.needs.until[stream, option, k]:
        k += 1
    return int(option * exits + k)


@inlined
def taken_ms(profiled_ms: float, factor: FloatArray, task: int) -> float:
    """How long a stage takes for a task, by its factor where there are any."""
    return float(profiled_ms * factor[task]) if len(factor) > 0 else profiled_ms


@inlined
def taken_at_edge_ms(profiled_ms: float, tasks: Tasks, task: int, edge: int) -> float:
    """How long an edge takes for a task, by the task's factor there where there are any."""
    return float(profiled_ms * tasks.edge_factor[task, edge]) if len(tasks.edge_factor) > 0 else profiled_ms


@inlined
def extra_ms(tasks: Tasks, task: int, offloaded: bool) -> float:
    """How much later than its last stage's end a task's answer is there."""
    later_ms = tasks.offload_extra_ms if offloaded else tasks.local_extra_ms
    return float(later_ms[task]) if len(later_ms) > 0 else 0.0


@inlined
def too_late(start_ms: float, ahead_ms: float, arrival_ms: float, stream: int, rules: Rules) -> bool:
    """Whether an answer is worthless already now: a stage starts and at least ``ahead_ms`` is still to come."""
    return not start_ms + ahead_ms - arrival_ms <= rules.useful_ms[stream]
