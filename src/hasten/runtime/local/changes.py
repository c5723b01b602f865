"""What somebody changes by hand while a round is played: asked for in any thread, done in the run's own.

Each change holds until the end of its round. A round that was changed says so in its result's notes.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

from hasten.core.errors import HastenError, InputError
from hasten.schedulers import make_scheduler

Kind = Literal["rate", "pace", "scheduler", "kill_edge", "restart_edge"]
LEAST_FACTOR, MOST_FACTOR = 0.01, 100.0
ANSWER_S = 60.0
"""Restarting an edge opens and warms its packages."""


@dataclass(frozen=True)
class RunChange:
    """One change: of the links' rate or the arrivals' pace, a factor of the scenario's; of the scheduler, its name."""

    kind: Kind
    factor: float = 1.0
    scheduler: str = ""
    done: Future[str] = field(default_factory=Future)

    def __post_init__(self) -> None:
        if not LEAST_FACTOR <= self.factor <= MOST_FACTOR:
            raise InputError("run", self.kind, self.factor, f"a factor of {LEAST_FACTOR} to {MOST_FACTOR:.0f}")
        if self.kind == "scheduler":
            make_scheduler(self.scheduler)


class Changes:
    """Hands changes from those who ask to the run."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[RunChange] = queue.SimpleQueue()
        self._playing = False

    def ask(self, change: RunChange) -> str:
        """Have the run do it; what was done, in words.

        Raises:
            HastenError: no round is played now, or it could not be done.
        """
        if not self._playing:
            raise HastenError("no round is played just now")
        self._asked.put(change)
        try:
            return change.done.result(ANSWER_S)
        except TimeoutError:
            raise HastenError("the run does not answer") from None

    def begin(self) -> None:
        """A round begins."""
        self._playing = True

    def end(self) -> None:
        """The round has ended; what is still asked for is not done."""
        self._playing = False
        self.serve(_too_late)

    def serve(self, do: Callable[[RunChange], str]) -> int:
        """Do all that is asked for; how many changes were made."""
        made = 0
        while not self._asked.empty():
            change = self._asked.get()
            try:
                change.done.set_result(do(change))
                made += 1
            except HastenError as error:
                change.done.set_exception(error)
        return made


def _too_late(change: RunChange) -> str:
    raise HastenError("the round has ended")
