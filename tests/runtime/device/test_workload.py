"""What ``hasten device`` does with sources that give one frame after another, and the lines that tell of the answers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hasten.core.errors import InputError
from hasten.runtime.device.command import DeviceStream, run_device
from hasten.runtime.device.live_sources import LiveSource
from hasten.runtime.device.prepared import DevicePlan
from hasten.runtime.device.workload import open_workload
from hasten.split.executor import Executor

PLAN = DevicePlan(deadline_ms=60_000.0)


@pytest.fixture
def source(package, monkeypatch):
    """Has ``live_source`` give these frames."""

    def give(frames, own_pace, rate_hz=None):
        live = LiveSource(frames, own_pace, rate_hz)
        monkeypatch.setattr("hasten.runtime.device.workload.live_source", lambda name, spec: live)

    return give


@pytest.mark.parametrize("own_pace", [False, True])
def test_every_frame_of_a_live_source_has_its_answer(package, source, tmp_path, own_pace):
    frames, executor = package.samples()[0], Executor(package)
    source(iter(frames), own_pace)
    answers, log = tmp_path / "answers.jsonl", tmp_path / "log.jsonl"
    arrivals = None if own_pace else "periodic:500"
    tally = run_device(package.path, PLAN, DeviceStream("live", arrivals, None, log, str(answers)))
    assert tally.tasks == len(frames)
    lines = sorted(map(json.loads, answers.read_text().splitlines()), key=lambda line: line["frame"])
    assert [line["frame"] for line in lines] == list(range(len(frames)))
    answered = [line for line in lines if line["outcome"] == "on_time"]
    assert len(answered) + sum(line["reason"] == "superseded" for line in lines) == len(frames)
    for line in answered:
        logits = executor.finish(0, line["exit"], [frames[line["frame"]][None]])
        assert line["class"] == logits.argmax() and line["ran_on"] == "device" and line["on_time"]
    assert len(log.read_text().splitlines()) == len(answered) >= (1 if own_pace else len(frames))


def test_an_endless_source_ends_after_so_many_tasks(package, source):
    def endless():
        while True:
            yield package.samples()[0][0]

    source(endless(), own_pace=False)
    assert run_device(package.path, PLAN, DeviceStream("live", "periodic:500", tasks=5)).tasks == 5


def test_a_frame_that_does_not_fit_ends_the_stream(package, source, tmp_path):
    frames = package.samples()[0]
    source(iter([frames[0], frames[1].astype(np.float32)]), own_pace=False)
    answers = tmp_path / "answers.jsonl"
    with pytest.raises(InputError, match=r"frame: got 'float32\[1, 32, 32\]'"):
        run_device(package.path, PLAN, DeviceStream("live", "periodic:500", answers=str(answers)))
    assert [json.loads(line)["outcome"] for line in answers.read_text().splitlines()] == ["on_time"]


def test_rates_are_those_of_the_source_unless_said_otherwise(package, source):
    source([], own_pace=False, rate_hz=25.0)
    assert open_workload("clip.mp4", None, None, package).rate_hz == 25.0
    assert open_workload("clip.mp4", "poisson:3", None, package).rate_hz == 3.0
    source([], own_pace=True, rate_hz=30.0)
    camera = open_workload("camera:0", None, None, package)
    assert camera.rate_hz == 30.0 and camera.arrivals is None
    with pytest.raises(InputError, match=r"arrivals: .* none with camera:0, whose frames come when they come"):
        open_workload("camera:0", "periodic:5", None, package)


def test_recorded_frames_are_told_by_lines_too(package, capsys):
    stream = DeviceStream(arrivals="periodic:500", tasks=4, answers="-")
    assert run_device(package.path, PLAN, stream).tasks == 4
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(line["frame"] for line in lines) == [0, 1, 2, 3]
