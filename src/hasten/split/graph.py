"""Where a functional ONNX graph can be cut: live-set analysis, exits, and the choice of the useful cuts.

The *main path* is what the deepest exit needs, in graph order. A *position* i stands for "the first i nodes of the
main path have run". The tensors that cross there are those made before it (or the inputs) and needed after it by any
exit whose attachment is not yet passed. A position is a candidate when few enough tensors cross and all of them are
float32; masks and the like, which cheap operations make of the input, do not count: what they are made of crosses. An
exit is attached behind the last node of the main path that it needs; the rest of what it needs is its head.

The input must be functional (no in-place operations): cutting a graph with mutation by its dependencies silently
drops the mutations that nobody reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hasten.core.errors import InputError
from hasten.split.block_names import block_names
from hasten.split.macs import macs
from hasten.split.network import ExportedNetwork, reads
from hasten.split.side_tensors import SideTensors

OPSET = 20
"""The ONNX operator set of every graph."""

MAX_EXIT_TENSORS = 8
"""At an exit's attachment the network must be cut, so more tensors than elsewhere may cross."""


@dataclass(frozen=True)
class CutPoint:
    """A chosen cut: its position on the main path, the tensors that cross in graph order, and the block's name."""

    position: int
    tensors: tuple[str, ...]
    name: str


@dataclass(frozen=True)
class CutPlan:
    """The cuts p = 0..L of a graph and the block behind which each exit sits."""

    cuts: tuple[CutPoint, ...]
    after_block: tuple[int, ...]
    notes: tuple[str, ...] = ()
    """Stretches in which nothing can be cut although there is work in them, and what is in the way."""


def plan_cuts(network: ExportedNetwork, exit_names: Sequence[str], max_blocks: int, max_tensors: int = 2) -> CutPlan:
    """Choose the cuts: one at every exit, and between exits the useful ones, at most ``max_blocks`` in all.

    Raises:
        InputError: an exit does not depend on the input, two exits sit at the same place or out of order, or more
            than ``MAX_EXIT_TENSORS`` tensors cross where an exit is attached.
    """
    analysis = CutAnalysis(network, exit_names, max_tensors)
    exits = analysis.attachments()
    chosen = set(exits)
    notes = []
    for number, (start, end) in enumerate(pairwise([0, *exits])):
        chosen |= analysis.useful_between(start, end)
        obstacle = analysis.obstacle_between(start, end)
        if obstacle is not None:
            before = exit_names[number - 1] if number else "the input"
            notes.append(f"no cut between {before} and {exit_names[number]}: {obstacle}")
    chosen = analysis.merged(chosen, set(exits), max(max_blocks, len(exits)))
    positions = [0, *sorted(chosen)]
    nodes = [network.graph.node[index] for index in analysis.main_path]
    names = block_names(nodes, analysis.macs, positions)
    cuts = tuple(
        CutPoint(position, tuple(analysis.crossing(position)), name)
        for position, name in zip(positions, names, strict=True)
    )
    return CutPlan(cuts, tuple(positions.index(position) for position in exits), tuple(notes))


