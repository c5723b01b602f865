"""What a scheduler sees and says: the one protocol that simulator and device agent share.

Everything is a batch over B decisions: B = 1 in a device agent, thousands in the simulator, so a vectorised
scheduler is fast in both without a second implementation.

What a scheduler can do beyond the protocol it declares by inheriting from ``Observer``, ``Noting``, ``Selective`` or
``Clairvoyant``; a method that happens to have such a name declares nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hasten.core.arrivals import Arrivals
from hasten.core.gain import PLAIN_ACCURACY, GainTerms, useful_until_ms
from hasten.core.options import OptionTable
from hasten.core.timing import ON_TIME_TOLERANCE_MS, Waits, predict_latency

DEAD_LINK_BITS_PER_MS = 1e-9
"""Stands for a rate of zero in predictions: nothing arrives within any deadline, and nothing divides by zero."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Context:
    """The fixed facts of a run, told once to a scheduler before its first decision."""

    options: OptionTable
    deadline_ms: FloatArray
    """(M,): each stream's relative deadline."""
    rate_hz: FloatArray
    """(M,): each stream's nominal arrival rate."""
    gain_terms: GainTerms = PLAIN_ACCURACY
    """The gain's numbers: see :func:`hasten.core.gain.task_gain`."""
    rtt_ms: float = 0.0
    workers: int = 1
    shared_uplink: bool = True
    ready_order: bool = True
    """Whether uplink and edge serve what is there first, as real independent devices do, or in order of decisions."""
    streams: int = 1
    """Streams that share the edge (M in the simulator; a device agent's table has one row, yet others may share)."""
    batch: int = 1
    seeds: IntArray = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    """(B,): a seed for each row of the batch, for schedulers that draw random numbers."""
    arrivals: tuple[Arrivals, ...] = ()
    """Each stream's arrival process where it is known (always in the simulator, seldom on a device); else empty."""
    uplink_bits_per_ms: float | None = None
    """The uplink's rate where it is known never to change."""
    from_devices: bool = False
    """Whether views are what devices believe by themselves, rather than the system's own state."""
    exact: bool = False
    """Whether an option that is predicted to be useful by its end is sure to be: nothing is random, stale or overtaken.
    """


