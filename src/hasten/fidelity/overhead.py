"""The overhead of a task beyond its segments, payload and round trip: known, or measured beforehand in real runs.

The timing law adds up a profile's times. A real agent adds a little to every task (an alarm goes off, the scheduler
decides, threads hand over) and a little more to those it offloads (framing, the edge's queue, its worker waking up).
Both are the machines' and not the network's, nearly the same for every option, and measured here with a few of them
on an idle link. A payload travels in a frame, whose other bytes are known: they belong to what is sent.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from hasten.core.noise import TimeSpread, quantiles
from hasten.core.profile import Profile
from hasten.core.scenario import scenario_from
from hasten.runtime.local.results import read_log
from hasten.runtime.local.run import run_scenario
from hasten.runtime.wire.tasks import submit_overhead_bytes
from hasten.split.executor import Role
from hasten.split.package import Package, with_profile

RATE_HZ = 12.0
"""Seldom enough that every task finds the system idle."""
LINK_MBPS, RTT_MS = 1000.0, 10.0
"""An easy link, yet one with a round trip, over which everybody waits as they do over a real one."""


def with_overhead(
    profile: Profile,
    package: Package,
    role: Role | None = None,
    tasks: int = 24,
    progress: Callable[[str, float], None] | None = None,
) -> Profile:
    """``profile`` of ``package`` with sizes of whole frames, and ``task_ms`` (of the device) and ``offload_ms`` (of the
    edge) measured here.

    ``role`` says which of the two to measure; without it both. Runs ``tasks`` tasks each of two options that are
    offloaded and two that stay on the device: some 12 seconds.
    """
    profile = framed(profile, package)
    bare = profile.model_copy(update={"task_ms": 0.0, "offload_ms": 0.0})
    last = len(profile.exits)
    offloaded = sorted({"fixed:1,0", f"fixed:{last},{_smallest_cut(profile)}"})
    local = [f"fixed:{exit_},{profile.exits[exit_ - 1].after_block}" for exit_ in sorted({1, last})]
    with tempfile.TemporaryDirectory(prefix="hasten-overhead-") as name:
        folder = Path(name)
        timed = with_profile(package, bare, folder / "timed.hasten")
        scenario = scenario_from(
            {
                "schema": "hasten.scenario/1",
                "streams": [
                    {
                        "name": "device",
                        "profile": str(timed.path),
                        "deadline_ms": 10_000,
                        "arrivals": {"kind": "periodic", "rate_hz": RATE_HZ, "jitter": 0.2},
                    }
                ],
                "uplink": {
                    "order": "ready",
                    "rtt_ms": RTT_MS,
                    "rate": {"kind": "constant", "mbps": LINK_MBPS},
                },
                "tasks_per_stream": tasks,
            }
        )

        def told(text: str, fraction: float) -> None:
            if progress is not None:
                progress("measuring the overhead of a task", fraction)

        run_scenario(scenario, [*offloaded, *local], out_dir=folder, progress=told).complete()
        logs = [read_log(path) for path in sorted(folder.glob("*.jsonl"))]
    records = [record for log in logs for record in log if record["latency_ms"] is not None]
    local_ms = [overhead_ms(record) for record in records if not record["bytes"]]
    offloaded_ms = [overhead_ms(record) for record in records if record["bytes"]]
    medians = {"device": ("task_ms", median(local_ms)), "edge": ("offload_ms", median(offloaded_ms) - median(local_ms))}
    extras = {"device": ("local_extra_ms", local_ms), "edge": ("offload_extra_ms", offloaded_ms)}
    roles: tuple[Role, ...] = ("device", "edge") if role is None else (role,)
    found = {key: round(max(value, 0.0), 4) for key, value in (medians[one] for one in roles)}
    measured = {key: extras_ms(all_ms) for key, all_ms in (extras[one] for one in roles)}
    spread = (profile.spread or TimeSpread()).model_copy(update=measured)
    return profile.model_copy(update=found | {"spread": spread})


def extras_ms(all_ms: Sequence[float]) -> tuple[float, ...]:
    """Quantiles of what single tasks took longer than their median."""
    middle_ms = median(all_ms)
    return quantiles([max(one_ms - middle_ms, 0.0) for one_ms in all_ms])


def framed(profile: Profile, package: Package) -> Profile:
    """``profile`` with the bytes of the frame at each cut of ``package`` instead of its payload alone."""
    cuts = package.manifest.cuts
    frame_bytes = [cut.payload_bytes + submit_overhead_bytes(cut) for cut in cuts]
    blocks = [
        block.model_copy(update={"output_bytes": size})
        for block, size in zip(profile.blocks, frame_bytes[1:], strict=True)
    ]
    return profile.model_copy(update={"input_bytes": frame_bytes[0], "blocks": tuple(blocks)})


def overhead_ms(record: dict[str, Any]) -> float:
    """What of a logged task's latency is neither computing and coding, nor its transfer, nor the pinged round trip."""
    parts, latency_ms = record["parts"], float(record["latency_ms"])
    known_ms = sum(parts.get(part, 0.0) for part in ("device", "encode", "edge", "decode"))
    if record["bytes"]:
        known_ms += 8.0 * record["bytes"] / (1000.0 * LINK_MBPS) + record["seen"]["rtt_ms"]
    return float(latency_ms - known_ms)


def _smallest_cut(profile: Profile) -> int:
    """The partition point, behind at least one block, at which the last exit's tensor is smallest."""
    return min(range(1, profile.exits[-1].after_block), key=profile.payload_bytes, default=0)
