"""``hs.Device``: one right answer for each frame, from any thread, whatever happens to the edge; nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from itertools import chain, pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import hasten as hs
from hasten.schedulers.greedy import Greedy
from hasten.split.executor import Executor

LONG_MS = 60_000.0


@pytest.fixture(scope="module")
def frames(package):
    return package.samples()[0]


@pytest.fixture(scope="module")
def expected(package, frames):
    """Logits of each exit for each frame."""
    executor = Executor(package)
    return {exit_: [executor.finish(0, exit_, [frame[None]]) for frame in frames] for exit_ in (1, 2)}


@pytest.fixture
def gate(monkeypatch):
    """While it is shut, the processor does not get on with what it computes."""
    opened = threading.Event()

    class Gated(Executor):
        def outputs(self, partition, exit_, tensors):
            assert opened.wait(60)
            return super().outputs(partition, exit_, tensors)

    monkeypatch.setattr("hasten.runtime.device.prepared.Executor", Gated)
    return opened


def threads_beside(before):
    """Threads that were not there before and do not end by themselves."""
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    return {thread.name for thread in threading.enumerate() if thread not in before}


def test_a_device_alone_answers_as_the_network_does(package, frames, expected):
    with hs.Device(package.path, scheduler="device-only", deadline_ms=LONG_MS) as device:
        for number, (frame, logits) in enumerate(zip(frames, expected[2], strict=True)):
            answer = device.infer(frame)
            np.testing.assert_array_equal(answer.outputs["logits"], logits)
            assert answer.label == logits.argmax() and answer.confidence == pytest.approx(softmax(logits).max())
            assert (answer.exit, answer.partition, answer.ran_on) == (2, 3, "device")
            assert (answer.outcome, answer.reason, answer.on_time) == ("on_time", "answered", True)
            assert answer.number == number and 0 < answer.latency_ms < answer.deadline_ms == LONG_MS
            assert answer.fallback is None and answer.name is None
        stats = device.stats()
    assert (stats.frames, stats.on_time, stats.on_device, stats.under_way) == (len(frames),) * 3 + (0,)


def softmax(logits):
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


@pytest.mark.parametrize(("scheduler", "ran_on"), [("edge-only", "edge"), ("fixed:2,2", "split")])
def test_a_device_with_an_edge(package, frames, expected, scheduler, ran_on):
    with (
        hs.Edge([package], port=0, token="secret") as edge,
        hs.Device(package, edge.address, scheduler, LONG_MS, token="secret") as device,
    ):
        for frame, logits in zip(frames, expected[2], strict=True):
            answer = device.infer(frame)
            assert answer.label == logits.argmax() and answer.ran_on == ran_on and answer.outputs == {}
            assert answer.partition == {"edge": 0, "split": 2}[ran_on]
        stats = device.stats()
        assert stats.edge_connected and stats.uplink_bytes > 0 and getattr(stats, f"on_{ran_on}", stats.split) == 12


def test_a_wrong_token_leaves_the_device_alone(package, frames):
    events = []
    with (
        hs.Edge([package], port=0, token="secret") as edge,
        hs.Device(package, edge.address, deadline_ms=LONG_MS, token="guess", on_event=events.append) as device,
    ):
        assert device.infer(frames[0]).ran_on == "device"
    assert events[0].kind == "unreachable" and "token" in events[0].text


def test_many_threads_get_each_its_own_answer(package, frames, expected):
    def ask(device, thread):
        for i in range(50):
            number = (7 * thread + i) % len(frames)
            answer = device.infer(frames[number])
            np.testing.assert_array_equal(answer.outputs["logits"], expected[2][number])
            yield answer.number

    with (
        hs.Device(package, scheduler="device-only", deadline_ms=LONG_MS) as device,
        ThreadPoolExecutor(8) as pool,
    ):
        numbers = list(pool.map(lambda thread: list(ask(device, thread)), range(8)))
    assert sorted(chain(*numbers)) == list(range(400))
    assert all(a < b for mine in numbers for a, b in pairwise(mine))


def test_it_works_inside_a_running_loop(package, frames, expected):
    async def main():
        with hs.Device(package, scheduler="device-only", deadline_ms=LONG_MS) as device:
            return [device.infer(frame).label for frame in frames]

    assert asyncio.run(main()) == [logits.argmax() for logits in expected[2]]


def test_nothing_is_left_behind_however_often_it_is_opened(package, frames):
    before, open_files = set(threading.enumerate()), []
    for _ in range(5):
        with hs.Edge([package], port=0) as edge, hs.Device(package, edge.address, "edge-only", LONG_MS) as device:
            assert device.infer(frames[0]).ran_on == "edge"
        with hs.Device(package) as device:
            device.infer(frames[0])
        assert threads_beside(before) == set()
        open_files.append(sum(1 for _ in Path("/proc/self/fd").iterdir()))
    assert open_files[-1] <= open_files[1]  # what other tests left open may be closed meanwhile


def test_devices_of_a_process_share_one_thread_that_computes(package, frames, expected, tmp_path):
    other = shutil.copy(package.path, tmp_path / "other.hasten")
    with (
        hs.Device(package, None, "device-only", LONG_MS) as one,
        hs.Device(other, "127.0.0.1:9", "device-only", LONG_MS) as two,
    ):
        names = [thread.name for thread in threading.enumerate()]
        assert (names.count("compute"), names.count("hasten"), names.count("clock")) == (1, 1, 2)
        answers = [one.submit(frame) for frame in frames] + [two.submit(frame) for frame in frames]
        labels = [future.result().label for future in answers]
        assert labels == [logits.argmax() for logits in expected[2]] * 2
        one.close()
        assert two.infer(frames[0]).label == labels[0]


def test_a_cancelled_frame_is_taken_back(package, frames, gate, tmp_path):
    log = tmp_path / "log.jsonl"
    with hs.Device(package, deadline_ms=LONG_MS, log=log) as device:
        first, second, third = (device.submit(frame) for frame in frames[:3])
        assert second.cancel() and second.cancel() is not False
        gate.set()
        assert first.result().on_time and third.result().on_time
        with pytest.raises(CancelledError):
            second.result()
        assert not first.cancel()
    stats = device.stats()
    assert (stats.frames, stats.on_time, stats.dropped, stats.withdrawn) == (3, 2, 1, 1)
    reasons = {line["task"]: line["reason"] for line in map(json.loads, log.read_text().splitlines())}
    assert reasons == {0: "answered", 1: "withdrawn", 2: "answered"}


def test_closing_ends_what_is_under_way(package, frames, gate):
    device = hs.Device(package, deadline_ms=LONG_MS)
    futures = [device.submit(frame) for frame in frames[:3]]
    closer = threading.Thread(target=device.close)
    closer.start()
    answers = [future.result() for future in futures]
    gate.set()
    closer.join()
    assert [(answer.outcome, answer.reason, answer.label) for answer in answers] == [("late", "stopped", None)] * 3


def test_the_newest_frame_wins(package, frames, gate):
    def camera():
        yield from frames[:10]
        gate.set()

    with hs.Device(package, deadline_ms=LONG_MS) as device:
        answers = list(device.stream(camera(), when_full="newest", pending=2))
        assert [answer.outcome for answer in answers] == ["on_time"] * 2 + ["dropped"] * 7 + ["on_time"]
        assert {answer.reason for answer in answers[2:9]} == {"superseded"}
        assert [answer.number for answer in answers] == list(range(10))
        stats = device.stats()
    assert (stats.frames, stats.superseded, stats.dropped, stats.on_time) == (10, 7, 7, 3)


def test_a_stream_waits_for_room(package, frames, expected):
    taken = 0

    def source():
        nonlocal taken
        for frame in frames:
            taken += 1
            yield frame

    with hs.Device(package, deadline_ms=LONG_MS) as device:
        for number, answer in enumerate(device.stream(source(), pending=3)):
            assert answer.number == number and answer.label == expected[answer.exit][number].argmax()
            assert taken <= number + 3
        assert taken == len(frames)


@pytest.mark.parametrize("when_full", ["wait", "newest"])
def test_a_stream_that_breaks_says_so_after_the_answers_before(package, frames, when_full):
    def source(last):
        yield from frames[:3]
        yield last
        raise OSError("the camera is gone")

    with hs.Device(package, deadline_ms=LONG_MS) as device:
        answers = device.stream(source(frames[3]), when_full, pending=8)
        for _ in range(4):
            assert next(answers).on_time
        with pytest.raises(OSError, match="the camera is gone"):
            next(answers)
        answers = device.stream(source(frames[3].astype(np.float32)), when_full, pending=8)
        for _ in range(3):
            assert next(answers).on_time
        with pytest.raises(hs.InputError, match="uint8"):
            next(answers)


def test_a_stream_that_is_left_takes_its_frames_back(package, frames, gate):
    before = set(threading.enumerate())
    with hs.Device(package, deadline_ms=LONG_MS) as device:
        answers = device.stream(iter(frames), when_full="newest", pending=2)
        threading.Timer(0.0, gate.set).start()
        assert next(answers).on_time
        answers.close()
    assert device.stats().under_way == 0
    assert threads_beside(before) == set()


def test_every_frame_has_its_answer_when_the_edge_dies(package, frames, expected):
    events, answered = [], threading.Semaphore(0)
    edge = hs.Edge([package], port=0)

    def ask(device, thread):
        for number in range(30):
            answer = device.infer(frames[number % len(frames)])
            answered.release()
            yield number % len(frames), answer

    with (
        hs.Device(package, edge.address, "edge-only", LONG_MS, on_event=events.append) as device,
        ThreadPoolExecutor(4) as pool,
    ):
        asked = [pool.submit(lambda thread=thread: list(ask(device, thread))) for thread in range(4)]
        for _ in range(20):
            assert answered.acquire(timeout=60)
        edge.close()
        answers = list(chain(*(each.result() for each in asked)))
        stats = device.stats()
    assert len(answers) == stats.on_time == 120 and not stats.edge_connected
    assert all(answer.label == expected[answer.exit][number].argmax() for number, answer in answers)
    assert {answer.ran_on for _, answer in answers} == {"edge", "device"}
    assert {answer.fallback for _, answer in answers} >= {None, "unreachable"}
    assert [event.kind for event in events][:2] == ["connected", "lost"]


class Recorder(Greedy):
    """Notes which deadline decided what was seen."""

    asked: ClassVar[list] = []

    def reset(self, context):
        super().reset(context)
        self.deadline_ms = float(context.deadline_ms[0])

    def decide(self, view):
        self.asked.append((self.deadline_ms, float(view.device_wait_ms[0])))
        return super().decide(view)


def test_another_edge_takes_over_when_one_is_lost(package, frames):
    """Two edges with commas, both connected: the second serves when the first is closed."""
    came, first = threading.Semaphore(0), hs.Edge([package], port=0)
    told = []

    def heard(event):
        told.append(event)
        if event.kind == "connected":
            came.release()

    with hs.Edge([package], port=0) as second:
        addresses = f"{first.address},{second.address}"
        with hs.Device(package, addresses, "edge-only", LONG_MS, on_event=heard) as device:
            assert came.acquire(timeout=30) and came.acquire(timeout=30)
            assert device.infer(frames[0]).ran_on == "edge"
            first.close()
            answers = [device.infer(frame) for frame in frames[:6]]
    assert answers[-1].ran_on == "edge"  # the first may be done here, before the link is measured
    assert [event.kind for event in told][:3] == ["connected", "connected", "lost"]
    assert answers[-1].edge == second.address


def test_a_calls_deadline_is_the_schedulers(package, frames):
    Recorder.asked.clear()
    with hs.Device(package, scheduler=Recorder(), deadline_ms=1000.0) as device:
        del Recorder.asked[:]  # of the rehearsal
        for deadline_ms in (None, 400.0, 5000.0, None, 400.0):
            assert device.infer(frames[0], deadline_ms).deadline_ms == (deadline_ms or 1000.0)
        assert [deadline for deadline, _ in Recorder.asked] == [1000.0, 400.0, 5000.0, 1000.0, 400.0]
        impossible = device.infer(frames[0], deadline_ms=1e-3)
        assert (impossible.outcome, impossible.label) == ("dropped", None)
        with pytest.raises(hs.InputError, match="deadline_ms"):
            device.infer(frames[0], deadline_ms=float("nan"))


def test_what_is_no_frame_is_refused_by_name(package, frames):
    name = package.manifest.input.name
    with hs.Device(package, deadline_ms=LONG_MS) as device:
        same = [frames[0], frames[:1], {name: frames[0]}, np.asfortranarray(frames[0]), frames[0][:, ::-1][:, ::-1]]
        assert len({device.infer(frame).confidence for frame in same}) == 1
        for wrong, got in (
            (frames[0][:, :, :5], r"uint8\[1, 32, 5\]"),
            (frames[0].astype(np.float32), r"float32\[1, 32, 32\]"),
            (frames[:2], r"uint8\[2, 1, 32, 32\]"),
            (frames[0].tolist(), "list"),
        ):
            with pytest.raises(hs.InputError, match=rf"frame: got '{got}', expected a numpy array uint8\[1, 32, 32\]"):
                device.infer(wrong)
        with pytest.raises(hs.InputError, match=rf"expected one input, named '{name}'"):
            device.submit({"other": frames[0]})
        assert device.stats().frames == len(same)


def test_a_closed_device_says_so(package, frames):
    device = hs.Device(package)
    device.close()
    device.close()
    for ask in (device.infer, device.submit, lambda frame: next(device.stream([frame]))):
        with pytest.raises(hs.ClosedError, match="closed"):
            ask(frames[0])


def test_a_callback_may_submit_but_not_wait(package, frames):
    told = []
    done = threading.Event()

    def called(future):
        for ask in (device.infer, lambda frame: device.close(), lambda frame: hs.Device(package)):
            try:
                ask(frames[0])
            except hs.HastenError as error:
                told.append(str(error))
        device.submit(frames[1]).add_done_callback(lambda future: (told.append(future.result().number), done.set()))

    with hs.Device(package, deadline_ms=LONG_MS) as device:
        device.submit(frames[0]).add_done_callback(called)
        assert done.wait(60)
    assert [text.startswith("called back by hasten") for text in told[:3]] == [True] * 3 and told[3:] == [1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"edge": "nowhere"}, "HOST:PORT"),
        ({"scheduler": "nothing"}, "scheduler"),
        ({"scheduler": 5}, "an object with name, reset and decide"),
        ({"deadline_ms": 0}, "deadline_ms"),
        ({"rate_hz": 0}, "rate_hz"),
        ({"token": "x" * 300}, "token"),
        ({"slowdown": 0.5}, "slowdown"),
        ({"log": "/nowhere/log"}, "log"),
    ],
)
def test_bad_arguments_leave_nothing_behind(package, given, message):
    before = set(threading.enumerate())
    with pytest.raises(hs.InputError, match=message):
        hs.Device(package, **given)
    assert threads_beside(before) == set()


def test_a_process_may_end_without_closing_and_a_forked_one_is_told(package):
    code = f"""
import os
import numpy as np
import hasten as hs
device = hs.Device({str(package.path)!r}, deadline_ms=60_000)
frame = np.zeros((1, 32, 32), np.uint8)
assert device.infer(frame).on_time
child = os.fork()
if not child:
    try:
        device.infer(frame)
    except hs.ClosedError:
        os._exit(7)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print("ended")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr
