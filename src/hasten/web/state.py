"""What is known of one round: its streams' tasks, its links as shaped, what happened. ``view`` makes the page of it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from hasten.core.rates import BITS_PER_MS_PER_MBPS, RateTrace
from hasten.runtime.local.rounds import Round, RoundEvent
from hasten.web.happenings import Happenings
from hasten.web.tasks import Accuracy, ShownTask
from hasten.web.track import Track

SILENT_MS = 120_000.0
"""A round of which nothing is heard for so long does not go on, whatever it says."""


@dataclass(frozen=True)
class StreamFacts:
    """What is known of a stream besides its tasks; 0 exits or blocks: not known."""

    name: str
    deadline_ms: float | None = None
    exits: int = 0
    blocks: int = 0


class RoundState:
    """One round.

    Attributes:
        title: scenario, or what else there is to call it.
        scheduler: its name; empty where it is not known.
        seed: its realization.
        streams: facts of each.
        accuracy: expected accuracy by (exit, partition) of each stream.
        tracks: each stream's tasks.
        all: every task.
        owner: the stream of each task in ``all``.
        happenings: faults and fallbacks.
        began_s: time of day of time 0; None where it is not known.
        ended: no more is to come, says the run.
    """

    def __init__(self, title: str, scheduler: str, seed: int, streams: Iterable[StreamFacts]) -> None:
        self.title, self.scheduler, self.seed = title, scheduler, seed
        self.streams = list(streams)
        self.accuracy: list[Accuracy] = [{} for _ in self.streams]
        self.tracks = [Track() for _ in self.streams]
        self.all, self.owner = Track(), list[int]()
        self.happenings = Happenings()
        self.began_s: float | None = None
        self.ended = True
        self._links: list[RateTrace] = []
        self._factors: list[tuple[float, float]] = []

    @property
    def links(self) -> int:
        """How many shaped links are known: one for all streams, one for each, or none."""
        return len(self._links)

    def tell(self, told: Round) -> None:
        """What the run tells of the round."""
        self.began_s, self.ended = told.began_s, told.ended
        self.accuracy = [{(e, p): a for e, p, a in stream.accuracy} for stream in told.streams]
        self._links = [link.trace() for link in told.links]

    def hear(self, tasks: Iterable[tuple[int, ShownTask]]) -> None:
        """Tasks of streams have ended."""
        for stream, task in sorted(tasks, key=lambda one: one[1].ended_ms):
            self.tracks[stream].add(task)
            self.all.add(task)
            self.owner.append(stream)
            self.happenings.hear_task(stream, task)

    def event(self, event: RoundEvent) -> None:
        """Something happened to the round."""
        self.happenings.hear(event.at_ms, -1, event.kind, event.text)
        if event.rate_factor is not None:
            self._factors.append((event.at_ms, event.rate_factor))

    @property
    def live(self) -> bool:
        """Whether it goes on: one of which nothing was heard for long was broken off."""
        return not self.ended and self._since_began_ms() - self._last_ms() < SILENT_MS

    def now_ms(self) -> float:
        """The present: of a round that does not go on its last moment."""
        return max(self._since_began_ms(), 0.0) if self.live else self._last_ms()

    def _since_began_ms(self) -> float:
        return 1000.0 * (time.time() - self.began_s) if self.began_s is not None else 0.0

    def _last_ms(self) -> float:
        events = self.happenings.all
        return max(self.all.last_ms, events[-1].at_ms if events else 0.0)

    def shaped_mbps(self, stream: int, at_ms: float) -> float | None:
        """The rate to which a stream's link is shaped at a time; None where no link is known."""
        if not self._links:
            return None
        trace = self._links[stream if len(self._links) > 1 else 0]
        factor = next((factor for since_ms, factor in reversed(self._factors) if since_ms <= at_ms), 1.0)
        return factor * trace.at(max(at_ms, 0.0)) / BITS_PER_MS_PER_MBPS
