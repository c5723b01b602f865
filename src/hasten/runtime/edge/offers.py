"""What devices lately ask of an edge, and who is to leave room for others (:mod:`hasten.core.edge_admission`)."""

from __future__ import annotations

from hasten.core.edge_admission import BUCKETS, note_offer, room_share, standing
from hasten.core.estimators import FORECAST_MEMORY_MS
from hasten.runtime.edge.carried import CarriedWork
from hasten.runtime.edge.queue import Ticket


class Offers:
    """Tasks that came, taken or not, by their length and by who sent them."""

    def __init__(self) -> None:
        self._load, self._at_ms = [0.0] * BUCKETS, [0.0] * BUCKETS
        self._active: dict[CarriedWork, float] = {}
        """Who has sent something lately, and until when that counts, soonest first."""
        self._most: CarriedWork | None = None

    def came(self, new: Ticket) -> None:
        """A task has come."""
        now, device = new.arrived_ms, new.device
        if now <= new.last_start_ms:
            note_offer(self._load, self._at_ms, new.least_ms, now)
        self._active.pop(device, None)
        self._active[device] = now + FORECAST_MEMORY_MS
        while self._active[first := next(iter(self._active))] <= now:
            del self._active[first]
        if self._most is None or device.asked_ms(now) + new.predicted_ms >= self._most.asked_ms(now):
            self._most = device

    def room(self, new: Ticket, all_asked_ms: float, workers: int, now: float) -> float:
        """Which part of the time that a task can wait the work before it may take up, now that others ask for more."""
        asked_ms = new.device.asked_ms(now) + new.predicted_ms
        most_ms = 0.0 if self._most in (None, new.device) else self._most.asked_ms(now)
        stands = standing(asked_ms, most_ms, all_asked_ms + new.predicted_ms, max(len(self._active), 1))
        return room_share(self._load, self._at_ms, new.least_ms, now, workers, stands)
