"""Whose turn it is on an uplink and at an edge where tasks wait, compiled.

The law of an edge that serves the earliest deadline first is that of the runtime's edge (``core.edge_order``). For it
tasks at the edge, or on their way there, are laid out in the state's scratch arrays in order of arrival, equal ones in
order of decision.
"""

from __future__ import annotations

from hasten.core.compiled import inlined
from hasten.core.edge_order import earliest_deadline
from hasten.sim.arrays import NOBODY, State
from hasten.sim.world import Lane, World


@inlined
def insert(head: int, k: int, first_slot: int, state: State) -> int:
    """Put task ``k`` into the list that starts at ``head``, by ``due_ms`` and then by ``k``; returns the new head."""
    due_ms = state.due_ms[first_slot + k]
    before, after = NOBODY, head
    while after != NOBODY:
        other_ms = state.due_ms[first_slot + after]
        if other_ms > due_ms or (other_ms == due_ms and after > k):
            break
        before, after = after, state.next[first_slot + after]
    state.next[first_slot + k] = after
    if before == NOBODY:
        return k
    state.next[first_slot + before] = k
    return head


@inlined
def latest_ms(lane: Lane, k: int, world: World) -> float:
    """By when the answer to a lane's k-th task must be back; half a round trip before it must leave the edge."""
    task = lane.first_task + k
    return float(world.tasks.arrival_ms[task] + world.rules.useful_ms[world.tasks.stream[task]])


@inlined
def lay_out(lane: Lane, edge: int, world: World) -> int:
    """Lay out the tasks at an edge; returns how many."""
    state, n = world.state, 0
    k = state.edge_head[lane.row, edge]
    while k != NOBODY:
        state.scratch_ms[n], state.scratch_task[n] = state.due_ms[lane.first_slot + k], k
        n += 1
        k = state.next[lane.first_slot + k]
    return n


@inlined
def lay_in(k: int, arrive_ms: float, n: int, world: World) -> None:
    """Lay one more task in between the first ``n`` laid out."""
    at_ms, task = world.state.scratch_ms, world.state.scratch_task
    i = n
    while i > 0 and (at_ms[i - 1] > arrive_ms or (at_ms[i - 1] == arrive_ms and task[i - 1] > k)):
        at_ms[i], task[i] = at_ms[i - 1], task[i - 1]
        i -= 1
    at_ms[i], task[i] = arrive_ms, k


@inlined
def turn_at(lane: Lane, start_ms: float, n: int, world: World) -> int:
    """The place, among the first ``n`` laid out, of the one that a worker serves next which is free at ``start_ms``.

    At least the first is at the edge by then.
    """
    at_ms, task = world.state.scratch_ms, world.state.scratch_task
    first = 0
    first_turn = earliest_deadline(at_ms[0], latest_ms(lane, task[0], world))
    for i in range(1, n):
        if at_ms[i] > start_ms:
            break
        turn = earliest_deadline(at_ms[i], latest_ms(lane, task[i], world))
        if turn < first_turn:
            first, first_turn = i, turn
    return first


@inlined
def take_out(place: int, n: int, world: World) -> None:
    """Take the one at ``place`` out of the first ``n`` laid out."""
    at_ms, task = world.state.scratch_ms, world.state.scratch_task
    for i in range(place, n - 1):
        at_ms[i], task[i] = at_ms[i + 1], task[i + 1]


@inlined
def keep_laid_out(lane: Lane, edge: int, n: int, world: World) -> None:
    """The first ``n`` laid out are those that are at an edge from now on."""
    state, behind = world.state, NOBODY
    for i in range(n - 1, -1, -1):
        k = state.scratch_task[i]
        state.next[lane.first_slot + k] = behind
        behind = k
    state.edge_head[lane.row, edge] = behind
