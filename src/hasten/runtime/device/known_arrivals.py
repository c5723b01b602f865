"""Tasks whose arrival times are known, given to an agent one by one as they fall due."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hasten.runtime.clock import Clock
from hasten.runtime.device.tasks import Arrival


class Replay:
    """Takes one arrival after another from an iterable, which may be endless, and waits for its time.

    Attributes:
        error: what the iterable raised, if it did; that is its end, too.
    """

    def __init__(
        self,
        clock: Clock,
        arrivals: Iterable[Arrival],
        start_ms: float,
        take: Callable[[Arrival, int], None],
        no_more: Callable[[], None],
    ) -> None:
        """``take`` is called with each arrival and its number when it is due, ``no_more`` when there are no more."""
        self.error: Exception | None = None
        self._clock, self._arrivals, self._start_ms = clock, iter(arrivals), start_ms
        self._take, self._no_more = take, no_more
        self._stopped = False

    def begin(self, number: int = 0) -> None:
        """Have the next task taken when it is due."""
        try:
            arrival = next(self._arrivals, None)
        except Exception as error:  # the source's: raised by whoever plays it when the tasks that are here have ended
            arrival, self.error = None, error
        if arrival is None:
            self._no_more()
        else:
            self._clock.call_at(self._start_ms + arrival.at_ms, lambda: self._due(number, arrival))

    def stop(self) -> None:
        """Give no more."""
        self._stopped = True

    def _due(self, number: int, arrival: Arrival) -> None:
        if not self._stopped:
            self._take(arrival, number)
            self.begin(number + 1)
