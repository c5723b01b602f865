"""Uplink rates over time: constant, Gauss-Markov, or recorded.

Whatever its kind, a rate becomes a :class:`RateTrace`: piecewise constant, with its running integral, so that a
transfer's end is one search (:func:`hasten.core.timing.transfer_end`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hasten.core.archives import Recording, find_recording
from hasten.core.files import Factor, FileName, Mbps, PositiveMbps, PositiveMs, Record
from hasten.core.recordings import RateFormat, rate_steps
from hasten.core.timing import rate_at, transfer_end

FloatArray = NDArray[np.float64]

BITS_PER_MS_PER_MBPS = 1000.0
LOWEST_SHARE_OF_MEAN = 0.01
"""A Gauss-Markov rate is cut off below this share of its mean: a radio link stalls, it does not turn negative."""


@dataclass(frozen=True)
class RateTrace:
    """A piecewise constant rate: ``bits_per_ms[i]`` from ``from_ms[i]`` on; arrays (S,), ``from_ms[0] == 0``."""

    from_ms: FloatArray
    bits_per_ms: FloatArray
    sent_bits: FloatArray
    """Integral of the rate from 0 to ``from_ms[i]``."""
    period_ms: float
    """The trace repeats after this time; infinity holds the last rate."""

    def at(self, now_ms: float) -> float:
        """The rate in force at ``now_ms``, bits per millisecond."""
        return float(rate_at(now_ms, self.from_ms, self.bits_per_ms, self.period_ms))

    def changes(self, until_ms: float) -> Iterator[tuple[float, float]]:
        """When the rate changes up to a time, and to what, the first at 0; periods follow each other."""
        begin_ms = 0.0
        while begin_ms <= until_ms:
            for after_ms, rate in zip(self.from_ms, self.bits_per_ms, strict=True):
                if begin_ms + after_ms > until_ms:
                    return
                yield float(begin_ms + after_ms), float(rate)
            begin_ms += self.period_ms

    def transfer_end(self, start_ms: float, payload_bits: float) -> float:
        """When a transfer of this size that starts at ``start_ms`` ends (infinity: never)."""
        end: float = transfer_end(
            start_ms, payload_bits, self.from_ms, self.bits_per_ms, self.sent_bits, self.period_ms
        )
        return end


def rate_trace(from_ms: FloatArray, bits_per_ms: FloatArray, period_ms: float = np.inf) -> RateTrace:
    """Build a trace from its steps, merging neighbours of equal rate."""
    keep = np.concatenate([[True], bits_per_ms[1:] != bits_per_ms[:-1]])
    from_ms = np.ascontiguousarray(from_ms[keep], dtype=np.float64)
    bits_per_ms = np.ascontiguousarray(bits_per_ms[keep], dtype=np.float64)
    if len(from_ms) == 1:
        period_ms = np.inf
    sent_bits = np.concatenate([[0.0], np.cumsum(np.diff(from_ms) * bits_per_ms[:-1])])
    return RateTrace(from_ms, bits_per_ms, sent_bits, period_ms)


class ConstantRate(Record):
    """A rate that never changes; 0 Mbit/s is a link that is down for ever."""

    kind: Literal["constant"]
    mbps: Mbps

    @property
    def drawn(self) -> bool:
        """Whether realizations differ."""
        return False

    def constant_bits_per_ms(self) -> float | None:
        """The rate, which never changes."""
        return self.mbps * BITS_PER_MS_PER_MBPS

    def realize(self, rng: np.random.Generator, horizon_ms: float, folder: Path | None) -> RateTrace:
        """The constant trace."""
        return _constant(self.mbps * BITS_PER_MS_PER_MBPS)


class GaussMarkovRate(Record):
    """A first-order Gauss-Markov process sampled every ``step_ms`` and cut off just above zero.

    ``rate' = memory * rate + (1 - memory) * mean + sigma * sqrt(1 - memory^2) * noise``
    (Liang and Haas, "Predictive distance-based mobility management for PCS networks", INFOCOM 1999).
    """

    kind: Literal["gauss_markov"]
    mean_mbps: PositiveMbps
    sigma_mbps: Mbps
    memory: Annotated[float, Field(ge=0, lt=1)] = 0.9
    step_ms: PositiveMs = 100.0

    @property
    def drawn(self) -> bool:
        """Whether realizations differ."""
        return True

    def constant_bits_per_ms(self) -> float | None:
        """None: the rate varies."""
        return None

    def realize(self, rng: np.random.Generator, horizon_ms: float, folder: Path | None) -> RateTrace:
        """Draw a trace that covers ``horizon_ms``; its last rate holds after that."""
        steps = max(1, int(np.ceil(horizon_ms / self.step_ms)) + 1)
        noise = rng.standard_normal(steps)
        noise[1:] *= np.sqrt(1.0 - self.memory**2)
        memory = self.memory
        deviation = np.fromiter(accumulate(noise.tolist(), lambda before, fresh: memory * before + fresh), float, steps)
        mbps = np.maximum(self.mean_mbps + self.sigma_mbps * deviation, LOWEST_SHARE_OF_MEAN * self.mean_mbps)
        return rate_trace(self.step_ms * np.arange(steps, dtype=np.float64), mbps * BITS_PER_MS_PER_MBPS)


class RecordedRate(Record):
    """A recorded trace, repeated when it ends; ``scale`` multiplies its rates. Formats: ``core.recordings``.

    ``start: random`` lets each realization of each link begin at another moment of the recording.
    """

    kind: Literal["trace"]
    file: FileName
    format: RateFormat = "auto"
    scale: Factor = 1.0
    start: Literal["beginning", "random"] = "beginning"

    @property
    def drawn(self) -> bool:
        """Whether realizations differ."""
        return self.start == "random"

    def constant_bits_per_ms(self) -> float | None:
        """None: the rate varies."""
        return None

    def realize(self, rng: np.random.Generator, horizon_ms: float, folder: Path | None) -> RateTrace:
        """Read the recording and scale it."""
        recording = find_recording(self.file, folder)
        if self.start == "beginning":
            return _recorded(recording, self.format, self.scale)
        duration_ms, mbps = rate_steps(recording, self.format)
        duration_ms, mbps = _begun_at(rng.uniform(0.0, float(duration_ms.sum())), duration_ms, mbps)
        return _periodic(duration_ms, mbps * self.scale)


@lru_cache(maxsize=64)
def _constant(bits_per_ms: float) -> RateTrace:
    """One trace for all realizations, which share it in memory."""
    return rate_trace(np.zeros(1), np.array([bits_per_ms]))


@lru_cache(maxsize=8)
def _recorded(recording: Recording, form: RateFormat, scale: float) -> RateTrace:
    """One trace for all realizations that begin with the recording, as long as its file does not change."""
    duration_ms, mbps = rate_steps(recording, form)
    return _periodic(duration_ms, mbps * scale)


def _periodic(duration_ms: FloatArray, mbps: FloatArray) -> RateTrace:
    ends_ms = np.cumsum(duration_ms)
    from_ms = np.concatenate([[0.0], ends_ms[:-1]])
    return rate_trace(from_ms, mbps * BITS_PER_MS_PER_MBPS, float(ends_ms[-1]))


def _begun_at(begin_ms: float, duration_ms: FloatArray, mbps: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The steps of a repeating recording from ``begin_ms`` on; the step that is cut in two ends it."""
    ends_ms = np.cumsum(duration_ms)
    first = min(int(np.searchsorted(ends_ms, begin_ms, side="right")), len(ends_ms) - 1)
    left_ms = ends_ms[first] - begin_ms
    duration_ms = np.concatenate([[left_ms], np.roll(duration_ms, -first)[1:], [duration_ms[first] - left_ms]])
    mbps = np.append(np.roll(mbps, -first), mbps[first])
    return duration_ms[duration_ms > 0], mbps[duration_ms > 0]


Rate = Annotated[ConstantRate | GaussMarkovRate | RecordedRate, Field(discriminator="kind")]
