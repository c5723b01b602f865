"""When tasks arrive: generated processes and recordings, always as sorted times drawn before a run.

Every kind answers ``times(rng, count, horizon_ms, position, folder)``: the first ``count`` arrivals, or all before
``horizon_ms`` when ``count`` is None. Time 0 is the start of the run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from hasten.core.files import Factor, FileName, Milliseconds, PositiveMs, RateHz, Record
from hasten.core.recorded_arrivals import read_arrivals

FloatArray = NDArray[np.float64]
MAX_TASKS = 20_000_000
"""A run has no more tasks than this, all streams together: some 400 bytes each."""


class PoissonArrivals(Record):
    """Independent exponential gaps."""

    kind: Literal["poisson"]
    rate_hz: RateHz

    def mean_rate_hz(self, folder: Path | None) -> float:
        """Long-run arrivals per second."""
        return self.rate_hz

    def times(
        self, rng: np.random.Generator, count: int | None, horizon_ms: float, position: float, folder: Path | None
    ) -> FloatArray:
        """Arrival times in ms."""
        mean_ms = 1000.0 / self.rate_hz
        if count is not None:
            return np.cumsum(rng.exponential(mean_ms, count))
        expected = rng.poisson(horizon_ms / mean_ms)
        return np.sort(rng.uniform(0.0, horizon_ms, expected))


class PeriodicArrivals(Record):
    """A fixed rate with a random phase; each arrival is moved by at most ``jitter`` half-periods either way."""

    kind: Literal["periodic"]
    rate_hz: RateHz
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.0

    def mean_rate_hz(self, folder: Path | None) -> float:
        """Long-run arrivals per second."""
        return self.rate_hz

    def times(
        self, rng: np.random.Generator, count: int | None, horizon_ms: float, position: float, folder: Path | None
    ) -> FloatArray:
        """Arrival times in ms; jitter never reorders arrivals."""
        period_ms = 1000.0 / self.rate_hz
        phase = rng.uniform(0.0, 1.0)
        number = count if count is not None else int(np.floor(horizon_ms / period_ms)) + 1
        shift = 0.5 * self.jitter * rng.uniform(-1.0, 1.0, number)
        times = np.maximum((np.arange(number) + phase + shift) * period_ms, 0.0)
        return times if count is not None else times[times < horizon_ms]


class MmppArrivals(Record):
    """A Markov-modulated Poisson process that goes through its states in a circle.

    State ``i`` lasts an exponential time of mean ``dwell_ms[i]`` and brings ``rates_hz[i]`` arrivals per second.
    """

    kind: Literal["mmpp"]
    rates_hz: Annotated[tuple[Annotated[float, Field(ge=0, le=1e6)], ...], Field(min_length=1)]
    dwell_ms: Annotated[tuple[PositiveMs, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _states_match(self) -> MmppArrivals:
        if len(self.rates_hz) != len(self.dwell_ms):
            raise ValueError(f"as many rates_hz ({len(self.rates_hz)}) as dwell_ms ({len(self.dwell_ms)})")
        if not any(rate > 0 for rate in self.rates_hz):
            raise ValueError("at least one of rates_hz above 0")
        return self

    def mean_rate_hz(self, folder: Path | None) -> float:
        """Long-run arrivals per second: each state weighs as long as it lasts."""
        return float(np.dot(self.rates_hz, self.dwell_ms) / np.sum(self.dwell_ms))

    def times(
        self, rng: np.random.Generator, count: int | None, horizon_ms: float, position: float, folder: Path | None
    ) -> FloatArray:
        """Arrival times in ms, from a state drawn by how long each lasts."""
        share = np.array(self.dwell_ms) / np.sum(self.dwell_ms)
        state = int(rng.choice(len(share), p=share))
        wanted = count if count is not None else MAX_TASKS
        pieces: list[FloatArray] = []
        found, now_ms = 0, 0.0
        while found < wanted and now_ms < horizon_ms:
            stay_ms = rng.exponential(self.dwell_ms[state])
            number = rng.poisson(self.rates_hz[state] * stay_ms / 1000.0)
            pieces.append(now_ms + np.sort(rng.uniform(0.0, stay_ms, number)))
            found += number
            now_ms += stay_ms
            state = (state + 1) % len(share)
        times = np.concatenate(pieces) if pieces else np.zeros(0)
        return times[:wanted] if count is not None else times[times < horizon_ms]


class ExplicitArrivals(Record):
    """Exactly these arrivals."""

    kind: Literal["explicit"]
    times_ms: tuple[Milliseconds, ...]

    @model_validator(mode="after")
    def _in_order(self) -> ExplicitArrivals:
        for i in range(1, len(self.times_ms)):
            if self.times_ms[i] < self.times_ms[i - 1]:
                raise ValueError(f"times in ascending order, but times_ms[{i}] is before its predecessor")
        return self

    def mean_rate_hz(self, folder: Path | None) -> float:
        """Arrivals per second from time 0 to the last one; 1 for a lone arrival at 0."""
        span_ms = self.times_ms[-1] if self.times_ms else 0.0
        return 1000.0 * len(self.times_ms) / span_ms if span_ms > 0 else 1.0

    def times(
        self, rng: np.random.Generator, count: int | None, horizon_ms: float, position: float, folder: Path | None
    ) -> FloatArray:
        """Arrival times in ms, no more than ``count`` and none beyond the horizon."""
        times = np.array(self.times_ms, dtype=np.float64)
        return times[:count] if count is not None else times[times < horizon_ms]


class RecordedArrivals(Record):
    """Arrivals of a recording, repeated when it ends; ``speedup`` makes time pass faster.

    ``column`` chooses the column of times of a table, ``frames_hz`` says how fast the video of MOT detections is.

    Streams of the same entry start evenly spread over the recording, so that they are alike but not in step. With
    ``start: random`` each stream of each realization starts somewhere else.
    """

    kind: Literal["trace"]
    file: FileName
    column: str | None = None
    frames_hz: RateHz | None = None
    speedup: Factor = 1.0
    start: Literal["beginning", "random"] = "beginning"

    def mean_rate_hz(self, folder: Path | None) -> float:
        """Arrivals per second of the whole recording, sped up."""
        recorded = read_arrivals(self.file, self.column, self.frames_hz, folder)
        if isinstance(recorded, tuple):
            return self.speedup * 1000.0 * len(recorded[0]) / recorded[1]
        return self.speedup * float(recorded.mean())

    def counts_seconds(self, folder: Path | None) -> bool:
        """Whether the recording counts arrivals per second, rather than naming their times."""
        return not isinstance(read_arrivals(self.file, self.column, self.frames_hz, folder), tuple)

    def times(
        self, rng: np.random.Generator, count: int | None, horizon_ms: float, position: float, folder: Path | None
    ) -> FloatArray:
        """Arrival times in ms; ``position`` in [0, 1) is where in the recording the stream starts."""
        recorded = read_arrivals(self.file, self.column, self.frames_hz, folder)
        if self.start == "random":
            position = rng.uniform()
        if isinstance(recorded, tuple):
            times = self._from_stamps(recorded[0], recorded[1], count, horizon_ms, position)
        else:
            times = self._from_counts(recorded, rng, count, horizon_ms, position)
        return times[:count] if count is not None else times[times < horizon_ms]

    def _from_stamps(
        self, stamps_ms: FloatArray, length_ms: float, count: int | None, horizon_ms: float, position: float
    ) -> FloatArray:
        first = int(position * len(stamps_ms))
        origin = stamps_ms[first] if first else 0.0
        once = np.concatenate([stamps_ms[first:], stamps_ms[:first] + length_ms]) - origin
        rounds = (
            int(np.ceil(count / len(once))) if count is not None else int(horizon_ms * self.speedup / length_ms) + 1
        )
        return (once[None, :] + length_ms * np.arange(rounds)[:, None]).ravel() / self.speedup

    def _from_counts(
        self, counts: FloatArray, rng: np.random.Generator, count: int | None, horizon_ms: float, position: float
    ) -> FloatArray:
        """Counts per second become arrivals placed uniformly within their second."""
        first = int(position * len(counts))
        needed_ms = horizon_ms * self.speedup
        pieces: list[FloatArray] = []
        found, second = 0, 0
        while (found < count) if count is not None else (second * 1000.0 < needed_ms):
            number = int(counts[(first + second) % len(counts)])
            pieces.append(second * 1000.0 + np.sort(rng.uniform(0.0, 1000.0, number)))
            found += number
            second += 1
        return np.concatenate(pieces) / self.speedup if pieces else np.zeros(0)


Arrivals = Annotated[
    PoissonArrivals | PeriodicArrivals | MmppArrivals | ExplicitArrivals | RecordedArrivals,
    Field(discriminator="kind"),
]
