"""What the kernels work on: a scenario's facts, its realizations and the state of a batch, as flat arrays.

B rows (independent runs) advance together. The tasks of all rows lie one behind the other in arrays (T,), the
steps of all rate traces in arrays (S,). Options are columns of the scenario's option table. Structures of arrays are
named tuples, which both Python and compiled code can read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import useful_limit_ms
from hasten.core.noise import Noise, no_noise
from hasten.core.options import OptionTable
from hasten.core.ranking import Ranking
from hasten.core.rates import RateTrace
from hasten.core.scenario import Realization, Scenario
from hasten.sim.edge_batches import Batches, pack_batches
from hasten.sim.needs import TaskNeeds, pack_needs
from hasten.sim.ways import Ways, pack_ways

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

NOBODY = -1
"""End of a linked list."""


class Rules(NamedTuple):
    """The scenario's facts. Options are (M, J), times in ms, sizes in bits, those of a task that goes all the way."""

    device_ms: FloatArray
    payload_bits: FloatArray
    edge_ms: FloatArray
    worth: FloatArray
    deadline_ms: FloatArray
    """(M,)"""
    needs: TaskNeeds
    ways: Ways
    batches: Batches
    useful_ms: FloatArray
    """(M,): latency beyond which an answer is worthless, the comparison's tolerance included."""
    rtt_ms: float
    """To the first edge; likewise whether its link is ``shared``."""
    shared: bool
    ready: bool
    age_ms: float
    time_weight: float
    late_gain: float
    fade: float
    from_devices: bool = False
    """Whether decisions see what devices would (``sim.beliefs``)."""


class Tasks(NamedTuple):
    """Realized tasks of the rows: row b owns ``first[b]`` up to, not including, ``first[b] + number[b]``."""

    first: IntArray
    number: IntArray
    arrival_ms: FloatArray
    stream: IntArray
    rate_factor: FloatArray
    device_factor: FloatArray
    """This and the following, (T,): how times turn out (``core.noise``); (0,) where they are as profiled."""
    edge_factor: FloatArray
    """(T, E), or (0, 1)."""
    local_extra_ms: FloatArray
    offload_extra_ms: FloatArray
    ease: FloatArray
    """(T,): how easy tasks are (``core.confidence``); (0,) where none stops early."""


class Links(NamedTuple):
    """Realized rates; different links with the same trace share its steps."""

    begin: IntArray
    """(B, U): first step of each row's links."""
    end: IntArray
    period_ms: FloatArray
    from_ms: FloatArray
    bits_per_ms: FloatArray
    sent_bits: FloatArray


class State(NamedTuple):
    """The times from which resources are free once everything committed is done, and how the tasks fared.

    In ready order these times are projections, because a later decision may still overtake; what is already certain
    is kept in ``settled_*``, and tasks whose turn is not certain wait in sorted linked lists of each row: for an
    uplink by the time the tensor is ready, for their edge by the time of arrival there.
    """

    device_free_ms: FloatArray
    """(B, M)"""
    uplink_free_ms: FloatArray
    """(B, U): to each edge one uplink when shared, else one per stream."""
    worker_free_ms: FloatArray
    """(B, W), ascending at each edge."""
    settled_uplink_ms: FloatArray
    settled_worker_ms: FloatArray
    uplink_head: IntArray
    """(B,): first task, counted within its row, that waits for the uplink."""
    edge_head: IntArray
    """(B, E): the first one at each edge."""
    next: IntArray
    """(T,): the task behind this one in its list."""
    due_ms: FloatArray
    """(T,): key of the list the task is in."""
    option: IntArray
    """(T,): option as executed; DROP also for a task that the expired-task rule dropped."""
    column: IntArray
    """(T,): what it needs, a column of :class:`TaskNeeds`; DROP where the option is."""
    device_done_ms: FloatArray
    """(T,): when the device was done with the task; NaN for one it never served."""
    finish_ms: FloatArray
    """(T,): when the answer is back; infinity without one, NaN while open."""
    known_ms: FloatArray
    """(T,): when that is known on the device: the answer's time, or that of the drop or cancellation."""
    sent: BoolArray
    """(T,): whether the uplink carried the tensor."""
    scratch_ms: FloatArray
    scratch_task: IntArray


class Ranked(NamedTuple):
    """A ranking (``core.ranking``) and the options that it considers; arrays are (M, J')."""

    device_ms: FloatArray
    payload_bits: FloatArray
    edge_ms: FloatArray
    useful_ms: FloatArray
    late_ms: FloatArray
    column: IntArray
    low_load: FloatArray
    high_load: FloatArray
    sees_queues: bool


class Log(NamedTuple):
    """What a delayed view needs: the state after each decision, and how much of it is visible by now."""

    after_ms: FloatArray
    """(T, 2 + W): when the deciding stream's device, a shared uplink and the workers are free."""
    visible: IntArray
    """(B,): number of decisions whose effects are visible."""
    visible_ms: FloatArray
    """(B, M + 1 + W): when devices, a shared uplink and workers are free by what is visible."""


def pack_rules(scenario: Scenario, options: OptionTable) -> Rules:
    """The scenario's facts with ``options`` as the table that option indices refer to."""
    time_weight, late_gain, fade = scenario.gain.terms()
    return Rules(
        device_ms=options.device_ms,
        payload_bits=options.payload_bits,
        edge_ms=options.edge_ms,
        worth=options.worth,
        deadline_ms=scenario.deadlines_ms,
        needs=pack_needs(options),
        ways=pack_ways(scenario, options.edge),
        batches=pack_batches(scenario, options),
        useful_ms=useful_limit_ms(scenario.context(np.zeros(1, dtype=np.int64))),
        rtt_ms=float(scenario.uplink.rtt_ms),
        shared=scenario.uplink.topology == "shared",
        ready=scenario.uplink.order == "ready",
        age_ms=float(scenario.view.age_ms),
        time_weight=float(time_weight),
        late_gain=float(late_gain),
        fade=float(fade),
        from_devices=scenario.view.kind == "device",
    )