@dataclass(frozen=True)
class EdgeView:
    """What is visible of one more edge, at B decisions; arrays as in :class:`View`."""

    uplink_wait_ms: FloatArray
    edge_wait_ms: FloatArray
    rate_bits_per_ms: FloatArray
    rtt_ms: FloatArray
    """(B,): the round trip to it, and what devices that see by themselves foresee to wait there for others' work."""

    def of(self, some: IntArray | BoolArray) -> EdgeView:
        """The view of some of these decisions."""
        parts: dict[str, Any] = {
            name: value[some] for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        return replace(self, **parts)


@dataclass
class View:
    """What is visible at B decisions, each falling at the arrival of a task. Arrays are (B,) unless said otherwise.

    Waits are backlogs in milliseconds from now: how long until the resource would have finished everything already
    committed to it. ``device_wait_ms`` is exact, the others are as fresh as the link and the edge's last report.
    """

    row: IntArray
    """Row of the batch (scenario) that each decision belongs to, 0..context.batch-1."""
    now_ms: FloatArray
    stream: IntArray
    device_wait_ms: FloatArray
    uplink_wait_ms: FloatArray
    edge_wait_ms: FloatArray
    """(B, workers): ascending, so column 0 is the worker that is free first."""
    rate_bits_per_ms: FloatArray
    others_wait_ms: FloatArray
    """(B, M): device backlogs of all streams (own included) where visible, else zeros; see the scenario's view."""
    further_edges: tuple[EdgeView, ...] = ()
    """Edges 1, 2, ... of the options' ``edge``, where a device may choose; the fields above are those of edge 0."""
    kept_share: FloatArray | None = None
    """(B, 1 + edges, K): the deciding stream's calibration curves, local and of each edge: see
    :mod:`hasten.core.calibration`."""

    unseen_wait_ms: FloatArray | None = None
    """What an own frame waits at edge 0, on average, for work of others that no backlog holds yet."""
    rtt_ms: FloatArray | None = None
    """The round trip to edge 0 that each deciding device plans with, where it is not the context's."""

    @property
    def waits(self) -> Waits:
        """Each (B,): the visible backlogs of device, uplink and edge 0's worker that is free first."""
        return Waits(self.device_wait_ms, self.uplink_wait_ms, self.edge_wait_ms[:, 0])

    def beside_ms(self, rtt_ms: float) -> FloatArray:
        """(B,): what a task sent to edge 0 spends beside its stages; ``rtt_ms`` is the context's."""
        trip_ms = np.full(len(self.now_ms), rtt_ms) if self.rtt_ms is None else self.rtt_ms
        return trip_ms if self.unseen_wait_ms is None else trip_ms + self.unseen_wait_ms

    @property
    def edges(self) -> tuple[View | EdgeView, ...]:
        """What is seen of each edge, 0 first: this view itself."""
        return (self, *self.further_edges)

    def of(self, some: IntArray | BoolArray) -> View:
        """The view of some of these decisions."""
        parts: dict[str, Any] = {
            name: value[some] for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        return replace(self, **parts, further_edges=tuple(edge.of(some) for edge in self.further_edges))


@dataclass
class Decision:
    """For each of B decisions the index of the chosen option in its stream's row, or DROP (-1)."""

    option: IntArray


@runtime_checkable
class Scheduler(Protocol):
    """One object that decides in the simulator and in the device agent alike."""

    name: str

    def reset(self, context: Context) -> None:
        """Forget everything and prepare for the runs that ``context`` describes."""

    def decide(self, view: View) -> Decision:
        """Choose an option for each decision in ``view``; called in order of time within each row."""


@dataclass(frozen=True)
class Outcomes:
    """How F earlier tasks ended, in no particular order; arrays are (F,)."""

    row: IntArray
    stream: IntArray
    option: IntArray
    """The option as the scheduler chose it, also where the expired-task rule then dropped the task."""
    device_done_ms: FloatArray
    """From arrival until the device was done with its part, waiting included; NaN for a task that was dropped."""
    latency_ms: FloatArray
    """From arrival until the answer was back; infinity for a task that was dropped or cancelled."""


class Observer(ABC):
    """Inherited by a scheduler that learns from what came of its decisions.

    Before each call of ``decide`` the simulator and the device agent hand over, once, the outcomes that became known
    by then: answers that are back and cancellations. A task dropped at the decision, by the expired-task rule, is
    known at the next decision. What the scheduler itself dropped (``DROP``) is not reported.
    """

    @abstractmethod
    def observe(self, outcomes: Outcomes) -> None:
        """Learn from outcomes of earlier decisions of the same rows."""


class Noting(ABC):
    """Inherited by a scheduler with something to tell of its decisions."""

    @abstractmethod
    def notes(self, row: int) -> dict[str, int]:
        """How often something worth telling happened in a row since ``reset``, by its name."""


class Selective(ABC):
    """Inherited by a scheduler that chooses among a part of the options only."""

    @abstractmethod
    def usable(self) -> list[list[int]]:
        """The options (columns of the table) that each stream may get, once it was reset."""


class EdgeChoosing:
    """Inherited by a scheduler that can choose among several edges: it knows the options' ``edge`` and further edges.

    Any other is shown one edge only.
    """

    chooses_edge: bool = True
    """False for an object that turns out to know one edge only after all."""


class Clairvoyant:
    """Inherited by a scheduler that knows the future, e.g. a plan that is replayed.

    Where the expired-task rule rests on a prediction, that is in ready order, it is spared the rule.
    """

    clairvoyant: bool = True
    """False for an object that turns out to know nothing of the future after all."""


def can_choose_edge(scheduler: object) -> bool:
    """Whether a scheduler can choose among several edges."""
    return isinstance(scheduler, EdgeChoosing) and scheduler.chooses_edge


def is_clairvoyant(scheduler: object) -> bool:
    """Whether a scheduler says that it knows the future."""
    return isinstance(scheduler, Clairvoyant) and scheduler.clairvoyant


def predicted_latency(context: Context, view: View, options: OptionTable | None = None) -> FloatArray:
    """Latency (B, J) of every option of each decision, by the timing law at the visible backlogs and rate.

    ``options`` replaces the context's table, e.g. by :meth:`OptionTable.undominated` of it.
    """
    return _latency(context, view, options, loaded=True)


def unloaded_latency(context: Context, view: View, options: OptionTable | None = None) -> FloatArray:
    """Latency (B, J) of every option in an empty system at the visible rate: what queue-oblivious methods see."""
    return _latency(context, view, options, loaded=False)


def _latency(context: Context, view: View, options: OptionTable | None, loaded: bool) -> FloatArray:
    """Latency (B, J) of every option, ``loaded``: behind the view's backlogs."""
    table = context.options if options is None else options
    # Broadcasting one row is much cheaper than gathering it B times.
    stream = slice(None) if table.streams == 1 else view.stream

    def at(edge: View | EdgeView, rtt_ms: float | FloatArray) -> FloatArray:
        latency: FloatArray = predict_latency(
            view.device_wait_ms[:, None] if loaded else 0.0,
            edge.uplink_wait_ms[:, None] if loaded else 0.0,
            edge.edge_wait_ms[:, :1] if loaded else 0.0,
            table.device_ms[stream],
            table.payload_bits[stream],
            table.edge_ms[stream],
            np.maximum(edge.rate_bits_per_ms, DEAD_LINK_BITS_PER_MS)[:, None],
            rtt_ms,
        )
        return latency

    trip_ms = context.rtt_ms if view.rtt_ms is None else view.rtt_ms[:, None]
    latency_ms = at(view, view.beside_ms(context.rtt_ms)[:, None] if loaded else trip_ms)
    for number, edge in enumerate(view.further_edges, start=1):
        latency_ms = np.where(table.edge[stream] == number, at(edge, edge.rtt_ms[:, None]), latency_ms)
    return latency_ms


def useful_limit_ms(context: Context) -> FloatArray:
    """(M,): latency beyond which an answer of each stream is worthless, the comparison's tolerance included."""
    return np.asarray(useful_until_ms(context.deadline_ms, context.gain_terms.fade) + ON_TIME_TOLERANCE_MS)
