"""The edges that devices choose among, and the ways to them, as the kernels read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.scenario import Scenario

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


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

    @property
    def links(self) -> int:
        """Links to all edges."""
        return int(self.link.max()) + 1

    @property
    def workers(self) -> int:
        """Workers of all edges."""
        return int(self.first_worker[-1])


def ways_of(edge: IntArray, link: IntArray, rtt_ms: Sequence[float], workers: Sequence[int]) -> Ways:
    """The ways of options at these edges (M, J) over these links (E, M), with a round trip and workers of each edge."""
    first_worker = np.concatenate([[0], np.cumsum(workers)]).astype(np.int64)
    return Ways(
        np.ascontiguousarray(edge), np.ascontiguousarray(link), np.array(rtt_ms, dtype=np.float64), first_worker
    )


def pack_ways(scenario: Scenario, edge: IntArray) -> Ways:
    """The ways of a scenario, whose options are at these edges (M, J)."""
    every = scenario.every_edge
    return ways_of(edge, scenario.links, [way.uplink.rtt_ms for way in every], [way.edge.workers for way in every])
