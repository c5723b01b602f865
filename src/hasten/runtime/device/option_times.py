"""What device and edge are believed to need for each option now; made anew only when more was measured."""

from __future__ import annotations

import numpy as np

from hasten.core.options import OptionTable
from hasten.runtime.device.device_times import DeviceTimes
from hasten.runtime.device.edge_times import EdgeTimes
from hasten.runtime.service_times import FloatArray, Segment


class OptionTimes:
    """For the J options of one stream, whose table holds the profiled times.

    What every service at the edge takes longer is no part of ``edge_ms``: it occupies no worker that is known of, and
    belongs to the round trip.
    """

    def __init__(self, profiled: OptionTable, building_ms: FloatArray, device: DeviceTimes, edge: EdgeTimes) -> None:
        self._exits, self._partitions = profiled.exit[0], profiled.partition[0]
        self._edge_profiled_ms, self._building_ms = profiled.edge_ms[0], building_ms
        self._device, self._edge = device, edge
        sent = np.flatnonzero(profiled.payload_bits[0] > 0)
        self._sent = profiled.payload_bits[0] > 0
        self._columns: dict[Segment, np.ndarray] = {
            (int(self._partitions[j]), int(self._exits[j])): np.array([j]) for j in sent
        }
        self._device_ms = self._edge_ms = np.zeros(0)
        self._versions = -1, -1

    @property
    def device_ms(self) -> FloatArray:
        """(J,): on the device, building of segments that are not held included."""
        if self._versions[0] != self._device.version:
            self._versions = self._device.version, self._versions[1]
            self._device_ms = self._device.options_ms(self._exits, self._partitions) + self._building_ms
        return self._device_ms

    @property
    def edge_ms(self) -> FloatArray:
        """(J,): at work at the edge."""
        if self._versions[1] != self._edge.version:
            self._versions = self._versions[0], self._edge.version
            corrected_ms = self._edge.corrected(self._edge_profiled_ms, self._columns) - self._edge.extra_ms
            self._edge_ms = np.where(self._sent, np.maximum(corrected_ms, 0.0), 0.0)
        return self._edge_ms
