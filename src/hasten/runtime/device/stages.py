"""The device's own stage: the processor computes a prefix and its frame's payload, or all up to an answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hasten.core.profile import Profile
from hasten.runtime.device.chosen_option import ChosenOption
from hasten.runtime.device.compute import ComputeJob, DeviceRunner
from hasten.runtime.device.device_times import DeviceTimes
from hasten.runtime.device.machine import Machine
from hasten.runtime.device.tasks import Reason, Task
from hasten.runtime.device.ways import BuildTime, LocalFinish, local_finishes
from hasten.runtime.outputs import ExitAnswer, NotFiniteError, OutputReader, sure_answer
from hasten.runtime.service_times import Segment
from hasten.split.manifest import Cut

T = TypeVar("T")
Array = NDArray[np.generic]


class DeviceStage:
    """Queues a task's work on the processor."""

    def __init__(
        self,
        machine: Machine,
        runner: DeviceRunner,
        profile: Profile,
        cuts: Sequence[Cut],
        times: DeviceTimes,
        reader: OutputReader,
        build_ms: BuildTime | None = None,
    ) -> None:
        self._machine, self._runner, self._profile = machine, runner, profile
        self._cuts, self._build_ms = cuts, build_ms
        self._times, self._reader = times, reader
        self._finishes = local_finishes(profile)
        self._ran: deque[tuple[Segment | int, float]] = deque()

    def backlog_ms(self, now: float) -> float:
        """Planned work that is left."""
        return self._machine.compute.backlog_ms(now)

    def urgent_wait_ms(self, now: float) -> float:
        """How long work waits that is done before what is queued."""
        return self._machine.compute.running_left_ms(now)

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return self._machine.compute.idle

    def begin(self, task: Task, choice: ChosenOption, rest_ms: float, done: Callable[[Task, Any], None]) -> None:
        """Queue the device's part of an option; it is cancelled at its turn if it could not be useful any more.

        ``rest_ms`` is what follows it; ``done`` is told a payload, what was found, an exception, or None: cancelled.
        """
        queued_ms = self._machine.clock.now_ms()

        def work(started_ms: float) -> bytes | ExitAnswer | None:
            task.parts["device_queue"] = started_ms - queued_ms
            if task.ended or started_ms + choice.device_ms + rest_ms > task.limit_ms:
                return None
            if choice.offloads:
                return self._prefix(task)
            return self._exit(task, task.exit)

        self._submit(task, choice.device_ms, work, lambda result: done(task, result))

    def encode(self, task: Task, cut: int, done: Callable[[Any], None], urgent: bool = False) -> None:
        """Queue making the payload of what crosses at ``cut``: the input, or what the device has of the task."""
        tensors = list(task.tensors if cut else task.arrival.frame)  # the processor may be past cut 0 by now
        encode_ms = self._times.encode_ms(cut)

        def work(started_ms: float) -> bytes:
            return self._encode(tensors, cut)[0]

        self._submit(task, encode_ms, work, done, urgent)

    def finish(self, task: Task, way: LocalFinish, urgent: bool, done: Callable[[LocalFinish, Any], None]) -> None:
        """Queue finishing a task from the tensors at hand; ``done`` is told how, and as for :meth:`begin`, no payloads.

        What has become too late for this way at its turn takes the best that is still in time.
        """
        taken = way

        def work(started_ms: float) -> ExitAnswer | None:
            nonlocal taken
            if task.ended:
                return None
            if started_ms + way.device_ms > task.limit_ms:
                other = self._best_within(task, task.arrived_ms + task.deadline_ms - started_ms)
                if other is None:
                    return None
                taken = other
            return self._exit(task, taken.exit)

        self._submit(task, way.device_ms, work, lambda result: done(taken, result), urgent)

    def best_way(self, task: Task, urgent: bool) -> LocalFinish | None:
        """The best exit that still meets the deadline here, before or after what is queued."""
        now, compute = self._machine.clock.now_ms(), self._machine.compute
        wait_ms = compute.running_left_ms(now) if urgent else compute.backlog_ms(now)
        return self._best_within(task, task.arrived_ms + task.deadline_ms - now - wait_ms)

    def _best_within(self, task: Task, left_ms: float) -> LocalFinish | None:
        cut = task.held_cut

        def needs_ms(way: LocalFinish) -> float:
            return way.device_ms + self._building_ms("finish", cut, way.exit)

        return max((way for way in self._ways(cut) if needs_ms(way) <= left_ms), default=None)

    def _building_ms(self, kind: str, cut: int, exit_: int = 0) -> float:
        return self._build_ms(kind, cut, exit_) if self._build_ms is not None else 0.0

    def _ways(self, cut: int) -> list[LocalFinish]:
        """The ways to finish from a partition point, with the times believed now."""
        return [
            LocalFinish(accuracy, self._times.run_ms((cut, exit_)), exit_, after)
            for accuracy, exit_, after in self._finishes[cut]
        ]

    def ways(self, task: Task) -> list[LocalFinish]:
        """The ways to finish from what the device holds that are worth it: a longer one is more accurate."""
        best: list[LocalFinish] = []
        for way in sorted(self._ways(task.held_cut), key=lambda way: way.device_ms):
            if not best or way.accuracy > best[-1].accuracy:
                best.append(way)
        return best

    def _prefix(self, task: Task) -> bytes | ExitAnswer:
        """On the processor: blocks 1..p, then the codec, which is not slowed down (see the profile).

        Of a task that stops on the way its answer.
        """
        partition = task.partition
        if partition:
            building = self._building_ms("prefix", partition) > 0
            stopped = self._pass_exits(task, partition, task.exit)
            if stopped is not None:
                self._note(task, (0, stopped.exit), building)
                return stopped
            if task.held_cut < partition:
                leg_ms, tensors = self._times.leg_ms(task.held_cut, partition), task.tensors
                run = partial(self._runner.prefix if task.held_cut == 0 else self._runner.onward, partition, tensors)
                task.tensors = self._play(task, leg_ms, run)
                task.held_cut = partition
            self._note(task, (partition, 0), building)
        payload, task.parts["encode"] = self._encode(task.tensors, partition)
        return payload

    def _exit(self, task: Task, exit_: int) -> ExitAnswer:
        """On the processor: from the tensors at hand to an answer, of this exit or of one on the way."""
        begin, before_ms = task.held_cut, task.parts.pop("device", 0.0)
        building = self._building_ms("finish", begin, exit_) > 0
        stopped = self._pass_exits(task, self.after_block(exit_), exit_)
        if stopped is None:
            run = partial(self._runner.outputs, task.held_cut, exit_, task.tensors)
            outputs = self._play(task, self._times.leg_ms(task.held_cut, exit_=exit_), run)
        self._note(task, (begin, exit_ if stopped is None else stopped.exit), building)
        task.parts["device"] += before_ms
        return stopped if stopped is not None else self._reader.read(exit_, outputs)

    def _pass_exits(self, task: Task, end: int, exit_: int) -> ExitAnswer | None:
        """Run up to each exit on the way to ``end`` where a task for ``exit_`` may stop; the answer of a sure one."""
        for passed in self._profile.passed(task.held_cut, end, exit_):
            run = partial(self._runner.check, task.held_cut, passed, task.tensors)
            outputs, task.tensors = self._play(task, self._times.leg_ms(task.held_cut, exit_=passed), run)
            task.held_cut = self.after_block(passed)
            found = sure_answer(self._reader, passed, outputs, self._profile.threshold(passed))
            if found is not None:
                return found
        return None

    def after_block(self, exit_: int) -> int:
        """The last block before an exit: the partition of its answers from the device."""
        return self._profile.exits[exit_ - 1].after_block

    def _play(self, task: Task, profiled_ms: float, run: Callable[[], T]) -> T:
        """Run a part of a segment."""
        slowdown = self._times.slowdown
        result, took_ms = self._machine.compute.play(slowdown, profiled_ms / slowdown, run)
        task.parts["device"] = task.parts.get("device", 0.0) + took_ms
        return result

    def _note(self, task: Task, segment: Segment, building: bool) -> None:
        """A segment was run, all its parts: its time tells of the machine unless a session was built in it."""
        if not building:
            self._ran.append((segment, task.parts["device"]))

    def _encode(self, tensors: Sequence[Array], partition: int) -> tuple[bytes, float]:
        encode = partial(self._machine.encode, tensors, self._cuts[partition])
        payload, took_ms = self._machine.compute.play(1.0, self._profile.encode_ms(partition), encode)
        self._ran.append((partition, took_ms))
        return payload, took_ms

    def _submit(
        self,
        task: Task,
        planned_ms: float,
        work: Callable[[float], Any],
        done: Callable[[Any], None],
        urgent: bool = False,
    ) -> None:
        """Queue work; what it measured is learnt from in the event loop, before ``done`` is told."""

        def learn_and_tell(result: Any) -> None:
            while self._ran:
                what, took_ms = self._ran.popleft()
                if isinstance(what, int):
                    self._times.encoded(what, took_ms)
                else:
                    self._times.ran(what, took_ms)
            done(result)

        self._machine.compute.submit(ComputeJob(planned_ms, work, learn_and_tell, task.number), urgent)


def reason_of(result: Any) -> Reason:
    """Why a task ends that the device gave no answer: an exception says."""
    if isinstance(result, NotFiniteError):
        return Reason.INVALID
    return Reason.FAILED if isinstance(result, Exception) else Reason.NO_EXIT_IN_TIME
