"""``hasten device`` as a function: sources, arrivals, addresses, and a run without an edge."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from hasten.core.errors import InputError
from hasten.core.profile import read_profile
from hasten.runtime.device.address import parse_address
from hasten.runtime.device.command import DeviceStream, run_device
from hasten.runtime.device.prepared import DevicePlan
from hasten.runtime.device.sources import open_source, parse_arrivals
from hasten.split.executor import Executor
from hasten.split.metrics import make_metric


def test_a_device_works_alone(package, tmp_path):
    notes = []
    log, learnt = tmp_path / "log.jsonl", tmp_path / "learnt.json"
    plan = DevicePlan(edge="127.0.0.1:9", deadline_ms=500.0)
    stream = DeviceStream(arrivals="periodic:100", tasks=20, log=log, profile=learnt)
    result = run_device(package.path, plan, stream, on_note=notes.append)
    assert result.tasks == 20
    assert result.uplink_bytes == 0
    summary = result.summary()
    assert summary["on_time_rate"] == 1.0 and summary["late"] == summary["dropped"] == 0
    assert summary["measured_on_time_accuracy"] >= 0
    assert len(log.read_text().splitlines()) == 20
    assert "edge not reached" in notes[0]
    written = read_profile(learnt)
    assert [block.name for block in written.blocks] == [block.name for block in package.profile.blocks]
    assert written.source.startswith("learnt while running: device (20 segments run)")


def run_maps(package, tmp_path, scheduler):
    """The summary and the lines of the log of twenty tasks without an edge."""
    log = tmp_path / "log.jsonl"
    stream = DeviceStream(arrivals="periodic:100", tasks=20, log=log)
    notes = []
    tally = run_device(package.path, DevicePlan(scheduler=scheduler, deadline_ms=1e4), stream, on_note=notes.append)
    return tally.summary(), [json.loads(line) for line in log.read_text().splitlines()], notes


def test_maps_are_measured_by_their_metric_while_running(maps, tmp_path):
    frames, targets = maps.samples()
    metric, executor = make_metric("mean_iou", targets), Executor(maps)
    own = [metric(executor.outputs(0, 1, [frame[None]]), target) for frame, target in zip(frames, targets, strict=True)]
    summary, lines, _ = run_maps(maps, tmp_path, "fixed:1,1")
    assert len(lines) == 20 and all(line["label"] is line["class"] is line["correct"] is None for line in lines)
    assert [line["score"] for line in lines] == pytest.approx([own[line["sample"]] for line in lines], abs=1e-5)
    wanted = np.mean([line["score"] for line in lines])
    assert summary["measured_on_time_accuracy"] == pytest.approx(wanted, abs=1e-5) and 0.1 < wanted < 0.95
    assert run_maps(maps, tmp_path, "fixed:2,2")[0]["measured_on_time_accuracy"] == 1.0


def test_a_metric_that_only_the_builder_has_leaves_the_expectation(detector, tmp_path):
    summary, lines, _ = run_maps(detector, tmp_path, "fixed:2,2")
    assert "measured_on_time_accuracy" not in summary
    assert summary["on_time_accuracy"] == pytest.approx(detector.manifest.exits[1].accuracy)
    assert {line["score"] for line in lines} == {None} and {line["outcome"] for line in lines} == {"on_time"}


def test_a_metric_that_fails_costs_no_task(maps, tmp_path, monkeypatch):
    def broken(metric, outputs, target):
        raise ZeroDivisionError

    monkeypatch.setattr("hasten.runtime.device.sources.score", broken)
    summary, lines, notes = run_maps(maps, tmp_path, "fixed:2,2")
    assert summary["on_time_rate"] == 1.0 and {line["score"] for line in lines} == {None}
    assert "measured_on_time_accuracy" not in summary
    assert [note for note in notes if note.startswith("metric failed: ZeroDivisionError")] == notes


def test_targets_of_files_are_the_packages(maps, tmp_path):
    frames, targets = maps.samples()
    np.savez(tmp_path / "a.npz", x=frames[:5], y=targets[:5])
    found = open_source(str(tmp_path), maps)
    assert found.labels is None
    assert found.judge(3, Executor(maps).outputs(0, 2, [frames[3:4]])) == 1.0
    np.savez(tmp_path / "b.npz", x=frames[:5], y=np.zeros(5, np.int64))
    with pytest.raises(InputError, match=r"targets: got 'int64\[5\]', expected int64\[5, 16, 16\]"):
        open_source(str(tmp_path), maps)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("host:7700", ("host", 7700)), ("[::1]:80", ("::1", 80)), ("10.0.0.1:65535", ("10.0.0.1", 65535))],
)
def test_addresses(text, expected):
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", ["host", ":80", "host:", "host:0", "host:70000", "a:b:80", "host:x"])
def test_bad_addresses(text):
    with pytest.raises(InputError, match="HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "-a.example", "300.1.2.3", "10.0.0.256", "exa mple", "ü" * 80])
def test_a_host_that_cannot_exist_is_refused_before_anything_starts(host):
    with pytest.raises(InputError, match=r"device: edge: got .*, expected HOST:PORT of a host that can exist"):
        parse_address(f"{host}:7700")
    assert parse_address("büro.example:7700") == ("büro.example", 7700)
    assert parse_address("my_edge-2:7700") == ("my_edge-2", 7700)


def test_arrivals(tmp_path):
    assert parse_arrivals("poisson:15").rate_hz == 15
    assert parse_arrivals("periodic:2.5").kind == "periodic"
    path = tmp_path / "bursts.yaml"
    path.write_text("{kind: mmpp, rates_hz: [2, 30], dwell_ms: [1000, 200]}")
    assert parse_arrivals(f"file:{path}").kind == "mmpp"


@pytest.mark.parametrize("text", ["poisson", "poisson:-1", "periodic:0", "poisson:nan", "trace:5", "poisson:inf"])
def test_bad_arrivals(text):
    with pytest.raises(InputError, match="RATE_HZ"):
        parse_arrivals(text)


def test_bad_arrivals_file(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("{kind: poisson, rate_hz: -3}")
    with pytest.raises(InputError, match="rate_hz"):
        parse_arrivals(f"file:{path}")


def test_sources(package, tmp_path):
    frames, labels = package.samples()
    np.savez(tmp_path / "b.npz", x=frames[:5], y=labels[:5])
    np.savez(tmp_path / "a.npz", x=frames[5:8], y=labels[5:8])
    found = open_source(str(tmp_path), package)
    np.testing.assert_array_equal(found.inputs, np.concatenate([frames[5:8], frames[:5]]))
    np.testing.assert_array_equal(found.labels, np.concatenate([labels[5:8], labels[:5]]))
    np.save(tmp_path / "c.npy", frames[:2])
    assert open_source(str(tmp_path), package).labels is None
    assert open_source("synthetic", package).inputs.shape[1:] == frames.shape[1:]
    tasks = open_source("samples", package).arrivals(np.arange(50.0), seed=3)
    again = open_source("samples", package).arrivals(np.arange(50.0), seed=3)
    assert [task.sample for task in tasks] == [task.sample for task in again]
    assert all(task.label == labels[task.sample] for task in tasks)
    assert len({task.sample for task in tasks}) > 5


def test_bad_sources(package, tmp_path):
    np.save(tmp_path / "shape.npy", np.zeros((3, 7, 7), np.uint8))
    np.save(tmp_path / "scalar.npy", np.uint8(3))
    np.save(tmp_path / "type.npy", package.samples()[0].astype(np.float32))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    np.savez(tmp_path / "labels.npz", x=package.samples()[0], y=np.zeros(1, np.int64))
    for name in ("shape.npy", "scalar.npy", "type.npy", "objects.npy", "broken.npz", "labels.npz"):
        with pytest.raises(InputError, match=name):
            open_source(str(tmp_path / name), package)
    with pytest.raises(InputError, match="samples, synthetic"):
        open_source(str(tmp_path / "absent"), package)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="samples, synthetic"):
        open_source(str(tmp_path / "empty"), package)


def test_frames_that_are_not_finite_and_files_that_are_none_are_refused(tmp_path):
    spec = SimpleNamespace(shape=(2,), dtype="float32")
    package = SimpleNamespace(manifest=SimpleNamespace(inputs=[spec]))
    frames = np.zeros((3, 2), np.float32)
    np.save(tmp_path / "good.npy", frames)
    assert len(open_source(str(tmp_path / "good.npy"), package).inputs) == 3
    for value in (np.nan, np.inf, -np.inf):
        frames[1, 1] = value
        np.save(tmp_path / "bad.npy", frames)
        np.savez(tmp_path / "bad.npz", x=frames)
        for name in ("bad.npy", "bad.npz"):
            with pytest.raises(InputError, match=f"{name}: frame 1: got .*, expected finite numbers"):
                open_source(str(tmp_path / name), package)
    header = (
        np.lib.format.magic(1, 0) + b"v\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d, 2), }" % 10**15
    )
    (tmp_path / "claims.npy").write_bytes(header.ljust(128))
    np.savez_compressed(tmp_path / "cut.npz", x=np.zeros((500, 2), np.float32))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:-150])
    for name in ("claims.npy", "cut.npz", "a\0b", "x" * 5000):
        with pytest.raises(InputError):
            open_source(str(tmp_path / name), package)


def test_what_an_archive_of_frames_unpacks_to_is_bounded(tmp_path, monkeypatch):
    package = SimpleNamespace(manifest=SimpleNamespace(inputs=[SimpleNamespace(shape=(1000,), dtype="uint8")]))
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((100, 1000), np.uint8))
    monkeypatch.setattr("hasten.runtime.device.sources.MAX_ARRAY_BYTES", 50_000)
    assert (tmp_path / "bomb.npz").stat().st_size < 50_000
    with pytest.raises(InputError, match="at most 50000 bytes"):
        open_source(str(tmp_path / "bomb.npz"), package)


def test_arrivals_of_a_file_are_not_converted(tmp_path):
    path = tmp_path / "arrivals.yaml"
    for text in ("{kind: poisson, rate_hz: yes}", "{kind: poisson, rate_hz: '5'}", "{kind: poisson, rate_hz: 1:20}"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"arrivals\.rate_hz"):
            parse_arrivals(f"file:{path}")
