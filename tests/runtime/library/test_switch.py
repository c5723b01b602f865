"""``hs.Device.switch`` and ``hs.Edge.add_package``: every frame is answered once, by the version that took it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

import hasten as hs
from hasten.runtime.edge import services
from hasten.schedulers.greedy import Greedy
from hasten.split.executor import Executor

LONG_MS = 60_000.0


@pytest.fixture(scope="module")
def frames(package):
    return package.samples()[0]


@pytest.fixture(scope="module")
def logits(package, newer, frames):
    """Of the last exit, for each version and frame."""
    found = {}
    for version in (package, newer):
        executor = Executor(version)
        found[version.digest] = [executor.finish(0, 2, [frame[None]]) for frame in frames]
    return found


def is_of(answer, logits, version, frame):
    return np.array_equal(answer.outputs["logits"], logits[version.digest][frame])


def test_frames_under_way_are_answered_by_the_version_that_took_them(package, newer, frames, logits):
    with (
        hs.Edge([package], port=0) as edge,
        hs.Device(package, edge.address, "edge-only", LONG_MS, outputs=True) as device,
    ):
        before = [device.submit(frames[i % 12]) for i in range(30)]
        edge.add_package(newer)
        edge.remove_package(package)
        device.switch(newer)
        after = [device.submit(frames[i % 12]) for i in range(30)]
        for version, futures in ((package, before), (newer, after)):
            for i, future in enumerate(futures):
                answer = future.result()
                assert is_of(answer, logits, version, i % 12) and answer.on_time
        assert [future.result().number for future in before + after] == list(range(60))
        assert {future.result().ran_on for future in before + after} == {"edge"}
        stats = device.stats()
    assert (stats.frames, stats.on_time, stats.on_edge, stats.under_way) == (60, 60, 60, 0)


def test_a_device_that_is_ahead_of_its_edge_answers_alone_until_the_edge_follows(package, newer, frames, logits):
    events = []
    with (
        hs.Edge([package], port=0) as edge,
        hs.Device(package, edge.address, "edge-only", LONG_MS, on_event=events.append, outputs=True) as device,
    ):
        assert device.infer(frames[0]).ran_on == "edge"
        device.switch(newer.path)
        answer = device.infer(frames[1])
        assert answer.ran_on == "device" and is_of(answer, logits, newer, 1)
        text = next(event.text for event in events if event.kind == "unreachable")
        assert f"got package {newer.digest[:12]}" in text and f"tiny {package.digest[:12]}" in text
        assert "hs.Edge.add_package" in text and "hs.Device.switch" in text
        edge.add_package(newer)
        while (answer := device.infer(frames[2])).ran_on != "edge":
            assert is_of(answer, logits, newer, 2)
        assert is_of(answer, logits, newer, 2)


def test_an_old_version_is_let_go_of_when_its_devices_have_gone(package, newer, frames, monkeypatch):
    monkeypatch.setattr(services, "LINGERS_MS", 0.0)
    with hs.Edge([package], port=0) as edge, hs.Device(package, edge.address, "edge-only", LONG_MS) as device:
        kept = edge._edge.server.core.services
        edge.add_package(newer)
        edge.remove_package(package.digest)
        assert device.infer(frames[0]).ran_on == "edge" and len(kept.all) == 2
        device.switch(newer)
        while len(kept.all) == 2:
            device.infer(frames[0])
        assert [served.package.digest for served in kept.all] == [newer.digest]


def test_what_cannot_take_the_place_is_refused_and_the_device_goes_on(package, newer, detector, frames, logits):
    with hs.Device(package, scheduler="device-only", deadline_ms=LONG_MS) as device:
        with pytest.raises(hs.InputError, match=r"inputs: got .* as in the version before"):
            device.switch(detector)
        with pytest.raises(hs.InputError, match=r"absent\.hasten"):
            device.switch("absent.hasten")
        with pytest.raises(hs.InputError, match="unknown"):
            device.switch(newer, scheduler="unknown")
        assert is_of(device.infer(frames[0]), logits, package, 0)
        device.switch(newer)
        assert is_of(device.infer(frames[0]), logits, newer, 0)
    with pytest.raises(hs.ClosedError):
        device.switch(package)
    with pytest.raises(hs.ClosedError):
        edge = hs.Edge([package], port=0)
        edge.close()
        edge.add_package(newer)


def test_a_scheduler_of_ones_own_serves_one_version(package, newer, frames):
    with hs.Device(package, scheduler=Greedy(), deadline_ms=LONG_MS) as device:
        with pytest.raises(hs.InputError, match="scheduler: got None, expected another scheduler"):
            device.switch(newer)
        device.switch(newer, Greedy())
        assert device.infer(frames[0]).answered


def test_switching_back_and_forth_among_frames_loses_none(package, newer, frames, logits):
    async def main():
        async with hs.AsyncDevice(package, scheduler="device-only", deadline_ms=LONG_MS) as device:

            async def ask():
                return [answer async for answer in device.stream((frames[i % 12] for i in range(400)), pending=8)]

            asking = asyncio.create_task(ask())
            for version in (newer, package, newer):
                await device.switch(version)
            return await asking

    answers = asyncio.run(main())
    assert [answer.number for answer in answers] == list(range(400))
    for answer in answers:
        assert any(is_of(answer, logits, version, answer.number % 12) for version in (package, newer))


def test_closing_while_frames_of_two_versions_are_under_way_answers_all(package, newer, frames):
    with hs.Device(package, scheduler="device-only", deadline_ms=LONG_MS) as device:
        futures = [device.submit(frames[0]) for _ in range(50)]
        device.switch(newer)
        futures += [device.submit(frames[0]) for _ in range(50)]
    assert all(future.done() for future in futures)
