"""Simulated devices' contacts, compiled: what stream ``m`` knows of edge ``e`` is contact ``e * M + m`` of its row.

Likewise what that edge knows of the stream. What a stream has once, its processor, is with its contact to edge 0, whose
number is its own: so it is all the same where there is one edge.
"""

from __future__ import annotations

from hasten.core.compiled import inlined
from hasten.sim.beliefs import SERVED
from hasten.sim.world import Lane, World


@inlined
def streams_of(world: World) -> int:
    """Number of streams M."""
    return len(world.rules.deadline_ms)


@inlined
def edges_of(world: World) -> int:
    """Number of edges E."""
    return len(world.rules.ways.rtt_ms)


@inlined
def contact_of(edge: int, m: int, world: World) -> int:
    """Of a stream with an edge."""
    return edge * streams_of(world) + m


@inlined
def edge_of(contact: int, world: World) -> int:
    """The edge of a contact."""
    return contact // streams_of(world)


@inlined
def stream_of(contact: int, world: World) -> int:
    """The stream of a contact."""
    return contact % streams_of(world)


@inlined
def edge_at(lane: Lane, k: int, world: World) -> int:
    """The edge that a lane's k-th task was decided for, or moved to; 0 for one that stays."""
    return int(world.rules.ways.edge[world.tasks.stream[lane.first_task + k], world.state.option[lane.first_slot + k]])


@inlined
def contact_at(lane: Lane, k: int, world: World) -> int:
    """The contact that it goes by."""
    return contact_of(edge_at(lane, k, world), world.tasks.stream[lane.first_task + k], world)


@inlined
def link_of(contact: int, world: World) -> int:
    """The link that a contact's frames take."""
    return int(world.rules.ways.link[edge_of(contact, world), stream_of(contact, world)])


@inlined
def workers_at(edge: int, world: World) -> int:
    """How many workers an edge has."""
    return int(world.rules.ways.first_worker[edge + 1] - world.rules.ways.first_worker[edge])


@inlined
def most_workers(world: World) -> int:
    """Those of the edge that has most: there is room for as many with each."""
    return int(world.beliefs.served.shape[2]) - SERVED