class CutAnalysis:
    """Positions along the main path with what crosses there and what was computed up to there."""

    def __init__(self, network: ExportedNetwork, exit_names: Sequence[str], max_tensors: int) -> None:
        self.network = network
        self.names = exit_names
        self.max_tensors = max_tensors
        self.needs = [network.needed(given.values()) for given in network.exits]
        for name, need in zip(exit_names, self.needs, strict=True):
            if not need:
                raise InputError("network", "exits", name, "an exit that depends on the input")
        self.main_path = sorted(self.needs[-1])
        self.macs = [macs(network, network.graph.node[index]) for index in self.main_path]
        weighted = {index for index, node in enumerate(network.graph.node) if macs(network, node)}
        self.side = SideTensors(network, weighted)
        self._ends: list[int] = []
        self._checked = False
        self._crossing: dict[int, list[str]] = {}

    def attachments(self) -> list[int]:
        """The position of each exit, once it is known that the network can be cut there."""
        if not self._checked:
            self._check_attachments(self._all_ends())
            self._checked = True
        return self._ends

    def _all_ends(self) -> list[int]:
        """The position of each exit; the deepest is attached before its trailing head."""
        early = self.early_ends()
        self._ends[-1] = self._last_attachment(early[-1] if early else 0)
        return self._ends

    def early_ends(self) -> list[int]:
        """The positions of all exits but the deepest."""
        if not self._ends:
            rank = {index: position for position, index in enumerate(self.main_path, start=1)}
            ends = [max((rank[index] for index in need if index in rank), default=0) for need in self.needs[:-1]]
            self._ends = [*ends, len(self.main_path)]  # so that crossing() is defined while the last one is looked for
        return self._ends[:-1]

    def has_room_after(self, position: int) -> bool:
        """Whether the deepest exit could be attached if the exit before it sat at ``position``."""
        try:
            return self._last_attachment(position) > position
        except InputError:
            return False

    def crossing(self, position: int) -> list[str]:
        """Names of the tensors that cross at ``position``, in the order they are made."""
        if position not in self._crossing:
            self._crossing[position] = self._live(position)
        return self._crossing[position]

    def _live(self, position: int) -> list[str]:
        if position == 0:
            return self.network.inputs
        done = set(self.main_path[:position])
        self.early_ends()
        ends = self._ends
        nodes = self.network.graph.node
        read: set[str] = set()
        for given, need, end in zip(self.network.exits, self.needs, ends, strict=True):
            if end >= position:
                read |= {*given.values(), *(name for index in need - done for name in reads(nodes[index]))}
        made = {*self.network.inputs} | {name for index in done for name in nodes[index].output}
        read &= made
        if not all(name in self.side for name in read):
            again = [self.side.sources(name) for name in read if name in self.side]
            read = {name for name in read if name not in self.side}.union(*again)
        order = {name: place for place, name in enumerate(self.network.inputs)}
        return sorted(read, key=lambda name: (self.network.producer.get(name, -1), order.get(name, 0)))

    def legal(self, position: int) -> bool:
        """May the network be cut here?"""
        tensors = self.crossing(position)
        return 0 < len(self._trunk(tensors)) <= self.max_tensors and self._can_cross(tensors)

    def size(self, position: int) -> int:
        """Bytes that cross at ``position`` before compression: of float32 a byte an element, of others all."""
        return self._size_of(self.crossing(position))

    def _size_of(self, tensors: Sequence[str]) -> int:
        return sum(self.side.nbytes(name) // (4 if self._is_float(name) else 1) for name in tensors)

    def useful_between(self, start: int, end: int) -> set[int]:
        """Cuts worth having strictly between two fixed ones (or the input).

        Nearly free operations follow each weighted one; the cheapest place among them to cut, the last such, dominates
        the others. A cut of several tensors, as inside a residual block, must be smaller than all before it. None stays
        on a bump, bulkier than what is before and behind. Cuts of equal size stay: they divide the work differently.
        """
        kept = self._one_per_weighted_operation(start, end)
        kept = [position for position in kept if self._single_or_smallest(position, [start, *kept])]
        sizes = [self.size(position) for position in [start, *kept, end]]
        return {position for position, bump in zip(kept, _on_a_bump(sizes), strict=True) if not bump}

    def obstacle_between(self, start: int, end: int) -> str | None:
        """What keeps a stretch with several weighted operations from being cut at all; None if nothing does."""
        inside = range(start + 1, end)
        if sum(self.macs[position - 1] > 0 for position in inside) < 2 or any(self.legal(p) for p in inside):
            return None
        crossing = [set(self.crossing(position)) for position in inside]
        everywhere = [name for name in self.crossing(inside[len(inside) // 2]) if all(name in at for at in crossing)]
        odd = [name for name in everywhere if name in self._trunk(everywhere) and not self._is_float(name)]
        if odd:
            return f"{', '.join(odd[:3])} crosses everywhere and is not float32"
        fewest = min(len(at) for at in crossing)
        return f"at least {fewest} tensors cross everywhere ({', '.join(everywhere[:3])}), {self.max_tensors} may"

    def _single_or_smallest(self, position: int, others: Sequence[int]) -> bool:
        smallest = min(self.size(other) for other in others if other < position)
        tensors = self.crossing(position)
        trunk = self._trunk(tensors)
        alone = len(trunk) == 1 and self._size_of(tensors) <= 2 * self._size_of(trunk)
        return alone or self.size(position) < smallest

    def _one_per_weighted_operation(self, start: int, end: int) -> list[int]:
        groups: dict[int, int] = {}
        count = 0
        for position in range(start + 1, end):
            count += self.macs[position - 1] > 0
            if self.legal(position) and (count not in groups or self.size(position) <= self.size(groups[count])):
                groups[count] = position
        if 0 in groups and self.size(groups[0]) >= self.size(start):  # no work done, nothing gained
            del groups[0]
        last = max(groups, default=0)
        if last and not any(self.macs[groups[last] : end]) and self.size(groups[last]) >= self.size(end):
            del groups[last]  # no work left before the fixed cut, which is no bulkier
        return list(groups.values())

    def merged(self, chosen: set[int], fixed: set[int], limit: int) -> set[int]:
        """Drop cuts that are not ``fixed``, smallest block first, until ``limit`` are left."""
        left = set(chosen)
        while len(left) > limit:
            ordered = [0, *sorted(left)]
            work = {end: sum(self.macs[start:end]) for start, end in pairwise(ordered)}
            left.remove(min((position for position in left if position not in fixed), key=lambda p: (work[p], p)))
        return left

    def _rank(self, position: int) -> int:
        tensors = self.crossing(position)
        return len(self.network.shapes[(self._trunk(tensors) or tensors)[0]])

    def _trunk(self, tensors: Sequence[str]) -> list[str]:
        """What crosses but for what masks and the like are made of, which are no floats."""
        return [name for name in tensors if name not in self.side or self._is_float(name)]

    def _can_cross(self, tensors: Sequence[str]) -> bool:
        return len(tensors) <= MAX_EXIT_TENSORS and all(self._is_float(name) for name in self._trunk(tensors))

    def _is_float(self, name: str) -> bool:
        return self.network.types.get(name) == "float32"

    def _last_attachment(self, after: int) -> int:
        """Where the deepest exit's head starts: behind the last bulky tensor before its last weighted operation.

        So pooling, flattening and the final linear layer are the head, as they are for the other exits.
        """
        weighted = [position for position, work in enumerate(self.macs, start=1) if work and position > after]
        stop = weighted[-1] if weighted else len(self.main_path)
        begin = weighted[-2] if len(weighted) > 1 else after + 1
        legal = [position for position in range(begin, stop) if self.legal(position)]
        if not legal:
            legal = [position for position in range(after + 1, stop) if self.legal(position)]
        if not legal:
            before = f"exit {self.names[-2]}" if len(self.names) > 1 else "the input"
            expected = f"a place to cut between {before} and it, with at most {self.max_tensors} tensors crossing"
            if len(self.names) > 1:
                expected += f"; leave out {self.names[-2]}"
            raise InputError("network", "exits", self.names[-1], expected)
        fewest = min(len(self.crossing(position)) for position in legal)
        legal = [position for position in legal if len(self.crossing(position)) == fewest]
        return max(legal, key=lambda position: (self.size(position), self._rank(position), position))

    def _check_attachments(self, ends: Sequence[int]) -> None:
        previous, before = 0, "the input"
        for name, end in zip(self.names, ends, strict=True):
            if end == previous:
                dropped = before if name == self.names[-1] else name
                expected = f"an exit that sits deeper than {before}, not at the same tensor: leave out {dropped}"
                raise InputError("network", "exits", name, expected)
            if end < previous:
                raise InputError(
                    "network", "exits", name, f"an exit that sits deeper than {before}; put it before that"
                )
            tensors = self.crossing(end)
            if not self._can_cross(tensors):
                expected = (
                    f"a place where at most {MAX_EXIT_TENSORS} tensors, all float32, cross; not {self._shown(tensors)}"
                )
                raise InputError("network", "exits", name, expected)
            previous, before = end, name

    def _shown(self, tensors: Sequence[str]) -> str:
        types = self.network.types
        return ", ".join(f"{name} ({types.get(name, 'of another type or size')})" for name in tensors[:12])


def _on_a_bump(sizes: Sequence[int]) -> list[bool]:
    """For all but the first and last: is it bulkier than the nearest of another size on either side?"""
    found = []
    for index in range(1, len(sizes) - 1):
        left = next((other for other in reversed(sizes[:index]) if other != sizes[index]), sizes[index])
        right = next((other for other in sizes[index:] if other != sizes[index]), sizes[index])
        found.append(sizes[index] > max(left, right))
    return found
