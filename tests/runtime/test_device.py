"""``hasten device`` as a function: sources, arrivals, addresses, and a run without an edge."""

from __future__ import annotations

import numpy as np
import pytest

from hasten.core.errors import InputError
from hasten.runtime.device import parse_address, run_device
from hasten.runtime.sources import open_source, parse_arrivals


def test_a_device_works_alone(package, tmp_path):
    notes = []
    log = tmp_path / "log.jsonl"
    result = run_device(
        package.path, "127.0.0.1:9", deadline_ms=500.0, arrivals="periodic:100", tasks=20, log=log, on_note=notes.append
    )
    assert result.tasks == 20
    assert result.uplink_bytes == 0
    summary = result.summary()
    assert summary["on_time_rate"] == 1.0 and summary["late"] == summary["dropped"] == 0
    assert summary["measured_on_time_accuracy"] >= 0
    assert len(log.read_text().splitlines()) == 20
    assert "edge not reached" in notes[0]


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
