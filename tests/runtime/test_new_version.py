"""``hasten edge --watch`` and ``hasten device --watch`` as processes: a new version while they serve."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

WAIT_S = 60


@contextmanager
def command(*arguments):
    """A process of ``hasten``; one that does not end by itself is killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hasten", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    alarm = threading.Timer(WAIT_S, process.kill)
    alarm.start()
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        alarm.cancel()


def until(stream, wanted):
    """The lines up to the first that is wanted."""
    lines = []
    for line in stream:
        lines.append(line)
        if wanted(line):
            return lines
    pytest.fail(f"the process ended, and said {lines}")


def replaced(path, package):
    """Another version in the place of a file."""
    aside = path.with_suffix(".part")
    shutil.copy(package.path, aside)
    aside.replace(path)


def test_edge_and_device_go_over_to_a_new_version_and_lose_no_task(package, newer, tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    there, here = folder / "net.hasten", tmp_path / "net.hasten"
    for path in (there, here):
        shutil.copy(package.path, path)
    with command("edge", "--watch", folder, "--port", "0") as edge:
        address = until(edge.stdout, lambda line: "edge serves" in line)[-1].split()[-1]
        options = ("--watch", "--scheduler", "edge-only", "--deadline-ms", "5000", "--arrivals", "periodic:50")
        with command("device", here, "--edge", address, *options, "--answers", "-") as device:
            answers = until(device.stdout, lambda line: '"ran_on": "edge"' in line)
            replaced(there, newer)
            until(edge.stderr, lambda line: f"serves tiny {newer.digest[:12]} from now on" in line)
            replaced(here, newer)
            until(device.stderr, lambda line: f"tiny {newer.digest[:12]} from now on" in line)
            for _ in range(50):
                answers.append(device.stdout.readline())
            device.send_signal(signal.SIGTERM)
            answers += device.stdout.read().splitlines()
            assert device.wait(WAIT_S) == 128 + signal.SIGTERM
        edge.send_signal(signal.SIGTERM)
        told = edge.stderr.read()
    lines = sorted((json.loads(line) for line in answers if line.startswith("{")), key=lambda line: line["frame"])
    assert [line["frame"] for line in lines] == list(range(len(lines))), "each task has one outcome"
    assert {line["outcome"] for line in lines[:-5]} == {"on_time"}
    assert {line["ran_on"] for line in lines[-20:-5]} == {"edge"}
    assert "refused" not in told
