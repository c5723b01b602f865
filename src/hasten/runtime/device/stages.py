"""The device's own stage: the processor computes a prefix and its frame's payload, or all up to an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.profile import Profile
from hasten.runtime.device.chosen_option import ChosenOption
from hasten.runtime.device.compute import ComputeJob, DeviceRunner
from hasten.runtime.device.machine import Machine
from hasten.runtime.device.tasks import Reason, Task
from hasten.runtime.device.ways import BuildTime, LocalFinish, local_finishes
from hasten.runtime.outputs import NotFiniteError, top_class
from hasten.split.manifest import Cut

Label = tuple[int, float, NDArray[np.float32]]
"""A class, its probability, and the logits (classes,)."""


class DeviceStage:
    """Queues a task's work on the processor."""

    def __init__(
        self,
        machine: Machine,
        runner: DeviceRunner,
        profile: Profile,
        slowdown: float,
        cuts: Sequence[Cut],
        build_ms: BuildTime | None = None,
    ) -> None:
        self._machine, self._runner, self._profile, self._slowdown = machine, runner, profile, slowdown
        self._cuts, self._build_ms = cuts, build_ms
        self._ways = local_finishes(profile, slowdown)

    def backlog_ms(self, now: float) -> float:
        """Planned work that is left."""
        return self._machine.compute.backlog_ms(now)

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return self._machine.compute.idle

    def begin(self, task: Task, choice: ChosenOption, rest_ms: float, done: Callable[[Task, Any], None]) -> None:
        """Queue the device's part of an option; it is cancelled at its turn if it could not be useful any more.

        ``rest_ms`` is what follows it; ``done`` is told a payload, a :data:`Label`, an exception, or None: cancelled.
        """
        queued_ms = self._machine.clock.now_ms()

        def work(started_ms: float) -> bytes | Label | None:
            task.parts["device_queue"] = started_ms - queued_ms
            if task.ended or started_ms + choice.device_ms + rest_ms > task.limit_ms:
                return None
            if choice.offloads:
                return self._prefix(task, choice.device_ms)
            return self._exit(task, task.exit, choice.device_ms)

        self._machine.compute.submit(ComputeJob(choice.device_ms, work, lambda result: done(task, result), task.number))

    def encode(self, task: Task, done: Callable[[Any], None]) -> None:
        """Queue making the payload of the task's untouched input: a frame that is sent for its own sake."""
        tensors, encode_ms = list(task.tensors), self._profile.encode_ms(0)

        def work(started_ms: float) -> bytes:
            return self._machine.compute.play(1.0, encode_ms, lambda: self._machine.encode(tensors, self._cuts[0]))[0]

        self._machine.compute.submit(ComputeJob(encode_ms, work, done, task.number))

    def finish(self, task: Task, way: LocalFinish, urgent: bool, done: Callable[[LocalFinish, Any], None]) -> None:
        """Queue finishing a task from the tensors at hand; ``done`` is told how, and as for :meth:`begin`, no payloads.

        What has become too late for this way at its turn takes the best that is still in time.
        """
        taken = way

        def work(started_ms: float) -> Label | None:
            nonlocal taken
            if task.ended:
                return None
            if started_ms + way.device_ms > task.limit_ms:
                other = self._best_within(task, task.arrived_ms + task.deadline_ms - started_ms)
                if other is None:
                    return None
                taken = other
            return self._exit(task, taken.exit, taken.device_ms)

        self._machine.compute.submit(
            ComputeJob(way.device_ms, work, lambda result: done(taken, result), task.number), urgent
        )

    def best_way(self, task: Task, urgent: bool) -> LocalFinish | None:
        """The best exit that still meets the deadline here, before or after what is queued."""
        now, compute = self._machine.clock.now_ms(), self._machine.compute
        wait_ms = compute.running_left_ms(now) if urgent else compute.backlog_ms(now)
        return self._best_within(task, task.arrived_ms + task.deadline_ms - now - wait_ms)

    def _best_within(self, task: Task, left_ms: float) -> LocalFinish | None:
        cut = task.held_cut
        feasible = (way for way in self._ways[cut] if way.device_ms + self._building_ms(cut, way.exit) <= left_ms)
        return max(feasible, default=None)

    def _building_ms(self, cut: int, exit_: int) -> float:
        return self._build_ms("finish", cut, exit_) if self._build_ms is not None else 0.0

    def ways(self, task: Task) -> list[LocalFinish]:
        """The ways to finish from what the device holds that are worth it: a longer one is more accurate."""
        best: list[LocalFinish] = []
        for way in sorted(self._ways[task.held_cut], key=lambda way: way.device_ms):
            if not best or way.accuracy > best[-1].accuracy:
                best.append(way)
        return best

    def _prefix(self, task: Task, device_ms: float) -> bytes:
        """On the processor: blocks 1..p, then the codec, which is not slowed down (see the profile)."""
        compute, encode_ms = self._machine.compute, self._profile.encode_ms(task.partition)
        if task.partition:
            tensors = task.tensors
            task.tensors, task.parts["device"] = compute.play(
                self._slowdown,
                (device_ms - encode_ms) / self._slowdown,
                lambda: self._runner.prefix(task.partition, tensors),
            )
            task.held_cut = task.partition
        payload, task.parts["encode"] = compute.play(
            1.0, encode_ms, lambda: self._machine.encode(task.tensors, self._cuts[task.partition])
        )
        return payload

    def _exit(self, task: Task, exit_: int, device_ms: float) -> Label:
        """On the processor: from the tensors at hand to an answer."""
        held_cut, tensors = task.held_cut, task.tensors
        logits, took_ms = self._machine.compute.play(
            self._slowdown, device_ms / self._slowdown, lambda: self._runner.finish(held_cut, exit_, tensors)
        )
        task.parts["device"] = task.parts.get("device", 0.0) + took_ms
        return *top_class(logits), logits


def reason_of(result: Any) -> Reason:
    """Why a task ends that the device gave no answer: an exception says."""
    if isinstance(result, NotFiniteError):
        return Reason.INVALID
    return Reason.FAILED if isinstance(result, Exception) else Reason.NO_EXIT_IN_TIME
