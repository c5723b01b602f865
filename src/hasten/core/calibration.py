"""Kept promises: the share of tasks predicted with so much slack that are on time, learnt from a stream's own outcomes.

A prediction is not a promise: others overtake, rates change, machines vary. A stream has one curve for local options
and one for those sent to each edge, each a share at a few nodes of slack, linear in between. Slack is the latency that
is left until an answer is worthless, as a share of the deadline; its nodes are even in its root, so that they are close
where it is small. An outcome counts at the two nodes next to its slack. Each fades as more come, so that about the last
``MEMORY`` of them count. What was not seen for long goes back to the prior, and quickly so where a whole kind of
options was not tried for ``PATIENCE`` outcomes: one bad moment must not rule it out for ever. A share never falls
with slack: the reading is the isotonic regression of the nodes' shares, by pooling adjacent violators (Zadrozny and
Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002).

Options are weighed by the curve as it is. A broken promise counts there for what the device saved of it: an answer of
its own in time, of a lower exit. A node's prior counts as two outcomes, so that options are taken at their word until
outcomes say otherwise: a bad moment that is believed at once sends work to the device, where all that follows waits.

What is *told* as the promise, the share of tasks on time, is another matter. Choosing by the curve favours what it
promises too much, outcomes are heard late, and what was saved is worth less, but on time. So a kind has a *doubt*: a
step up for each task that is late, down by the share that was promised to be, and by the factor ``exp(doubt)`` more
are told to be late than the curve says. Over time as many are late as promised, however the world drifts: that is
adaptive conformal inference (Gibbs and Candès, NeurIPS 2021). Choosing by what is told would overdo it: a doubted kind
is not tried, and what is not tried stays doubted.

The functions on numbers are the law for the compiled simulator and for a device alike.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.jit import jitable

if TYPE_CHECKING:
    from hasten.core.decision import View
    from hasten.core.options import OptionTable

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

Shares = tuple[tuple[float, ...], ...]
LOCAL, SENT = 0, 1
"""The kinds of options: a stream's curves in this order. Options sent to edge e are of kind ``SENT + e``."""
INTERVALS = 8
NODES = INTERVALS + 1
SLACK_NODES = (np.arange(NODES) / INTERVALS) ** 2
"""(K,): slack of each node, in deadlines; there is none above 1."""
MEMORY = 200.0
"""About so many of a stream's last outcomes count."""
PATIENCE = 20
"""A kind of options that this many outcomes were not of is forgotten quickly: about so many more, and it is tried."""
KEEP, KEEP_UNTRIED = 1.0 - 1.0 / MEMORY, 1.0 - 1.0 / PATIENCE
PRIOR_WEIGHT = 2.0
"""Outcomes that a node's prior share is worth."""
DOUBT_STEP, MOST_DOUBT = 0.1, 1.4
"""By how much an outcome changes the doubt; more broken promises than promised by a factor of 4 are not believed."""
RESOLUTION = 0.1
"""So few outcomes cannot tell shares apart that differ by less: see :func:`counted_share`."""


@jitable
def node_below(slack: float) -> tuple[int, float]:
    """The node at or below a slack, and how far it is to the next one, 0 to 1."""
    place = INTERVALS * math.sqrt(min(max(slack, 0.0), 1.0))
    node = min(int(place), INTERVALS - 1)
    return node, place - node


@jitable
def hear(kind: int, slack: float, got: float, kept: Any, told: Any, since: Any, doubt: Any) -> None:
    """One outcome of a stream, of this kind and slack: ``got`` is 1 if it was on time, else the share that was saved.

    ``kept`` and ``told`` (1 + edges, K) are weights of outcomes, ``since`` (1 + edges,) counts outcomes since the last
    one of each kind.
    """
    for each in range(len(since)):
        since[each] = 0 if each == kind else since[each] + 1
        untried = since[each] >= PATIENCE
        keep = KEEP_UNTRIED if untried else KEEP
        for node in range(NODES):
            kept[each][node] *= keep
            told[each][node] *= keep
        if untried:
            doubt[each] *= keep
    node, part = node_below(slack)
    told[kind][node] += 1.0 - part
    told[kind][node + 1] += part
    kept[kind][node] += got * (1.0 - part)
    kept[kind][node + 1] += got * part


@jitable
def doubt_after(doubt: float, promised: float, on_time: bool) -> float:
    """The doubt of a kind once it is known whether a task, of whose like this share was ``promised``, was on time.

    However it was answered: an answer in time that its device found otherwise than was decided is one.
    """
    broken = 0.0 if on_time else 1.0
    return min(max(doubt + DOUBT_STEP * (broken - (1.0 - promised)), -MOST_DOUBT), MOST_DOUBT)


