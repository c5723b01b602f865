"""Masks, tokens and positions that run beside the trunk through all layers: small, made of the input by cheap steps.

They would cross every cut, and most have no float type. Whoever goes on behind a cut can compute them again, from
whatever of their ancestors is smallest: a mask (N, 1, T, T) of floats from the tokens (N, T) that it was made of.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from hasten.split.network import ExportedNetwork, reads


class SideTensors:
    """Which tensors are made of the input by cheap operations alone, and what each is best made of again."""

    def __init__(self, network: ExportedNetwork, weighted: Collection[int]) -> None:
        """``weighted``: indices of the nodes that are not cheap."""
        self._network = network
        self._best: dict[str, tuple[int, frozenset[str]]] = {}
        given = set(network.inputs)
        for name in network.inputs:
            if name in network.types:
                self._best[name] = (self.nbytes(name), frozenset([name]))
        for index, node in enumerate(network.graph.node):
            dependent = [name for name in reads(node) if name in given or name in network.producer]
            if index in weighted or not dependent or not all(name in self._best for name in dependent):
                continue
            sources = frozenset().union(*(self._best[name][1] for name in dependent))
            again = sum(self.nbytes(name) for name in sources)
            for name in node.output:
                own = self.nbytes(name) if name in network.types else math.inf
                self._best[name] = (int(own), frozenset([name])) if own < again else (again, sources)

    def __contains__(self, name: str) -> bool:
        """Whether a tensor is made of the input by cheap operations alone."""
        return name in self._best

    def sources(self, name: str) -> frozenset[str]:
        """The smallest tensors (itself, the inputs, or some in between) that ``name`` can be made of."""
        return self._best[name][1]

    def nbytes(self, name: str) -> int:
        """Bytes of a tensor, uncoded."""
        return math.prod(self._network.shapes[name]) * np.dtype(self._network.types[name]).itemsize
