"""What a decision can see of the system, compiled: backlogs and rate, fresh or as old as the scenario's view says.

A stream's own device, and its own uplink if it has one, are always seen as they are. What it shares with others is
seen as it stood after the decisions made ``age_ms`` ago or earlier, less the time that has passed; the rate is the one
in force ``age_ms`` ago, times the realization's error. With ``kind: device`` each stream sees what its own device
would: see :mod:`hasten.sim.device_events`.
"""

from __future__ import annotations

from hasten.core.compiled import inlined
from hasten.core.timing import rate_at
from hasten.sim.arrays import FloatArray
from hasten.sim.beliefs import PLANNED_RTT_MS, SEEN_RATE, UNSEEN_MS
from hasten.sim.contacts import contact_of, workers_at
from hasten.sim.device_events import see
from hasten.sim.device_projection import workers_from
from hasten.sim.stages import project_before
from hasten.sim.world import Lane, Shown, World


@inlined
def visible_resources(
    lane: Lane, k: int, m: int, edge: int, now_ms: float, world: World
) -> tuple[FloatArray, float, FloatArray]:
    """Times from which devices (M,), and an edge's uplink and workers (W,), seem to stream ``m`` to be free at the
    k-th decision.

    It comes before :func:`visible_rate`, where devices see by themselves.
    """
    rules, _, _, state, log, beliefs = world
    row, link = lane.row, rules.ways.link[edge, m]
    if rules.from_devices:
        c = contact_of(edge, m, world)
        uplink_free_ms = see(lane, c, now_ms, world)
        first = workers_from(world)
        return beliefs.unseen_ms, uplink_free_ms, beliefs.numbers[row, c, first : first + workers_at(edge, world)]
    if rules.ways.by_deadline[edge]:
        project_before(lane, m, edge, now_ms, world)
    device_free_ms = state.device_free_ms[row]
    first, end = rules.ways.first_worker[edge], rules.ways.first_worker[edge + 1]
    worker_free_ms = state.worker_free_ms[row, first:end]
    uplink_free_ms = state.uplink_free_ms[row, link]
    if rules.age_ms > 0:
        advance_log(lane, k, now_ms - rules.age_ms, world)
        devices = len(device_free_ms)
        device_free_ms, worker_free_ms = log.visible_ms[row, :devices], log.visible_ms[row, devices + 1 :]
        if rules.shared:
            uplink_free_ms = log.visible_ms[row, devices]
    return device_free_ms, uplink_free_ms, worker_free_ms


@inlined
def visible_rate(row: int, m: int, edge: int, now_ms: float, rate_factor: float, world: World) -> float:
    """The rate to an edge as it seems to stream ``m`` at ``now_ms``; before a run's start it was that of the start."""
    rules, links = world.rules, world.links
    if rules.from_devices:
        return float(world.beliefs.numbers[row, contact_of(edge, m, world), SEEN_RATE])
    link = rules.ways.link[edge, m]
    begin, end = links.begin[row, link], links.end[row, link]
    seen_ms = max(now_ms - rules.age_ms, 0.0)
    rate = rate_at(seen_ms, links.from_ms[begin:end], links.bits_per_ms[begin:end], links.period_ms[row, link])
    return rate * rate_factor


@inlined
def unseen_wait_ms(row: int, m: int, edge: int, world: World) -> float:
    """What stream ``m`` foresees to wait at an edge for work of others that no backlog holds yet.

    Only devices foresee any, from the edge's forecast. It comes after :func:`visible_resources`.
    """
    if not world.rules.from_devices:
        return 0.0
    return float(world.beliefs.numbers[row, contact_of(edge, m, world), UNSEEN_MS])


@inlined
def planned_rtt_ms(row: int, m: int, edge: int, world: World) -> float:
    """The round trip that decisions of stream ``m`` for an edge are made with. It comes after
    :func:`visible_resources`.
    """
    if not world.rules.from_devices:
        return float(world.rules.ways.rtt_ms[edge])
    return float(world.beliefs.numbers[row, contact_of(edge, m, world), PLANNED_RTT_MS])


@inlined
def show_first(
    a: int,
    link: tuple[float, float, float, float],
    worker_free_ms: FloatArray,
    device_free_ms: FloatArray,
    view: Shown,
) -> None:
    """Fill what the a-th decision sees of all devices and edge 0.

    ``link``: when its uplink is free, its rate and round trip, and the unseen wait.
    """
    now_ms = view.now_ms[a]
    uplink_free_ms, view.rate_bits_per_ms[a], rtt_ms, view.unseen_wait_ms[a] = link
    view.uplink_wait_ms[a] = max(uplink_free_ms - now_ms, 0.0)
    for w in range(len(worker_free_ms)):
        view.edge_wait_ms[a, w] = max(worker_free_ms[w] - now_ms, 0.0)
    if len(view.rtt_ms) > 0:
        view.rtt_ms[a] = rtt_ms
    for other in range(len(device_free_ms)):
        view.others_wait_ms[a, other] = max(device_free_ms[other] - now_ms, 0.0)
    view.others_wait_ms[a, view.stream[a]] = view.device_wait_ms[a]


@inlined
def show_further(i: int, a: int, link: tuple[float, float, float], worker_free_ms: FloatArray, view: Shown) -> None:
    """Fill what it sees of the i-th further edge. ``link``: when its uplink is free, its rate, and its round trip."""
    now_ms = view.now_ms[a]
    uplink_free_ms, view.further_rate_bits_per_ms[i, a], view.further_rtt_ms[i, a] = link
    view.further_uplink_wait_ms[i, a] = max(uplink_free_ms - now_ms, 0.0)
    for w in range(len(worker_free_ms)):
        view.further_edge_wait_ms[i, a, w] = max(worker_free_ms[w] - now_ms, 0.0)


@inlined
def copy(source: FloatArray, target: FloatArray) -> None:
    """Copy element by element; a slice assignment would allocate."""
    for i in range(len(target)):
        target[i] = source[i]


@inlined
def advance_log(lane: Lane, k: int, seen_ms: float, world: World) -> None:
    """Make visible, for the lane's k-th decision, what earlier ones did up to ``seen_ms``."""
    row, first_slot, first_task = lane
    tasks, log = world.tasks, world.log
    i = log.visible[row]
    while i < k and tasks.arrival_ms[first_task + i] <= seen_ms:
        log.visible_ms[row, tasks.stream[first_task + i]] = log.after_ms[first_slot + i, 0]
        i += 1
    if i > log.visible[row]:
        devices = world.state.device_free_ms.shape[1]
        copy(log.after_ms[first_slot + i - 1, 1:], log.visible_ms[row, devices:])
    log.visible[row] = i


@inlined
def write_log(row: int, slot: int, stream: int, world: World) -> None:
    """Keep the state after a decision, if it will be seen late."""
    rules, _, _, state, log, _ = world
    if rules.age_ms > 0:
        log.after_ms[slot, 0] = state.device_free_ms[row, stream]
        log.after_ms[slot, 1] = state.uplink_free_ms[row, 0]
        copy(state.worker_free_ms[row], log.after_ms[slot, 2:])
