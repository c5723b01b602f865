"""What ``hs.Device.infer`` costs over the bare agent: another thread's wake-ups, the check of the frame, the answer.

Both run in one process, frame by frame in turns, without an edge, on the same thread that computes. The bare agent is
handed a frame in its event loop and timed until it tells of the task's end there. ``infer`` is timed in the caller's
thread. The network is a tiny one, so that little else is measured; frames come in two sizes. Budget: 100 microseconds.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import hasten as hs
from hasten.runtime.device.agent import DeviceAgent
from hasten.runtime.device.prepared import DevicePlan, PreparedDevice
from hasten.runtime.device.tasklog import TaskLog
from hasten.runtime.device.tasks import Arrival
from hasten.runtime.library.background import acquire, release
from hasten.runtime.pace import now_ms
from hasten.split.build import build_package
from hasten.split.package import Package

ROUNDS, WARM = 1000, 100
SIDES = (32, 224)
"""Frames of 3 KB and of 150 KB."""
BUDGET_US = 100.0


class Tiny(nn.Module):
    """Two exits over next to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 8, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.head1, self.head2 = nn.Linear(4, 5), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of both exits."""
        x = torch.relu(self.first(x))
        return self.head1(x.mean((2, 3))), self.head2(torch.relu(self.second(x)).mean((2, 3)))


def package_of(side: int, folder: Path) -> Package:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (16, 3, side, side), dtype=np.uint8)
    path = folder / f"{side}.hasten"
    return build_package(
        Tiny().eval(), frames, rng.integers(0, 5, 16), name="tiny", exit_names=["a", "b"], path=path, samples=8
    )


class Bare:
    """The agent in its loop, one frame at a time."""

    def __init__(self, agent: DeviceAgent, start_ms: float) -> None:
        self._agent, self._start_ms, self._number = agent, start_ms, 0
        self._ended: asyncio.Future[float]

    def told(self, task: object) -> None:
        """The task has ended."""
        self._ended.set_result(time.perf_counter())

    async def frame(self, batch: Any) -> float:
        """Microseconds from handing over to the end."""
        self._ended = asyncio.get_running_loop().create_future()
        started = time.perf_counter()
        arrival = Arrival(now_ms() - self._start_ms, self._number, batch, None)
        self._agent.take(arrival, self._number, 60_000.0)
        self._number += 1
        return 1e6 * (await self._ended - started)


def compare(package: Package) -> tuple[list[float], list[float]]:
    """Microseconds of the bare agent and of ``infer``, in turns."""
    frames = package.samples()[0]
    plan = DevicePlan(scheduler="device-only", deadline_ms=60_000.0)
    background = acquire()
    bare_us, infer_us = [], []
    opened = PreparedDevice(package, plan).agent(print, compute=background.compute)
    agent = background.call(opened.__aenter__())
    start_ms = now_ms()
    bare = Bare(agent, start_ms)
    taking = agent.taking(start_ms, TaskLog(None), bare.told)
    background.call(taking.__aenter__())
    with hs.Device(package, scheduler="device-only", deadline_ms=60_000.0) as device:
        for number in range(WARM + ROUNDS):
            frame = frames[number % len(frames)]
            bare_us.append(background.call(bare.frame([frame[None]])))
            started = time.perf_counter()
            device.infer(frame)
            infer_us.append(1e6 * (time.perf_counter() - started))
    background.call(taking.__aexit__(None, None, None))
    background.call(opened.__aexit__(None, None, None))
    release(background)
    return bare_us[WARM:], infer_us[WARM:]


def main() -> None:
    print(f"one frame at a time, microseconds, medians of {ROUNDS}; budget for the difference: {BUDGET_US:.0f}")
    print(f"{'frame':>12} {'bare agent':>11} {'infer':>8} {'difference':>11}")
    with tempfile.TemporaryDirectory() as folder:
        for side in SIDES:
            bare_us, infer_us = compare(package_of(side, Path(folder)))
            difference_us = statistics.median(b - a for a, b in zip(bare_us, infer_us, strict=True))
            medians = statistics.median(bare_us), statistics.median(infer_us)
            print(f"{f'3x{side}x{side}':>12} {medians[0]:>11.0f} {medians[1]:>8.0f} {difference_us:>11.0f}")


if __name__ == "__main__":
    main()
