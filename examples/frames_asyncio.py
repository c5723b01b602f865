"""Two streams at once in one event loop: `python examples/frames_asyncio.py my.hasten [HOST:PORT]`."""

from __future__ import annotations

import asyncio
import sys

import hasten as hs


async def watch(device: hs.AsyncDevice, name: str, frames: list[object]) -> int:
    """Print the answers of one stream, and count those that were on time."""
    on_time = 0
    async for answer in device.stream(frames):
        print(f"{name} {answer.number}: class {answer.label} at exit {answer.exit}, {answer.latency_ms:.1f} ms")
        on_time += answer.on_time
    return on_time


async def main(package: str, edge: str | None = None) -> list[int]:
    """Watch two cameras, played by the package's samples, on one device."""
    frames = list(hs.open_package(package).samples()[0])
    async with hs.AsyncDevice(package, edge=edge, deadline_ms=500) as device:
        return await asyncio.gather(watch(device, "left", frames), watch(device, "right", frames[::-1]))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    print(asyncio.run(main(*sys.argv[1:])))
