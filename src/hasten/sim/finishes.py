"""How devices can finish tasks that they have sent, or begun: times and accuracies of every way, as flat arrays.

Where tasks may stop early a way's time has the heads that it passes, as the runtime's; it goes on to its exit, though.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hasten.core.options import OptionTable
from hasten.core.ping_schedule import probe_bytes
from hasten.core.scenario import Scenario
from hasten.sim.arrays import FloatArray, IntArray

HELLO_BYTES = 53
"""Besides the device's name: see ``runtime.wire.handshake``."""


class Finishes(NamedTuple):
    """Of M streams from each of P partition points; ways (E,) ascend in accuracy, then in time."""

    device_ms: FloatArray
    """(M, P, E)"""
    accuracy: FloatArray
    exit: IntArray
    after_block: IntArray
    worth_it: IntArray
    """(M, P, E): 1 where no quicker way is as accurate: a moment to look again at a task that is away."""
    ways: IntArray
    """(M, P): how many."""
    encode_ms: FloatArray
    """(M, P): making the frame that crosses there."""
    partition: IntArray
    """(M, J): of each option; the ways of a local one are not asked for."""
    option_accuracy: FloatArray
    """(M, J)"""
    probe_bits: FloatArray
    """(M,): of the first probes of a link."""
    hello_bits: FloatArray
    """(M,): of the word that a device connects with."""


def no_finishes(streams: int) -> Finishes:
    """Where devices finish nothing."""
    empty = 0, 0, 0
    return Finishes(
        device_ms=np.zeros(empty),
        accuracy=np.zeros(empty),
        exit=np.zeros(empty, dtype=np.int64),
        after_block=np.zeros(empty, dtype=np.int64),
        worth_it=np.zeros(empty, dtype=np.int64),
        ways=np.zeros((0, 0), dtype=np.int64),
        encode_ms=np.zeros((0, 0)),
        partition=np.zeros((0, 0), dtype=np.int64),
        option_accuracy=np.zeros((0, 0)),
        probe_bits=np.zeros(streams),
        hello_bits=np.zeros(streams),
    )


def finishes_of(scenario: Scenario, options: OptionTable) -> Finishes:
    """The ways of a scenario's devices, beside the options that its decisions are of."""
    if scenario.view.kind != "device":
        return no_finishes(len(scenario.devices))
    profiles = [stream.profile for stream in scenario.devices]
    points = max(len(profile.blocks) for profile in profiles) + 1
    shape = len(profiles), points, max(len(profile.exits) for profile in profiles)
    made = no_finishes(len(profiles))._replace(
        device_ms=np.zeros(shape),
        accuracy=np.zeros(shape),
        exit=np.zeros(shape, dtype=np.int64),
        after_block=np.zeros(shape, dtype=np.int64),
        worth_it=np.zeros(shape, dtype=np.int64),
        ways=np.zeros(shape[:2], dtype=np.int64),
        encode_ms=np.zeros(shape[:2]),
        partition=options.partition,
        option_accuracy=options.accuracy,
        probe_bits=np.array([8.0 * probe_bytes(profile) for profile in profiles]),
        hello_bits=np.array([8.0 * (HELLO_BYTES + len(stream.name.encode())) for stream in scenario.devices]),
    )
    known: dict[tuple[int, float], int] = {}  # thousands of streams may be alike
    for m, stream in enumerate(scenario.devices):
        like = known.setdefault((id(stream.profile), stream.slowdown), m)
        filled = made.device_ms, made.accuracy, made.exit, made.after_block, made.worth_it, made.ways, made.encode_ms
        for array in filled:
            if like < m:
                array[m] = array[like]
        if like == m:
            _fill(made, m, scenario)
    return made


def _fill(made: Finishes, m: int, scenario: Scenario) -> None:
    """The ways of one stream."""
    stream = scenario.devices[m]
    profile = stream.profile
    ends_ms = np.concatenate([[0.0], np.cumsum([block.device_ms for block in profile.blocks])])

    def way_ms(cut: int, number: int) -> float:
        head = profile.exits[number - 1]
        passed_ms = profile.passed_ms("device", cut, head.after_block, number)
        blocks_ms = float(ends_ms[head.after_block] - ends_ms[cut])
        return stream.slowdown * (blocks_ms + head.device_ms) + stream.slowdown * passed_ms

    for cut in range(len(profile.blocks) + 1):
        ways = sorted(
            (
                head.accuracy_at(head.after_block),
                way_ms(cut, number),
                number,
                head.after_block,
            )
            for number, head in enumerate(profile.exits, start=1)
            if head.after_block >= cut
        )
        made.ways[m, cut], made.encode_ms[m, cut] = len(ways), profile.encode_ms(cut)
        for i, (accuracy, device_ms, exit_, after_block) in enumerate(ways):
            made.accuracy[m, cut, i], made.device_ms[m, cut, i] = accuracy, device_ms
            made.exit[m, cut, i], made.after_block[m, cut, i] = exit_, after_block
            made.worth_it[m, cut, i] = not any(
                (other[1] < device_ms and other[0] >= accuracy) or (other[:2] == (accuracy, device_ms) and j < i)
                for j, other in enumerate(ways)
            )
