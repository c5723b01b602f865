"""The options of one device at all of its edges, with what they are believed to need."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hasten.core.options import StreamCosts, of_several_edges, option_table
from hasten.core.profile import Profile
from hasten.runtime.device.beliefs import Beliefs
from hasten.runtime.device.option_times import OptionTimes
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.device.ways import BuildTime, building
from hasten.runtime.service_times import FloatArray


class KnownOptions:
    """J options of one stream: local ones once, the others at each edge.

    Attributes:
        profiled: their table, with the times of the profile.
        edge: (J,) the edge of each; 0 for local ones.
        sent: (J,) whether anything is sent.
    """

    def __init__(
        self,
        profile: Profile,
        settings: AgentSettings,
        beliefs: Sequence[Beliefs],
        edge_slowdowns: Sequence[float],
        build_ms: BuildTime | None,
    ) -> None:
        tables = [
            option_table([StreamCosts(profile, settings.slowdown, slowdown, settings.energy_weight_per_mj)])
            for slowdown in edge_slowdowns
        ]
        self._times = [
            OptionTimes(table, building(table, profile, build_ms), of_edge.device, of_edge.edge)
            for table, of_edge in zip(tables, beliefs, strict=True)
        ]
        table = self.profiled = tables[0] if len(tables) == 1 else of_several_edges(tables)
        self.edge, self.sent = table.edge[0], table.payload_bits[0] > 0
        named = list(zip(*(row[0].tolist() for row in (table.edge, table.exit, table.partition)), strict=True))
        self._number = {name: option for option, name in enumerate(named)}
        width = tables[0].exit.shape[1]
        places = [width * edge + tables[edge].index(0, exit_, partition) for edge, exit_, partition in named]
        self._place = np.array(places)  # of each in the tables one after the other
        self._device: tuple[list[FloatArray], FloatArray] = [], np.zeros(0)
        self._edge: tuple[list[FloatArray], FloatArray] = [], np.zeros(0)

    @property
    def device_ms(self) -> FloatArray:
        """(J,): on the device now, building of segments that are not held included."""
        if len(self._times) == 1:
            return self._times[0].device_ms
        self._device = self._joined(self._device, [times.device_ms for times in self._times])
        return self._device[1]

    @property
    def edge_ms(self) -> FloatArray:
        """(J,): at work at the edge now."""
        if len(self._times) == 1:
            return self._times[0].edge_ms
        self._edge = self._joined(self._edge, [times.edge_ms for times in self._times])
        return self._edge[1]

    def _joined(
        self, known: tuple[list[FloatArray], FloatArray], parts: list[FloatArray]
    ) -> tuple[list[FloatArray], FloatArray]:
        """What is known at each edge as one, made anew only where a part was."""
        if all(one is other for one, other in zip(known[0], parts, strict=False)) and known[0]:
            return known
        return parts, np.concatenate(parts)[self._place]

    def option(self, edge: int, exit_: int, partition: int) -> int:
        """The option that computes up to ``partition`` here, and from there to an exit at this edge."""
        return self._number[edge, exit_, partition]
