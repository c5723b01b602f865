"""A package and its executor made of nothing but a profile: no network is run, sizes and times are the profile's."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.profile import Profile
from hasten.runtime.virtual.machine import MARK_BYTES
from hasten.runtime.wire.tasks import submit_overhead_bytes
from hasten.split.manifest import LOGITS, Cut, TensorSpec

CLASSES = 10
SURE = 1000.0
"""A logit so large that the probability is 1."""
FRAME = np.zeros((1, 1), np.uint32)
"""The frame of task 0, see :func:`frame_of`."""


def frame_of(number: int) -> NDArray[np.uint32]:
    """A task's frame: nothing but its number, which the payload made of it begins with."""
    return np.array([[number]], dtype=np.uint32)


def number_in(payload: bytes) -> int:
    """The number of the task that a payload was made of."""
    return int.from_bytes(payload[:MARK_BYTES], sys.byteorder)


class StandIn:
    """Computes nothing: class 1. Exits that a task passes are sure if the task is easy enough.

    Args:
        profile: says where tasks stop.
        ease: how easy tasks are, by their number (``core.confidence``).
    """

    def __init__(self, profile: Profile | None = None, ease: NDArray[np.float64] | None = None) -> None:
        self._profile, self._ease = profile, ease

    def prefix(self, partition: int, inputs: Sequence[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """What comes in."""
        return list(inputs)

    def outputs(
        self, partition: int, exit_: int, tensors: Sequence[NDArray[np.generic]]
    ) -> dict[str, NDArray[np.generic]]:
        """Class 1, almost surely."""
        return _class_1(9.0)

    def check(
        self, partition: int, exit_: int, tensors: Sequence[NDArray[np.generic]]
    ) -> tuple[dict[str, NDArray[np.generic]], list[NDArray[np.generic]]]:
        """Class 1, surely or just so; the task's number goes on."""
        assert self._profile is not None and self._profile.confidence is not None and self._ease is not None
        stays = self._profile.confidence.outcomes[-1][-1]  # of tasks that stay on the device all the way
        easy = self._ease[int(tensors[0].item())] < stays.until(exit_)
        return _class_1(SURE if easy else 0.0), list(tensors)

    def onward(self, partition: int, tensors: Sequence[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """What comes in."""
        return list(tensors)


def _class_1(logit: float) -> dict[str, NDArray[np.generic]]:
    logits = np.zeros(CLASSES, dtype=np.float32)
    logits[1] = logit
    return {LOGITS: logits}


def stand_in_package(profile: Profile) -> Any:
    """What an agent and an edge ask of a package, from its profile: its frames are of the profile's sizes.

    A frame has a head and a task's number, so that none is smaller than :data:`LEAST_FRAME_BYTES`. Profiles alike have
    the same digest.
    """
    frames = [max(profile.payload_bytes(p), LEAST_FRAME_BYTES) for p in range(len(profile.blocks) + 1)]
    cuts = tuple(_cut(f"cut{p}", size - HEAD_BYTES) for p, size in enumerate(frames))
    logits = (TensorSpec(name=LOGITS, shape=(CLASSES,), dtype="float32"),)
    manifest = SimpleNamespace(
        name=profile.name,
        block_count=len(profile.blocks),
        cuts=cuts,
        classes=CLASSES,
        exits=profile.exits,
        outputs=lambda exit_: logits,
        confidence=profile.confidence,
    )
    digest = hashlib.sha256(profile.to_json().encode()).hexdigest()
    return SimpleNamespace(profile=profile, manifest=manifest, digest=digest)


def _cut(name: str, size: int) -> Cut:
    return Cut(name=name, tensors=(TensorSpec(name="x", shape=(size,), dtype="uint8"),), payload_bytes=size)


HEAD_BYTES = submit_overhead_bytes(_cut("any", 1))
LEAST_FRAME_BYTES = HEAD_BYTES + MARK_BYTES
