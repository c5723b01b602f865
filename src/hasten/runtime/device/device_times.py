"""How long the device's own segments and codecs really take: profiled, and as measured while tasks are served."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hasten.core.profile import Profile
from hasten.runtime.service_times import FloatArray, Segment, ServiceTimes

IntArray = NDArray[np.int64]


RETRIED_AFTER = 10
"""After so many tasks of which the device ran nothing it is believed to be as profiled, or it might never be tried."""


class DeviceTimes:
    """Times in milliseconds of what runs on the device.

    A processor that gets hot, is shared, or clocks down between tasks takes longer than profiled; codecs are followed
    apart, because a task that is answered here needs none.

    Attributes:
        runs: the correction of segments.
        codecs: the correction of encoding.
        slowdown: this device plays a machine so many times slower.
    """

    def __init__(self, profile: Profile, slowdown: float) -> None:
        self.runs, self.codecs = ServiceTimes(), ServiceTimes()
        self._profile, self.slowdown = profile, slowdown
        self._tasks_without = 0
        self._ends_ms = np.concatenate([[0.0], np.cumsum([block.device_ms for block in profile.blocks])])

    @property
    def version(self) -> int:
        """Changes with every measurement."""
        return self.runs.version + self.codecs.version

    def profiled_ms(self, segment: Segment) -> float:
        """What a segment takes by the profile, with the heads of exits on the way at which a task may stop."""
        partition, exit_ = segment
        if exit_ == 0:
            passed_ms = self._profile.passed_ms("device", 0, partition, len(self._profile.exits))
            return self.leg_ms(0, partition) + self.slowdown * passed_ms
        passed_ms = self._profile.passed_ms("device", partition, self._profile.exits[exit_ - 1].after_block, exit_)
        return self.leg_ms(partition, exit_=exit_) + self.slowdown * passed_ms

    def leg_ms(self, begin: int, end: int = 0, exit_: int = 0) -> float:
        """The blocks from partition ``begin`` to ``end``, or to ``exit_`` with its head, by the profile."""
        if exit_ == 0:
            return self.slowdown * float(self._ends_ms[end] - self._ends_ms[begin])
        head = self._profile.exits[exit_ - 1]
        return self.slowdown * float(self._ends_ms[head.after_block] - self._ends_ms[begin] + head.device_ms)

    def run_ms(self, segment: Segment) -> float:
        """What a segment is believed to take."""
        return self.runs.service_ms(segment, self.profiled_ms(segment))

    def encode_ms(self, partition: int) -> float:
        """What encoding is believed to take."""
        return self.codecs.service_ms((partition, 0), self._profile.encode_ms(partition))

    def options_ms(self, exits: IntArray, partitions: IntArray) -> FloatArray:
        """(J,): what the device is believed to need for each of the options (exit, partition)."""
        heads = self._profile.exits
        whole_ms = np.array([0.0] + [self.run_ms((0, e)) for e in range(1, len(heads) + 1)])
        sent_ms = np.array(
            [self.encode_ms(0)]
            + [self.run_ms((p, 0)) + self.encode_ms(p) for p in range(1, len(self._profile.blocks) + 1)]
        )
        after = np.array([0] + [head.after_block for head in heads])
        return np.where(partitions == after[exits], whole_ms[exits], sent_ms[partitions])

    def task_arrived(self) -> bool:
        """Whether so many tasks came without any of them being run here that all is forgotten."""
        self._tasks_without += 1
        if self._tasks_without <= RETRIED_AFTER or not self.runs.calls():
            return False
        self._tasks_without = 0
        self.runs.forget()
        self.codecs.forget()
        return True

    def ran(self, segment: Segment, took_ms: float) -> None:
        """A segment was run."""
        self._tasks_without = 0
        self.runs.measured(segment, self.profiled_ms(segment), took_ms)

    def encoded(self, partition: int, took_ms: float) -> None:
        """What crosses at ``partition`` was encoded."""
        self.codecs.measured((partition, 0), self._profile.encode_ms(partition), took_ms)

    def departs(self, segment: Segment) -> bool:
        """Whether a segment that was run differs so much from its profile that it is worth a word."""
        return self.runs.departs(segment, self.profiled_ms(segment))
