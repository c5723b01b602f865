"""``hs.AsyncDevice``: the same promises in somebody's event loop."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

import hasten as hs
from hasten.split.executor import Executor

LONG_MS = 60_000.0


@pytest.fixture(scope="module")
def frames(package):
    return package.samples()[0]


@pytest.fixture(scope="module")
def labels(package, frames):
    executor = Executor(package)
    return [executor.finish(0, 2, [frame[None]]).argmax() for frame in frames]


def test_answers_in_an_event_loop(package, frames, labels):
    async def main():
        async with hs.AsyncDevice(package, None, "device-only", LONG_MS) as device:
            together = await asyncio.gather(*(device.infer(frame) for frame in frames))
            assert [answer.label for answer in together] == labels
            assert device.submit(frames[0], deadline_ms=500.0).result().deadline_ms == 500.0
            return device.stats()

    before = set(threading.enumerate())
    assert asyncio.run(main()).on_time == len(frames) + 1
    assert {
        thread.name for thread in threading.enumerate() if thread not in before and thread.name != "beside"
    } == set()


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_stream_in_order_with_room_for_two(package, frames, labels, kind):
    taken = 0

    def plain():
        nonlocal taken
        for frame in frames:
            taken += 1
            yield frame

    async def others():
        for frame in plain():
            yield frame

    async def main():
        async with hs.AsyncDevice(package, None, "device-only", LONG_MS) as device:
            number = 0
            async for answer in device.stream(plain() if kind == "plain" else others(), pending=2):
                assert (answer.number, answer.label) == (number, labels[number])
                assert taken <= number + 4  # under way, and one that has been let in since
                number += 1
            return number

    assert asyncio.run(main()) == taken == len(frames)


def test_a_source_that_fails_and_a_stream_that_is_left(package, frames):
    async def broken():
        yield frames[0]
        raise OSError("the camera is gone")

    async def endless():
        while True:
            yield frames[0]

    async def main():
        async with hs.AsyncDevice(package, None, "device-only", LONG_MS) as device:
            stream = device.stream(broken())
            assert (await anext(stream)).on_time
            with pytest.raises(OSError, match="the camera is gone"):
                await anext(stream)
            stream = device.stream(endless(), when_full="newest", pending=1)
            assert (await anext(stream)).on_time
            await stream.aclose()
            assert len(asyncio.all_tasks()) == 1
        assert device.stats().under_way == 0

    asyncio.run(main())


def test_cancelling_takes_the_frame_back(package, frames, monkeypatch):
    entered, leave = threading.Event(), threading.Event()

    class Gated(Executor):
        def outputs(self, partition, exit_, tensors):
            entered.set()
            assert leave.wait(60)
            return super().outputs(partition, exit_, tensors)

    monkeypatch.setattr("hasten.runtime.device.prepared.Executor", Gated)

    async def main():
        async with hs.AsyncDevice(package, None, "device-only", LONG_MS) as device:
            first, second = (asyncio.create_task(device.infer(frame)) for frame in frames[:2])
            await asyncio.to_thread(entered.wait, 60)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            leave.set()
            assert (await first).on_time
        return device.stats()

    stats = asyncio.run(main())
    assert (stats.frames, stats.on_time, stats.withdrawn) == (2, 1, 1)


def test_opening_that_is_cancelled_leaves_nothing_open(package, monkeypatch):
    started, go_on = threading.Event(), threading.Event()
    closed = []

    class Slow(hs.Device):
        def __init__(self, *args, **options):
            started.set()
            assert go_on.wait(60)
            super().__init__(*args, **options)

        def close(self):
            super().close()
            closed.append(True)

    monkeypatch.setattr("hasten.runtime.library.async_device.Device", Slow)

    async def main():
        device = hs.AsyncDevice(package)
        opening = asyncio.create_task(device.__aenter__())
        await asyncio.to_thread(started.wait, 60)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        go_on.set()
        with pytest.raises(hs.ClosedError, match="not open"):
            await device.infer(np.zeros((1, 32, 32), np.uint8))

    asyncio.run(main())  # waits for its threads
    assert closed == [True]
