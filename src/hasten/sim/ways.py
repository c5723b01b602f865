"""The edges that devices choose among, and the ways to them, as the kernels read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.scenario import Scenario

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class Ways(NamedTuple):
    """Facts of E edges for M streams with J options. The workers of all edges lie one behind the other."""

    edge: IntArray
    """(M, J): of each option; 0 for local ones."""
    link: IntArray
    """(E, M): number of each stream's link to each edge."""
    rtt_ms: FloatArray
    """(E,)"""
    first_worker: IntArray
    """(E + 1,): where each edge's workers begin."""
    first_link: IntArray
    """(E + 1,): likewise its links."""
    by_deadline: BoolArray
    """(E,): whether it serves the earliest deadline first; only in ready order."""

    @property
    def links(self) -> int:
        """Links to all edges."""
        return int(self.link.max()) + 1

    @property
    def workers(self) -> int:
        """Workers of all edges."""
        return int(self.first_worker[-1])

    @property
    def most_workers(self) -> int:
        """Those of the edge that has most."""
        return int(np.diff(self.first_worker).max())


def ways_of(edge: IntArray, link: IntArray, rtt_ms: Sequence[float], workers: Sequence[int]) -> Ways:
    """The ways of options at these edges (M, J) over these links (E, M), with a round trip and workers of each edge.

    All serve what comes first. Links are numbered edge by edge.
    """
    return Ways(
        edge=np.ascontiguousarray(edge),
        link=np.ascontiguousarray(link),
        rtt_ms=np.array(rtt_ms, dtype=np.float64),
        first_worker=np.concatenate([[0], np.cumsum(workers)]).astype(np.int64),
        first_link=np.append(link.min(axis=1), link.max() + 1).astype(np.int64),
        by_deadline=np.zeros(len(rtt_ms), dtype=np.bool_),
    )


def pack_ways(scenario: Scenario, edge: IntArray) -> Ways:
    """The ways of a scenario, whose options are at these edges (M, J)."""
    every = scenario.every_edge
    ways = ways_of(edge, scenario.links, [way.uplink.rtt_ms for way in every], [way.edge.workers for way in every])
    return ways._replace(
        by_deadline=np.array([way.edge.queue == "deadline" and way.uplink.order == "ready" for way in every])
    )
