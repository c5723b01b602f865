"""Schedulers for tasks whose deadline is not the device's own, as single calls of a program may ask for.

A scheduler is told one deadline and plans with it. So each deadline that is asked for gets a copy of the scheduler that
is planned with it, and the device's usual tasks are decided as if there were no others. Copies are few: a task with one
deadline more is decided by the scheduler of the next longer deadline D, and shown all backlogs longer by D less its own
deadline. The timing law only adds, and takes the later of two times, so every predicted latency grows by just that
much, and an option meets D in what is shown if and only if it meets the task's own deadline. A deadline that is longer
than all takes the place of the longest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hasten.core.decision import Context, Outcomes, View
from hasten.core.errors import HastenError
from hasten.core.options import DROP
from hasten.core.task_log import Facts
from hasten.runtime.device.scheduler_host import SchedulerHost
from hasten.runtime.device.tasks import Task

MOST_DEADLINES = 8
"""The device's own included."""


class PlannedScheduler:
    """A scheduler and the deadline that it is planned with; its time, notes and outcomes are its own.

    Attributes:
        note: what it had to tell of the last decision, if anything, or why Greedy decided in its place.
        facts: what it was told beforehand.
        version: of these facts.
    """

    def __init__(self, host: SchedulerHost, deadline_ms: float) -> None:
        self.host, self.deadline_ms = host, deadline_ms
        self.note: str | None = None
        self.facts: Facts
        self.version = 0
        self._notes: dict[str, int] = {}
        self._outcomes: list[tuple[int, float, float]] = []

    def begin(self, context: Context, facts: Facts, version: int, patience_ms: float | None) -> None:
        """Have it begin anew with these facts, but its own deadline."""
        self.host.begin(replace(context, deadline_ms=np.array([self.deadline_ms])), patience_ms)
        self.begun(facts)
        self.version = version

    def begun(self, facts: Facts) -> None:
        """It has begun anew, with these facts."""
        self._notes, self.facts = {}, facts

    def decide(self, view: View, now_ms: float) -> int:
        """The option for the decision in ``view``, or DROP; ``now_ms`` counts from the start of the run."""
        view.now_ms[0] = now_ms - self.facts.from_ms
        option = self.host.decide(view)
        self.note = self.host.note or self._new_note()
        return option

    def learn(self, task: Task) -> None:
        """Keep a task's outcome for a scheduler that learns from them; told before the next decision."""
        if self.host.observes and task.option != DROP:
            self._outcomes.append((task.option, task.device_done_ms - task.arrived_ms, task.latency_ms))

    def forget_outcomes(self) -> None:
        """They are of another's decisions."""
        self._outcomes = []

    def tell(self) -> None:
        """Hand over the outcomes that have become known."""
        if self._outcomes:
            option, device_done_ms, latency_ms = zip(*self._outcomes, strict=True)
            self._outcomes = []
            first = np.zeros(len(option), np.int64)
            self.host.observe(Outcomes(first, first, np.array(option), np.array(device_done_ms), np.array(latency_ms)))

    def _new_note(self) -> str | None:
        """What the scheduler counted at the last decision."""
        if not self.host.noting:
            return None
        before, self._notes = self._notes, self.host.notes()
        return next((name for name, count in self._notes.items() if count > before.get(name, 0)), None)


class DeadlineSchedulers:
    """Copies of a scheduler by deadline, made when asked for.

    Args:
        own: the device's own; its host is copied.
        begin: tells a copy what is known.
    """

    def __init__(self, own: PlannedScheduler, begin: Callable[[PlannedScheduler], None]) -> None:
        self._own, self._begin = own, begin
        self._others: dict[float, PlannedScheduler] = {}
        self._refused = False
        """Whether a copy has refused its deadline: no more are made."""

    def of(self, deadline_ms: float, version: int) -> PlannedScheduler:
        """Who decides a task with this deadline; told the facts of this version.

        Its own deadline is the task's, or a longer one; a shorter one only where the scheduler cannot be copied.
        """
        if deadline_ms == self._own.deadline_ms:
            return self._own
        for found in (self._others.get(deadline_ms) or self._copied(deadline_ms), self._next_longer(deadline_ms)):
            if found is not None and (found.version == version or self._told(found)):
                return found
        return self._own

    def learn(self, task: Task) -> None:
        """Keep a task's outcome for whoever decided it, if it is still there."""
        asked = self._own if task.planned_for_ms == self._own.deadline_ms else self._others.get(task.planned_for_ms)
        if asked is not None:
            asked.learn(task)

    def forget(self) -> None:
        """Another scheduler has taken over: copies are made of that one."""
        self._others, self._refused = {}, False

    def failure(self) -> str | None:
        """What a copy did wrong, in words, if one did."""
        return next((other.host.failure for other in self._others.values() if other.host.failure), None)

    def _copied(self, deadline_ms: float) -> PlannedScheduler | None:
        full, longest = len(self._others) + 1 >= MOST_DEADLINES, max(self._others, default=0.0)
        if self._refused or (full and deadline_ms < max(longest, self._own.deadline_ms)):
            return None
        host = self._own.host.double()
        if host is None:
            return None
        if full:
            del self._others[longest]
        self._others[deadline_ms] = PlannedScheduler(host, deadline_ms)
        return self._others[deadline_ms]

    def _next_longer(self, deadline_ms: float) -> PlannedScheduler:
        known = [self._own, *self._others.values()]
        longer = [each for each in known if each.deadline_ms >= deadline_ms]
        if longer:
            return min(longer, key=lambda each: each.deadline_ms)
        return max(known, key=lambda each: each.deadline_ms)

    def _told(self, other: PlannedScheduler) -> bool:
        """Tell a copy what is known; one that refuses its deadline is let go."""
        try:
            self._begin(other)
        except HastenError:
            self._others.pop(other.deadline_ms, None)
            self._refused = True
            return False
        return True
