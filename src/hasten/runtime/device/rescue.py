"""Finishing a task on the device when the edge fails it, or will not answer in time; the first answer counts.

When a task that is away is taken back is the law of :mod:`hasten.core.rescue`, which the simulator shares.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from hasten.core.rescue import (
    HOPELESS,
    LAST_WORD_MS,
    LATENESS_KEPT,
    answer_chance,
    last_look_ms,
    look_ms,
    takes_back,
)
from hasten.runtime.clock import Clock
from hasten.runtime.device.endings import Endings
from hasten.runtime.device.stages import DeviceStage, reason_of
from hasten.runtime.device.tasks import Fallback, Outcome, Reason, Task
from hasten.runtime.device.ways import LocalFinish
from hasten.runtime.outputs import ExitAnswer


class Punctuality:
    """How much later than predicted answers came; infinitely, if they did not come."""

    def __init__(self) -> None:
        self._late_ms: deque[float] = deque(maxlen=LATENESS_KEPT)
        self._due_ms: dict[int, float] = {}

    def sent(self, frame: int, due_ms: float) -> None:
        """The answer to a frame, by its number, is predicted for ``due_ms``."""
        self._due_ms[frame] = due_ms

    def came(self, frame: int, late_ms: float) -> None:
        """An answer came so much after its predicted time (before, if negative), or did not for very long."""
        self._late_ms.append(late_ms)
        self.gone(frame)

    def gone(self, frame: int) -> None:
        """A frame's answer tells nothing any more."""
        self._due_ms.pop(frame, None)

    def chance(self, now_ms: float, due_ms: float, ends_ms: float, sent_ms: float) -> float:
        """Of an answer in time, predicted for ``due_ms``, see :func:`hasten.core.rescue.answer_chance`."""
        slack_ms = ends_ms - due_ms
        later = sum(now_ms - other_ms > slack_ms for other_ms in self._due_ms.values())
        return answer_chance(self._late_ms, len(self._late_ms), later, now_ms - due_ms, slack_ms, due_ms - sent_ms)


class Rescue:
    """Takes tasks back.

    Attributes:
        elsewhere: has a task go on at another edge, where there are several, and tells whether it does.
    """

    def __init__(self, clock: Clock, stage: DeviceStage, endings: Endings, punctuality: Sequence[Punctuality]) -> None:
        """``punctuality`` is that of each edge."""
        self._clock, self._stage, self._endings, self._punctuality = clock, stage, endings, punctuality
        self.elsewhere: Callable[[Task, Fallback], bool] = lambda task, why: False

    def watch(self, task: Task) -> None:
        """A task has been sent: look at it again while it could still be finished here."""
        ways = self._stage.ways(task)
        ends_ms = task.arrived_ms + task.deadline_ms
        moments = [(look_ms(ends_ms, way.device_ms, task.deadline_ms), way) for way in reversed(ways)]
        last_ms = last_look_ms(ends_ms, ways[0].device_ms)
        if last_ms > moments[-1][0]:
            moments.append((last_ms, ways[0]))
        self._look_again(task, [moment for moment in moments if moment[0] > task.sent_ms])

    def _look_again(self, task: Task, moments: list[tuple[float, LocalFinish]]) -> None:
        if moments:
            self._clock.call_at(moments[0][0], lambda: self._look(task, moments))

    def _look(self, task: Task, moments: list[tuple[float, LocalFinish]]) -> None:
        if task.ended or task.fallback or task.rescuing:
            return
        chance = self._chance(task)
        way = moments[0][1]
        shorter = len(moments) > 1 and moments[1][1] is not way
        next_accuracy = moments[1][1].accuracy if shorter else 0.0
        if takes_back(chance, way.accuracy, self._edge_accuracy(task), next_accuracy, self._stage.idle):
            self._take_back(task, None if chance > HOPELESS else Fallback.SILENT)
            if task.rescuing or task.ended:
                return
        self._look_again(task, moments[1:])

    def _chance(self, task: Task) -> float:
        due_ms, ends_ms = task.arrived_ms + task.predicted_ms, task.arrived_ms + task.deadline_ms
        return self._punctuality[task.edge].chance(self._clock.now_ms(), due_ms, ends_ms, task.sent_ms)

    @staticmethod
    def _edge_accuracy(task: Task) -> float:
        return task.choice.accuracy if task.choice is not None else 0.0

    def now(self, task: Task, why: Fallback, otherwise: Reason) -> None:
        """A task cannot go on as decided: finish it here or elsewhere, or end it for this reason if it is too late."""
        if task.ended:
            return
        if task.held_answer is not None:
            task.fallback = why
            self._endings.answer(task, self._clock.now_ms(), *task.held_answer)
        elif task.rescuing:
            task.fallback = why
        elif not task.fallback and not self.elsewhere(task, why):
            self._take_back(task, why)
            if not task.rescuing:
                task.fallback = why
                self._endings.end(task, Outcome.LATE, otherwise)

    def _take_back(self, task: Task, why: Fallback | None) -> None:
        """Finish a task here before what is queued; without a reason only in case its answer does not come."""
        way = self._stage.best_way(task, urgent=True)
        if way is not None:
            task.rescuing, task.fallback = True, why
            self._stage.finish(task, way, True, lambda taken, result: self._finished(task, taken, result))

    def _finished(self, task: Task, way: LocalFinish, result: Any) -> None:
        task.rescuing = False
        if task.ended:
            return
        now = self._clock.now_ms()
        if not isinstance(result, ExitAnswer):
            if task.fallback:
                self._endings.end(task, Outcome.LATE, reason_of(result))
            return
        last_ms = task.arrived_ms + task.deadline_ms - LAST_WORD_MS
        if task.fallback or way.accuracy >= self._edge_accuracy(task) or now >= last_ms:
            self._give(task, (self._stage.after_block(result.exit), result))
        else:
            task.held_answer = (self._stage.after_block(result.exit), result)
            self._clock.call_at(last_ms, lambda: self._give(task, (self._stage.after_block(result.exit), result)))

    def _give(self, task: Task, answer: tuple[int, ExitAnswer]) -> None:
        if not task.ended:
            task.fallback = task.fallback or Fallback.SILENT
            self._endings.answer(task, self._clock.now_ms(), *answer)
