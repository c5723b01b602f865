"""What each kind of fault does to a world: one function per kind begins it, and returns what ends it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from fault_network import RATE_BITS_PER_MS
from fault_schedules import Fault

World = Any
"""A ``fault_world._World``, and its ``_Stream`` of the device that the fault is of."""
Stream = Any


def _edge_crash(world: World, fault: Fault, stream: Stream) -> Any:
    world.edges[fault.edge].crash(silently=False)
    return world.edges[fault.edge].start


def _edge_power(world: World, fault: Fault, stream: Stream) -> Any:
    world.edges[fault.edge].crash(silently=True)
    return world.edges[fault.edge].restart


def _edge_freeze(world: World, fault: Fault, stream: Stream) -> Any:
    world.edges[fault.edge].freeze()
    return world.edges[fault.edge].thaw


def _edge_service(world: World, fault: Fault, stream: Stream) -> Any:
    edge, times = world.edges[fault.edge], 2.0 + 30.0 * fault.size
    hangs = fault.kind == "edge hangs"
    edge.service = lambda profiled_ms: profiled_ms + 3000.0 * fault.size if hangs else times * profiled_ms
    return partial(setattr, edge, "service", lambda profiled_ms: profiled_ms)


def _edge_clock(world: World, fault: Fault, stream: Stream) -> Any:
    world.edges[fault.edge].clock.offset_ms += 20_000.0 * (fault.size - 0.5)


def _reads(world: World, fault: Fault, stream: Stream) -> Any:
    device = fault.kind.startswith("device")
    links = stream.device.links if device else [stream.device.links[fault.edge]]
    ends = [end if device else end.peer for link in links for end in link.near_ends()]

    def undo() -> None:
        for end in ends:
            end.reads = True
            end.read()

    for end in ends:
        end.reads = False
    return undo


def _link_cut(world: World, fault: Fault, stream: Stream) -> Any:
    link = stream.device.links[fault.edge]
    link.refuses = "network unreachable"
    link.reset()
    return partial(setattr, link, "refuses", None)


def _link_dead(world: World, fault: Fault, stream: Stream) -> Any:
    link = stream.device.links[fault.edge]
    directions = [fault.kind.split()[2]] if fault.kind != "link dead" else ["up", "down"]
    link.dead.update(directions)
    return partial(link.revive, *directions)


def _link_slow(world: World, fault: Fault, stream: Stream) -> Any:
    link = stream.device.links[fault.edge]
    link.rate_bits_per_ms = 0.01 * RATE_BITS_PER_MS
    return partial(setattr, link, "rate_bits_per_ms", RATE_BITS_PER_MS)


def _delays(world: World, fault: Fault, stream: Stream) -> Any:
    link = stream.device.links[fault.edge]
    mean_ms = 1.0 + 150.0 * fault.size
    link.jitter_ms = lambda: world.rng.expovariate(1.0 / mean_ms)
    return partial(setattr, link, "jitter_ms", lambda: 0.0)


def _frame_lost(world: World, fault: Fault, stream: Stream) -> Any:
    stream.device.links[fault.edge].cuts = True


def _mangled(world: World, fault: Fault, stream: Stream) -> Any:
    link, rng = stream.device.links[fault.edge], world.rng

    def doubled(data: bytes) -> bytes:
        return data + data if rng.random() < 0.2 + 0.8 * fault.size else data

    def damaged(data: bytes) -> bytes:
        if rng.random() > 0.1 + 0.6 * fault.size:
            return data
        spoilt = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            spoilt[rng.randrange(min(len(data), rng.choice((64, 64, 4096))))] ^= 1 << rng.randrange(8)
        return bytes(spoilt)

    mangle = doubled if fault.kind == "frames doubled" else damaged
    link.mangle = {"up": mangle, "down": mangle}
    return link.mangle.clear


def _half_open(world: World, fault: Fault, stream: Stream) -> Any:
    for end in stream.device.links[fault.edge].near_ends():
        end.swallow()


def _device_off(world: World, fault: Fault, stream: Stream) -> Any:
    if stream.device.agent is None or stream.off:
        return

    async def off_and_on() -> None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + fault.lasts_ms / 1000.0
        if fault.kind == "device restart":
            await stream.device.stop()
            stream.off = True
        else:
            stream.off = True
            now = world.clock.now_ms()
            for frame, at_ms in stream.given.items():  # the log of a process that was killed ends there
                if at_ms <= now:
                    stream.told.setdefault(frame, 0)
            await stream.device.kill(silently=fault.kind == "device power loss")
        await asyncio.sleep(max(until_s - loop.time(), 0.0))
        if stream.waiting is not None and stream.waiting.sample in stream.told:
            stream.waiting = None
        await world.start(stream)

    world.spawn(off_and_on())


def _disk_full(world: World, fault: Fault, stream: Stream) -> Any:
    disk = stream.device.disk
    disk.full = True
    return partial(setattr, disk, "full", False)


def _stall(world: World, fault: Fault, stream: Stream) -> Any:
    lasts_ms = min(fault.lasts_ms, 800.0)
    world.stalled_ms += lasts_ms
    asyncio.get_running_loop().jump(lasts_ms / 1000.0)


BEGIN = {
    "edge crash": _edge_crash, "edge power loss": _edge_power, "edge freeze": _edge_freeze,
    "edge hangs": _edge_service, "edge slow": _edge_service, "edge clock jump": _edge_clock,
    "edge reads slowly": _reads, "device reads slowly": _reads, "link cut": _link_cut, "link dead": _link_dead,
    "link dead up": _link_dead, "link dead down": _link_dead, "link at 1 %": _link_slow, "delays": _delays,
    "frame lost": _frame_lost, "frames doubled": _mangled, "frames damaged": _mangled, "half open": _half_open,
    "device restart": _device_off, "device killed": _device_off, "device power loss": _device_off,
    "disk full": _disk_full, "machine stalls": _stall,
}  # fmt: skip
