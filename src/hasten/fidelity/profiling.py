"""Measuring a package on this machine: block and head times for a device, an edge node or both, as a profile.

What is measured is what the runtime runs (fused segments with the codec, one sample at a time, an idle gap before
each call); :mod:`hasten.split.segment_times` times the segments and fits the additive times that the timing law needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hasten.core.errors import InputError
from hasten.core.noise import TimeSpread, quantiles
from hasten.core.output import write_bytes
from hasten.core.profile import Profile, read_profile
from hasten.split.batches import time_batches
from hasten.split.executor import DEFAULT_MEMORY_BYTES, Executor, Role
from hasten.split.package import Package
from hasten.split.segment_times import (
    FittedTimes,
    SegmentTimes,
    fit_times,
    merged_source,
    profile_from,
    role_source,
    time_segments,
)

ROLES: tuple[Role, ...] = ("device", "edge")
NOT_MEASURED_HERE = ("device_power_mw", "radio_uj_per_byte", "task_ms", "offload_ms")
"""Fields of a profile that no timing of segments tells: an existing profile keeps them."""
FEWER = 3
"""Batches of each size are timed so many times less often than single calls."""
SEGMENTS_SHARE = 0.5
"""Of an edge's measuring, that of single calls."""


@dataclass(frozen=True)
class Measurement:
    """A profile and what it rests on: the timed segments and the fit per measured role."""

    profile: Profile
    times: SegmentTimes
    fits: dict[Role, FittedTimes]


def measure(
    package: Package,
    role: Role,
    *,
    into: Profile | None = None,
    gap_ms: float = 20.0,
    repeats: int = 30,
    warmup: int = 3,
    threads: int = 1,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    progress: Callable[[float], None] | None = None,
) -> Measurement:
    """Measure ``package`` on this machine in one role.

    Takes about (segments) x (repeats + warmup) x (gap + segment time): half a minute for the default network. An edge
    is also measured by batch size (:mod:`hasten.split.batches`), which takes about as long again.

    Args:
        package: what to measure; its own held-out samples are the inputs.
        role: whose times are measured. The other role's are kept from ``into``; without ``into`` they are measured
            on this machine, too, and the profile's ``source`` says so.
        into: an existing profile of the same package.
        gap_ms: idle time before each call; about the time between two tasks in use. 0 measures a tight loop.
        repeats: calls per segment; the median counts.
        warmup: calls per segment before those.
        threads: threads per call, as the runtime will use.
        memory_bytes: limit for the sessions' memory, as for :class:`Executor`; it changes no time.
        progress: told the fraction done.

    Raises:
        InputError: an argument out of range, or ``into`` has other blocks or exits than the package.
    """
    _check(package, role, into, gap_ms, repeats, warmup)
    executor = Executor(package, threads, memory_bytes)
    tell, share = progress or (lambda done: None), SEGMENTS_SHARE if role == "edge" else 1.0
    times = time_segments(
        executor, gap_ms=gap_ms, repeats=repeats, warmup=warmup, progress=lambda done: tell(share * done)
    )
    measured: tuple[Role, ...] = ROLES if into is None else (role,)
    fits = {one: fit_times(times, package.manifest, one) for one in measured}
    how = times.describe(gap_ms, repeats, threads)
    parts = {one: role_source(one, fit, how) for one, fit in fits.items()}
    if into is None:
        other: Role = "edge" if role == "device" else "device"
        parts[other] += f", on the machine that was the {role}"
    source = merged_source("" if into is None else into.source, parts)
    device = fits["device"] if "device" in fits else _times_of(into, "device")
    edge = fits["edge"] if "edge" in fits else _times_of(into, "edge")
    spread = (into.spread if into is not None else None) or TimeSpread()
    ratios = {f"{one}_ratio": quantiles(times.ratios[one]) for one in measured if times.ratios[one]}
    profile = profile_from(package.manifest, device, edge, source)
    profile = profile.model_copy(update={"spread": spread.model_copy(update=ratios)})
    if into is not None:
        kept = {name: getattr(into, name) for name in NOT_MEASURED_HERE}
        profile = profile.model_copy(update=kept)
    batches = into.edge_batches if into is not None else None
    if role == "edge":
        calls = max(repeats // FEWER, 3)
        batches = time_batches(
            executor, gap_ms=gap_ms, repeats=calls, progress=lambda done: tell(share + (1.0 - share) * done)
        )
    profile = profile.model_copy(update={"edge_batches": batches or None})
    return Measurement(profile, times, fits)


def measure_to_file(
    package: Package,
    role: Role,
    output: Path,
    *,
    gap_ms: float = 20.0,
    repeats: int = 30,
    threads: int = 1,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    progress: Callable[[str, float], None] | None = None,
    complete: Callable[[Profile, Package], Profile] | None = None,
) -> Profile:
    """As :func:`measure`, from and to a profile file: an existing ``output`` keeps the other role's times.

    ``complete`` may add what the runtime measures (:func:`hasten.fidelity.overhead.with_overhead`) before it is
    written.

    Raises:
        InputError: also when ``output`` exists but is no profile of this package, or cannot be written.
    """
    told = None if progress is None else lambda done: progress("timing segments", done)
    into = read_profile(output) if output.exists() else None
    found = measure(
        package,
        role,
        into=into,
        gap_ms=gap_ms,
        repeats=repeats,
        threads=threads,
        memory_bytes=memory_bytes,
        progress=told,
    )
    profile = found.profile if complete is None else complete(found.profile, package)
    write_bytes(output, profile.to_json().encode())
    return profile


def _check(package: Package, role: str, into: Profile | None, gap_ms: float, repeats: int, warmup: int) -> None:
    if role not in ROLES:
        raise InputError("profile", "role", role, "device or edge")
    if not 0 <= gap_ms <= 10_000:
        raise InputError("profile", "gap_ms", gap_ms, "0 to 10000 milliseconds")
    if repeats < 3:
        raise InputError("profile", "repeats", repeats, "at least 3")
    if warmup < 0:
        raise InputError("profile", "warmup", warmup, "at least 0")
    if into is not None:
        wanted = [exit_.after_block for exit_ in package.manifest.exits]
        found = [exit_.after_block for exit_ in into.exits]
        if found != wanted or len(into.blocks) != package.manifest.block_count:
            expected = f"the package's {package.manifest.block_count} blocks with exits behind {wanted}"
            raise InputError(f"profile {into.name}", "blocks, exits", (len(into.blocks), found), expected)


def _times_of(profile: Profile | None, role: Role) -> FittedTimes:
    """The times that an existing profile has for ``role``."""
    if profile is None:
        raise InputError("profile", "into", None, f"a profile that holds the {role}'s times")
    if role == "device":
        blocks, heads = [b.device_ms for b in profile.blocks], [e.device_ms for e in profile.exits]
    else:
        blocks, heads = [b.edge_ms for b in profile.blocks], [e.edge_ms for e in profile.exits]
    encode = [profile.encode_ms(partition) for partition in range(len(profile.blocks) + 1)]
    return FittedTimes(tuple(blocks), tuple(heads), tuple(encode), 0.0, 0.0)
