"""A network with several inputs in somebody's program: answers over a socket and alone, sources, and errors."""

from __future__ import annotations

import json

import numpy as np
import pytest
from reader_package import LENGTH, WORDS, build_reader, texts

import hasten as hs
from hasten.runtime.device.sources import open_source
from hasten.runtime.device.workload import open_workload
from hasten.split.executor import Executor
from hasten.split.inputs import frame_of

LONG_MS = 60_000.0


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return build_reader(tmp_path_factory.mktemp("reader") / "reader.hasten")


@pytest.mark.parametrize(
    ("scheduler", "ran_on"), [("edge-only", "edge"), ("fixed:2,1", "split"), ("device-only", "device")]
)
def test_frames_of_two_inputs_are_answered_as_the_network_does(reader, scheduler, ran_on):
    inputs, executor = texts(), Executor(reader)
    with (
        hs.Edge([reader.path], port=0) as edge,
        hs.Device(reader.path, edge=edge.address, scheduler=scheduler, deadline_ms=LONG_MS) as device,
    ):
        for index in range(4):
            frame = {name: array[index] for name, array in inputs.items()}
            answer = device.infer(dict(reversed(frame.items())))
            logits = executor.finish(0, answer.exit, frame_of(inputs, index))
            assert (answer.label, answer.ran_on, answer.outcome) == (logits.argmax(), ran_on, "on_time")
        frames = ({name: array[index] for name, array in inputs.items()} for index in range(4))
        assert [answer.outcome for answer in device.stream(frames, when_full="wait")] == ["on_time"] * 4


def test_what_is_no_frame_is_refused_by_name(reader):
    ids, mask = (array[0] for array in texts().values())
    with hs.Device(reader.path, scheduler="device-only", deadline_ms=LONG_MS) as device:
        for wrong, said in (
            (ids, r"frame: got 'ndarray', expected a dict \{'ids': int64\[12\], 'mask': bool\[12\]\}"),
            ({"ids": ids}, r"expected the inputs ids, mask"),
            ({"ids": ids, "mask": mask.astype(np.uint8)}, r"frame: mask: got 'uint8\[12\]', expected .* bool\[12\]"),
        ):
            with pytest.raises(hs.InputError, match=said):
                device.infer(wrong)
        assert device.stats().frames == 0


def test_sources_of_two_inputs(reader, tmp_path):
    samples = open_source("samples", reader)
    assert [array.shape for array in samples._arrival(0.0, 3).frame] == [(1, LENGTH), (1, LENGTH)]
    drawn = open_source("synthetic", reader, seed=1).inputs
    assert drawn["ids"].min() >= 0 and drawn["ids"].max() < WORDS and drawn["mask"].dtype == bool
    inputs = texts(5)
    np.savez(tmp_path / "a.npz", y=np.arange(5), **inputs)
    np.savez(tmp_path / "b.npz", y=np.arange(5), **inputs)
    frames = open_source(str(tmp_path), reader)
    assert frames.inputs["ids"].shape == (10, LENGTH) and frames.labels.tolist() == [0, 1, 2, 3, 4] * 2
    np.testing.assert_array_equal(frames.inputs["mask"][5:], inputs["mask"])


def test_sources_that_do_not_fit_are_refused_by_name(reader, tmp_path):
    inputs = texts(5)
    for number, (arrays, said) in enumerate(
        [
            ({"x": inputs["ids"]}, "npz with ids, mask and optionally y"),
            (
                {**inputs, "mask": inputs["mask"][:4]},
                r"frames: got 'bool\[4, 12\]', expected .*the same for all inputs",
            ),
            ({**inputs, "ids": inputs["ids"].astype(np.int32)}, r"frames: got 'int32\[5, 12\]', expected int64"),
            ({**inputs, "y": np.arange(3)}, r"labels: got 'int64\[3\]', expected 5 class numbers"),
        ]
    ):
        np.savez(tmp_path / f"{number}.npz", **arrays)
        with pytest.raises(hs.InputError, match=said):
            open_source(str(tmp_path / f"{number}.npz"), reader)
    np.save(tmp_path / "one.npy", inputs["ids"])
    with pytest.raises(hs.InputError, match="npz with ids, mask"):
        open_source(str(tmp_path / "one.npy"), reader)
    with pytest.raises(hs.InputError, match="pictures for the inputs ids, mask"):
        (tmp_path / "clip.mp4").write_bytes(b"")
        open_workload(str(tmp_path / "clip.mp4"), None, 1, reader)


def test_hasten_device_draws_tasks_of_two_inputs(reader, tmp_path):
    from typer.testing import CliRunner

    from hasten.cli.app import app

    with hs.Edge([reader.path], port=0) as edge:
        done = CliRunner().invoke(
            app,
            ["device", str(reader.path), "--edge", edge.address, "--scheduler", "edge-only", "--deadline-ms", "60000",
             "--arrivals", "periodic:50", "--tasks", "5", "--answers", str(tmp_path / "a.jsonl")],
        )  # fmt: skip
    assert done.exit_code == 0, done.output
    answers = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [answer["outcome"] for answer in answers] == ["on_time"] * 5
