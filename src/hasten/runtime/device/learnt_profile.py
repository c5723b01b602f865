"""The profile that an agent has learnt: the one it began with, and what it measured where that is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hasten.core.profile import Profile
from hasten.runtime.device.beliefs import Beliefs
from hasten.runtime.device.device_times import DeviceTimes
from hasten.runtime.service_times import LEAST_OWN, FloatArray, Segment, ServiceTimes
from hasten.split.segment_times import non_negative_least_squares

UNMEASURED_WEIGHT = 0.03
"""What was not measured itself, but only follows from what was, counts so much in the fit (squared)."""
OPEN_WEIGHT = 1e-3
"""What no segment tells apart (a head from the block before it) stays in the proportion of the profile."""
SHORTEST_MS = 1e-6


def learnt_profile(profile: Profile, beliefs: Beliefs, edge_slowdown: float) -> Profile:
    """``profile`` with the times believed now; block and head times are fitted to those of the segments.

    A role of which nothing was measured keeps its times. Times are those of machines that play no slower ones.
    """
    device, edge = beliefs.device, beliefs.edge
    blocks = [block.model_dump() for block in profile.blocks]
    heads = [head.model_dump() for head in profile.exits]
    changed: dict[str, object] = {
        "task_ms": round(beliefs.task.ms, 4),
        "offload_ms": round(beliefs.offload.ms, 4),
    }
    learnt = []
    if device.runs.calls():
        _learn(profile, blocks, heads, "device_ms", _device_segments(profile, device), device.runs.factor)
        learnt.append(f"device ({device.runs.calls()} segments run)")
    if device.codecs.calls():
        changed["input_encode_ms"] = device.encode_ms(0)
        for number, block in enumerate(blocks, start=1):
            block["encode_ms"] = device.encode_ms(number)
    if edge.calls():
        _learn(profile, blocks, heads, "edge_ms", _edge_segments(profile, edge, edge_slowdown), edge.factor)
        learnt.append(f"edge ({edge.calls()} answers)")
    if not learnt:
        return profile
    changed["source"] = f"learnt while running: {', '.join(learnt)}; before: {profile.source}"[:10_000]
    described = profile.model_dump(by_alias=True, exclude_none=True)
    return Profile.model_validate(described | changed | {"blocks": blocks, "exits": heads})


Part = dict[str, Any]
Segments = tuple[list[Segment], FloatArray, FloatArray]
"""Segments, what each takes, and how much that counts."""


def _device_segments(profile: Profile, device: DeviceTimes) -> Segments:
    """Prefixes, and every way to finish here."""
    segments = [(p, 0) for p in range(1, len(profile.blocks) + 1)]
    segments += [(p, e) for e, head in enumerate(profile.exits, start=1) for p in range(head.after_block + 1)]
    times_ms = [device.run_ms(segment) / device.slowdown for segment in segments]
    return segments, np.array(times_ms), _weights(segments, device.runs)


def _edge_segments(profile: Profile, edge: ServiceTimes, slowdown: float) -> Segments:
    """Everything that an edge can be asked for."""
    segments = [(p, e) for e, head in enumerate(profile.exits, start=1) for p in range(head.after_block)]
    times_ms = []
    for p, e in segments:
        head = profile.exits[e - 1]
        blocks_ms = sum(block.edge_ms for block in profile.blocks[p : head.after_block])
        profiled_ms = slowdown * (blocks_ms + profile.passed_ms("edge", p, head.after_block, e) + head.edge_ms)
        times_ms.append(edge.service_ms((p, e), profiled_ms) / slowdown)
    return segments, np.array(times_ms), _weights(segments, edge)


def _weights(segments: Sequence[Segment], times: ServiceTimes) -> FloatArray:
    return np.array([1.0 if times.calls(segment) >= LEAST_OWN else UNMEASURED_WEIGHT for segment in segments])


def _learn(
    profile: Profile, blocks: list[Part], heads: list[Part], key: str, segments: Segments, factor: float
) -> None:
    """Enter block and head times whose sums come nearest to those of the segments, relatively."""
    parts = [*blocks, *heads]
    keys, times_ms, weights = segments
    matrix = np.zeros((len(keys), len(parts)))
    for row, (p, e) in enumerate(keys):
        begin, end = (0, p) if e == 0 else (p, profile.exits[e - 1].after_block)
        matrix[row, begin:end] = 1.0
        run = profile.passed(begin, end, e or len(heads))  # where tasks may stop early their heads are run, too
        matrix[row, [len(blocks) + number - 1 for number in (*run, *([e] if e else []))]] = 1.0
    expected_ms = np.array([factor * part[key] for part in parts])
    rows = np.concatenate([matrix, np.eye(len(parts))])
    goal_ms = np.maximum(np.concatenate([times_ms, expected_ms]), SHORTEST_MS)
    weight = np.concatenate([weights, np.full(len(parts), OPEN_WEIGHT)])
    found_ms = non_negative_least_squares(rows * (weight / goal_ms)[:, None], weight)
    for part, value in zip(parts, found_ms, strict=True):
        part[key] = float(value)
