"""Where exits would sit in an exported network, for choosing among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hasten.split.graph import CutAnalysis
from hasten.split.network import ExportedNetwork


class ExitPlace(NamedTuple):
    """Where an exit would be attached."""

    share: float
    """Of the work, before it."""
    tensors: int
    """How many cross there."""
    room: bool
    """Whether the network can be cut between it and the end."""


def places_of_exits(network: ExportedNetwork, exit_names: Sequence[str]) -> list[ExitPlace]:
    """Where each exit but the deepest would be attached, though the network could perhaps not be cut there."""
    analysis = CutAnalysis(network, exit_names, max_tensors=2)
    total = max(1, sum(analysis.macs))
    return [
        ExitPlace(sum(analysis.macs[:end]) / total, len(analysis.crossing(end)), analysis.has_room_after(end))
        for end in analysis.early_ends()
    ]
