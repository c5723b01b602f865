"""Has a scheduler plan and decide without ever holding up the event loop for long.

A scheduler that answers at once is called in place. One that needs long, for its first decision or for any later one,
works in a helper thread: it is waited for a moment, and Greedy decides whatever it is not ready for. One that fails, or
chooses what does not exist, is not asked again, and Greedy decides from then on.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable
from typing import Any

from hasten.core.decision import Context, Noting, Observer, Outcomes, Scheduler, View
from hasten.core.errors import InputError
from hasten.core.options import DROP
from hasten.runtime.device.beside import Helper, Work
from hasten.schedulers.greedy import Greedy

START_PATIENCE_MS = 1000.0
"""Before the first task the agent waits so long for its scheduler to be ready."""
FIRST_PATIENCE_MS = 50.0
"""So long the loop is held at most by a scheduler that is not known to be slow."""
SLOW_PATIENCE_MS = 1.0
"""And so long by one that is."""
REHEARSAL_STEPS, REHEARSAL_STEP_S = 150, 0.02
QUICK_MS = 5.0
TRUSTED_AFTER = 3
"""After so many quick decisions in a row a scheduler is called in place."""
PLANNING, FAILED = "scheduler_planning", "scheduler_failed"
"""Notes in the log on decisions that Greedy took."""


class SchedulerHost:
    """Holds the scheduler and whoever decides for it meanwhile.

    Attributes:
        note: why Greedy took the last decision, if it did.
        failure: what the scheduler did wrong, in words; None while it works.
        began: how often the scheduler has begun anew.
    """

    def __init__(self, scheduler: Scheduler, helper: Helper, tell: Callable[[str], None]) -> None:
        self.note: str | None = None
        self.failure: str | None = None
        self.began = 0
        self._scheduler, self._helper, self._tell = scheduler, helper, tell
        self._greedy = Greedy()
        self._context: Context | None = None
        self._resetting: Work | None = None
        self._deciding: Work | None = None
        self._quick = 0
        self._slow = False
        self._told_slow = False
        self._adopt(scheduler)

    def begin(self, context: Context, patience_ms: float | None = None) -> None:
        """Have the scheduler begin anew with these facts; an :class:`InputError` of it within our patience is raised.

        What it refuses later, or breaks over, is told and Greedy decides.
        """
        self._context = context
        self._greedy.reset(context)
        self._start(self._scheduler, context, patience_ms)

    async def rehearse(self, view: View) -> None:
        """Before the first task: have a copy of the scheduler decide once, so that whatever it compiles is there.

        It is waited for no longer than for planning; the copy keeps the scheduler's own state out of it.
        """
        try:
            double = copy.deepcopy(self._scheduler)
        except Exception:  # one that cannot be copied is not rehearsed
            return
        shown = copy.deepcopy(view)  # stays as it is while the next one is filled in
        work = self._helper.start(lambda: double.decide(shown))
        for _ in range(REHEARSAL_STEPS):
            if work.done:
                return  # what fails here fails again, and is told then
            await asyncio.sleep(REHEARSAL_STEP_S)

    def double(self) -> SchedulerHost | None:
        """A host with a copy of the scheduler; None where it cannot be copied, or is at work just now."""
        working = [work for work in (self._resetting, self._deciding) if work is not None and not work.done]
        if working or self.failure is not None:
            return None
        try:
            return SchedulerHost(copy.deepcopy(self._scheduler), self._helper, self._tell)
        except Exception:
            return None

    def take_over(self, scheduler: Scheduler) -> None:
        """Have another scheduler decide; one that refuses these facts at once changes nothing."""
        assert self._context is not None  # begun
        before = self._scheduler, self._resetting, self._deciding, self._quick, self._slow
        self._quick, self._slow = 0, False
        try:
            self._start(scheduler, self._context, START_PATIENCE_MS)
        except Exception:
            self._scheduler, self._resetting, self._deciding, self._quick, self._slow = before
            raise
        self._scheduler, self.failure = scheduler, None
        self._adopt(scheduler)

    def decide(self, view: View) -> int:
        """The option for the one decision in ``view``, or DROP."""
        self.note = None
        if self.failure is None and self._ready():
            found = self._in_place(view) if self._quick >= TRUSTED_AFTER else self._beside(view)
            if found is not None:
                return found
        self.note = PLANNING if self.failure is None else FAILED
        if self.note is PLANNING and not self._told_slow:
            self._told_slow = True
            self._tell(f"{self._scheduler.name} plans beside the tasks; greedy decides until it is ready")
        return int(self._greedy.decide(view).option[0])

    def observe(self, outcomes: Outcomes) -> None:
        """Hand outcomes to a scheduler that learns from them."""
        if self._observer is not None and self.failure is None and self._ready() and self._deciding is None:
            try:
                self._observer.observe(outcomes)
            except Exception as error:
                self._failed(error)

    @property
    def scheduler(self) -> Scheduler:
        """Who decides when all is well."""
        return self._scheduler

    @property
    def observes(self) -> bool:
        """Whether the scheduler wants to hear of outcomes."""
        return self._observer is not None and self.failure is None

    def notes(self) -> dict[str, int]:
        """What the scheduler counts."""
        return self._noting.notes(0) if self._noting is not None and self.note is None else {}

    @property
    def noting(self) -> bool:
        """Whether the scheduler counts anything."""
        return self._noting is not None

    def _adopt(self, scheduler: Scheduler) -> None:
        self._observer = scheduler if isinstance(scheduler, Observer) else None
        self._noting = scheduler if isinstance(scheduler, Noting) else None

    def _start(self, scheduler: Scheduler, context: Context, patience_ms: float | None) -> None:
        self.began += 1
        self._deciding = None
        if patience_ms is None:
            patience_ms = SLOW_PATIENCE_MS if self._slow else FIRST_PATIENCE_MS
        work = self._helper.start(lambda: scheduler.reset(context))
        self._resetting = work
        if work.wait(patience_ms) and work.error is not None:
            self._resetting = None
            raise work.error

    def _ready(self) -> bool:
        """Whether the scheduler has its facts."""
        work = self._resetting
        if work is None:
            return True
        if not work.done:
            return False
        self._resetting = None
        self._slow = self._slow or work.took_ms > FIRST_PATIENCE_MS
        if work.error is not None:
            self._failed(work.error)
            return False
        return True

    def _in_place(self, view: View) -> int | None:
        started = time.perf_counter()
        try:
            found = self._checked(self._scheduler.decide(view))
        except Exception as error:
            self._failed(error)
            return None
        if time.perf_counter() - started > FIRST_PATIENCE_MS / 1000.0:
            self._quick, self._slow = 0, True
        return found

    def _beside(self, view: View) -> int | None:
        """Ask the helper; what it has not decided in time is not used."""
        if self._deciding is not None:
            if not self._deciding.done:
                return None
            self._judge(self._deciding)
            if self.failure is not None:
                return None
        scheduler, shown = self._scheduler, copy.deepcopy(view)
        work = self._deciding = self._helper.start(lambda: scheduler.decide(shown))
        if not work.wait(SLOW_PATIENCE_MS if self._slow else FIRST_PATIENCE_MS):
            self._slow = True
            return None
        return self._judge(work)

    def _judge(self, work: Work) -> int | None:
        """Take a decision made beside: its time, and the option if there is one."""
        self._deciding = None
        self._quick = self._quick + 1 if work.took_ms < QUICK_MS else 0
        if self._quick >= TRUSTED_AFTER:
            self._slow = False
        try:
            if work.error is not None:
                raise work.error
            return self._checked(work.value)
        except Exception as error:
            self._failed(error)
            return None

    def _checked(self, decision: Any) -> int:
        """The option, if it is one."""
        assert self._context is not None  # begun
        option = int(decision.option[0])
        count = int(self._context.options.count[0])
        if option != DROP and not 0 <= option < count:
            raise InputError(self._scheduler.name, "option", option, f"0..{count - 1}, or -1 to drop the task")
        return option

    def _failed(self, error: Exception) -> None:
        what = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        self.failure = f"scheduler {self._scheduler.name} failed: {what}"
        self._tell(f"{self.failure}; greedy decides from now on")