def pack_ranking(ranking: Ranking) -> Ranked:
    """A ranking and its options."""
    return Ranked(
        device_ms=ranking.table.device_ms,
        payload_bits=ranking.table.payload_bits,
        edge_ms=ranking.table.edge_ms,
        useful_ms=ranking.useful_ms,
        late_ms=ranking.late_ms,
        column=ranking.column,
        low_load=ranking.window.low,
        high_load=ranking.window.high,
        sees_queues=ranking.sees_queues,
    )


def pack_tasks(realizations: Sequence[Realization]) -> Tasks:
    """Lay the tasks of all rows one behind the other."""
    number = np.array([realization.tasks for realization in realizations], dtype=np.int64)
    return Tasks(
        first=np.concatenate([[0], np.cumsum(number)[:-1]]).astype(np.int64),
        number=number,
        arrival_ms=np.concatenate([realization.arrival_ms for realization in realizations]),
        stream=np.concatenate([realization.stream for realization in realizations]),
        rate_factor=np.concatenate([realization.rate_factor for realization in realizations]),
        **_pack_noise(realizations),
        ease=_pack_ease(realizations),
    )


def _pack_ease(realizations: Sequence[Realization]) -> FloatArray:
    """How easy the tasks of all rows are; empty where it is known of none, 1 (they go all the way) where of some."""
    eases = [np.ones(it.tasks) if it.ease is None else it.ease for it in realizations]
    return np.concatenate(eases) if any(it.ease is not None for it in realizations) else np.zeros(0)


def _pack_noise(realizations: Sequence[Realization]) -> dict[str, FloatArray]:
    """The noise of all rows; empty where none has any."""
    if all(it.noise is None for it in realizations):
        return {name: np.zeros((0, 1) if name == "edge_factor" else 0) for name in Noise.__dataclass_fields__}
    edges = max(it.noise.edge_factor.shape[1] for it in realizations if it.noise is not None)
    noises = [no_noise(it.tasks, edges) if it.noise is None else it.noise for it in realizations]
    return {name: np.concatenate([getattr(it, name) for it in noises]) for name in Noise.__dataclass_fields__}


def pack_links(realizations: Sequence[Realization]) -> Links:
    """Lay the rate traces of all rows one behind the other, those that realizations share once."""
    found: dict[int, tuple[int, int]] = {}
    traces: list[RateTrace] = []
    steps = 0
    begin, end, period_ms = [], [], []
    for realization in realizations:
        for trace in realization.rates:
            key = id(trace)
            if key not in found:
                found[key] = (steps, steps + len(trace.from_ms))
                steps += len(trace.from_ms)
                traces.append(trace)
            begin.append(found[key][0])
            end.append(found[key][1])
            period_ms.append(trace.period_ms)
    shape = (len(realizations), -1)
    return Links(
        begin=np.array(begin, dtype=np.int64).reshape(shape),
        end=np.array(end, dtype=np.int64).reshape(shape),
        period_ms=np.array(period_ms, dtype=np.float64).reshape(shape),
        from_ms=np.concatenate([trace.from_ms for trace in traces]),
        bits_per_ms=np.concatenate([trace.bits_per_ms for trace in traces]),
        sent_bits=np.concatenate([trace.sent_bits for trace in traces]),
    )


def new_state(rules: Rules, rows: int, slots: int, longest: int) -> State:
    """Empty resources for ``rows`` rows, and room for ``slots`` tasks, of which a row owns at most ``longest``."""
    streams, links, workers = len(rules.deadline_ms), rules.ways.links, rules.ways.workers
    waiting, settled = (slots, rows) if rules.ready else (0, 0)
    return State(
        device_free_ms=np.zeros((rows, streams)),
        uplink_free_ms=np.zeros((rows, links)),
        worker_free_ms=np.zeros((rows, workers)),
        settled_uplink_ms=np.zeros((settled, links)),
        settled_worker_ms=np.zeros((settled, workers)),
        uplink_head=np.full(settled, NOBODY, dtype=np.int64),
        edge_head=np.full((settled, len(rules.ways.rtt_ms)), NOBODY, dtype=np.int64),
        next=np.empty(waiting, dtype=np.int64),
        due_ms=np.empty(waiting),
        option=np.empty(slots, dtype=np.int64),
        column=np.empty(slots, dtype=np.int64),
        device_done_ms=np.full(slots, np.nan),
        finish_ms=np.full(slots, np.nan),
        known_ms=np.full(slots, np.nan),
        sent=np.zeros(slots, dtype=np.bool_),
        scratch_ms=np.zeros(longest if rules.ready else 0),
        scratch_task=np.zeros(longest if rules.ready else 0, dtype=np.int64),
    )


def new_log(rules: Rules, rows: int, slots: int, workers: int) -> Log:
    """A log for delayed views; without delay it takes no room."""
    if rules.age_ms == 0.0:
        rows = slots = 0
    return Log(
        after_ms=np.zeros((slots, 2 + workers)),
        visible=np.zeros(rows, dtype=np.int64),
        visible_ms=np.zeros((rows, len(rules.deadline_ms) + 1 + workers)),
    )
