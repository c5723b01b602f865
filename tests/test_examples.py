"""The examples for other programs run, with the package given, alone and with an edge; each fits on a screen."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from shared import built_once
from tiny_package import build_tiny

import hasten as hs
from hasten.split.verify import verify

EXAMPLES = Path(__file__).parent.parent / "examples"
EMBEDDED = ("frames_loop", "frames_asyncio", "flask_handler", "video_overlay", "robot_callback")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return built_once(tmp_path_factory, "tiny", build_tiny)


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module
    for name in (*EMBEDDED, "segmenter"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", EMBEDDED)
def test_each_is_short(name):
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 30


@pytest.mark.parametrize("name", ["frames_loop", "frames_asyncio", "flask_handler", "video_overlay"])
def test_each_says_what_it_wants(name, example):
    told = subprocess.run([sys.executable, str(EXAMPLES / f"{name}.py")], capture_output=True, text=True, check=False)
    assert told.returncode == 1 and told.stderr == f"{example(name).__doc__}\n"


def test_a_loop_over_frames(package, example, capsys):
    with hs.Edge([package], port=0) as edge:
        counts = example("frames_loop").main(str(package.path), edge.address)
    assert counts["on_time"] == 12 and "edge connected" in capsys.readouterr().out


def test_two_streams_in_an_event_loop(package, example, capsys):
    assert asyncio.run(example("frames_asyncio").main(str(package.path))) == [12, 12]
    assert capsys.readouterr().out.count("left") == 12


def test_a_web_handler(package, example):
    frame = package.samples()[0][0]
    with hs.Device(package, deadline_ms=60_000) as device:
        client = example("flask_handler").create_app(device, frame.shape, "uint8").test_client()
        answer = client.post("/answer?deadline_ms=60000", data=frame.tobytes())
        assert answer.status_code == 200 and answer.json["on_time"]
        assert answer.json["class"] == device.infer(frame).label
        for wrong in (client.post("/answer", data=b"x"), client.post("/answer?deadline_ms=-1", data=frame.tobytes())):
            assert wrong.status_code == 400 and "error" in wrong.json


def test_a_video_with_the_answers_drawn_in(package, example, tmp_path):
    cv2 = pytest.importorskip("cv2")
    source, target = str(tmp_path / "in.avi"), str(tmp_path / "out.avi")
    writer = cv2.VideoWriter(source, cv2.VideoWriter.fourcc(*"MJPG"), 25, (320, 240))
    for number in range(5):
        writer.write(np.full((240, 320, 3), 40 * number, np.uint8))
    writer.release()
    assert example("video_overlay").main(str(package.path), source, target) == 5
    video = cv2.VideoCapture(target)
    pictures = [video.read()[1] for _ in range(5)]
    assert all(picture.shape == (240, 320, 3) and picture[4:16, :200, 1].max() > 150 for picture in pictures)
    assert not video.read()[0]


def test_callbacks_of_a_robot(package, example):
    told = []
    frames = package.samples()[0]
    recognizer = example("robot_callback").Recognizer(str(package.path), told.append)
    with recognizer.device:
        for frame in frames:
            recognizer.on_picture(frame)
        assert recognizer.waiting.result().label is not None
    assert told[-1]["frame"] == 11 and len(told) <= 12


def test_a_segmenter_answers_with_maps_at_every_exit_and_cut(example, tmp_path, capsys):
    threads = torch.get_num_threads()
    try:
        example("segmenter").main(str(tmp_path / "s.hasten"))
    finally:
        torch.set_num_threads(threads)
    package = hs.open_package(tmp_path / "s.hasten")
    early, middle, late = (exit_.accuracy for exit_ in package.manifest.exits)
    assert package.manifest.metric == "mean_iou" and 0.4 < early < late and middle < 0.9
    assert [package.manifest.outputs(exit_)[0].shape for exit_ in (1, 2, 3)] == [(3, 32, 32)] * 3
    assert verify(package).max_error < 1e-4
    told = capsys.readouterr().out.splitlines()[3:]
    for (exit_, partition), line in zip(package.manifest.options(), told, strict=True):
        where = (
            "edge"
            if not partition
            else "split"
            if partition < package.manifest.exits[exit_ - 1].after_block
            else "device"
        )
        assert line.startswith(f"exit {exit_}, cut {partition}, on {where}: ")
        assert int(line.split("%")[0].split()[-1]) > 70