@jitable
def doubted(share: float, doubt: float) -> float:
    """The share to promise: of those that the curve says are broken ``exp(doubt)`` times as many."""
    return max(1.0 - (1.0 - share) * math.exp(doubt), 0.0)


@jitable
def read_shares(kept: Any, told: Any, prior: Any, share: Any) -> None:
    """Fill one kind's ``share`` (K,): isotonic regression of the weights (K,), the prior shares (K,) among them."""
    for node in range(NODES):
        weight = told[node] + PRIOR_WEIGHT
        value = (kept[node] + PRIOR_WEIGHT * prior[node]) / weight
        first = node
        while first > 0 and share[first - 1] > value:
            block = share[first - 1]  # is pooled whole: its nodes have one share
            while first > 0 and share[first - 1] == block:
                first -= 1
                more = told[first] + PRIOR_WEIGHT
                value = (weight * value + more * block) / (weight + more)
                weight += more
        for pooled in range(first, node + 1):
            share[pooled] = value


@jitable
def share_at(slack: float, share: Any) -> float:
    """The share to expect at a slack, from one kind's nodes (K,)."""
    node, part = node_below(slack)
    expected: float = share[node] * (1.0 - part) + share[node + 1] * part
    return expected


@jitable
def counted_share(share: Any) -> Any:
    """The share to weigh an option by: the next higher one of those that the outcomes can tell apart. Elementwise.

    Else noise would decide between options of equal gain, whose earliest leaves most to later tasks.
    """
    return 1.0 - np.floor((1.0 - share) / RESOLUTION) * RESOLUTION


def prior_shares(edges: int = 1) -> FloatArray:
    """(1 + edges, K): the shares of a stream that nothing is known of. Its promises are taken at their word."""
    return np.ones((SENT + edges, NODES))


def kinds(table: OptionTable) -> IntArray:
    """(M, J): the kind of each option."""
    return np.where(table.payload_bits > 0, SENT + table.edge, LOCAL)


def expected_share(view: View, slack: FloatArray, kind: IntArray | BoolArray) -> FloatArray:
    """(B, J): the share of tasks on time to expect of options with these slacks (B, J) in deadlines.

    ``kind`` (B, J) or (1, J) is that of each: where there is one edge, whether it is sent. A view without curves
    promises what it predicts. What an option of negative slack has to expect is not told: it is taken for one without
    slack.
    """
    if view.kept_share is None:
        return np.ones_like(slack)
    place = INTERVALS * np.sqrt(np.clip(slack, 0.0, 1.0))
    node = np.minimum(place.astype(np.int64), INTERVALS - 1)
    part = place - node
    flat = view.kept_share.reshape(-1)
    at = NODES * (view.kept_share.shape[1] * np.arange(len(slack))[:, None] + kind) + node
    share: FloatArray = flat[at] * (1.0 - part) + flat[at + 1] * part
    return share


class Curves:
    """The curves of one stream on a device.

    Attributes:
        share: (1, 1 + edges, K), always up to date: part of a view.
        shares: the same curves as tuples that never change.
    """

    def __init__(self, prior: FloatArray | None = None) -> None:
        self._prior = (prior_shares() if prior is None else prior).tolist()
        self._kept, self._told = ([[0.0] * NODES for _ in self._prior] for _ in range(2))
        self._since, self._doubt = [0] * len(self._prior), [0.0] * len(self._prior)
        self._share = [list(shares) for shares in self._prior]
        self.share = np.array([self._share])
        self.shares = self._copied()

    def tell(self, slack: float, kind: int, promised: float, on_time: bool, saved: float = 0.0) -> None:
        """An option predicted with this slack in deadlines, of which this share was promised, has come to its end.

        Of one that was not on time as decided the share ``saved`` of its worth was had otherwise.
        """
        got = 1.0 if on_time else saved
        hear(kind, slack, got, self._kept, self._told, self._since, self._doubt)
        self._doubt[kind] = doubt_after(self._doubt[kind], promised, got > 0.0)
        for each in range(len(self._prior)):
            read_shares(self._kept[each], self._told[each], self._prior[each], self._share[each])
        self.share[0] = self._share
        self.shares = self._copied()

    def _copied(self) -> Shares:
        return tuple(tuple(share) for share in self._share)

    def promised(self, slack: float, kind: int) -> float:
        """The share of tasks on time to tell of an option of this kind with this slack in deadlines."""
        return doubted(share_at(slack, self._share[kind]), self._doubt[kind])
