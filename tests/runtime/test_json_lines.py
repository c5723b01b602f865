"""Lines for what collects logs: each an object, with its kind and what of it is data."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import datetime

import hasten as hs
from hasten.runtime.json_lines import JsonLines
from hasten.runtime.notes import BURST, EVERY_MS, Notes


def test_an_event_is_one_line_whatever_it_says():
    said = []
    lines = JsonLines("edge", said.append)
    lines.write("come", 'edge: cam\n{"event": "ended"} connected', {"device": "cam\n"})
    lines.write("task BUSY", "edge: a task refused")
    assert not any("\n" in line for line in said)
    first, second = map(json.loads, said)
    assert datetime.fromisoformat(first.pop("time")).tzinfo is not None
    message = 'cam\n{"event": "ended"} connected'
    assert first == {"level": "info", "source": "edge", "event": "come", "message": message, "device": "cam\n"}
    assert (second["event"], second["level"]) == ("task_busy", "warning")


def test_what_was_left_out_is_counted(clock):
    recorded = []
    notes = Notes(lambda text: None, clock.now_ms, lambda *event: recorded.append(event))
    for _ in range(BURST + 7):
        notes.tell("come", "come", device="cam")
    assert recorded == [("come", "come", {"device": "cam"})] * BURST
    clock.run(EVERY_MS)
    notes.tell("come", "come", device="cam")
    assert recorded[-1] == ("come", "come", {"device": "cam", "omitted": 7})


def test_an_edge_tells_its_whole_life_so(package):
    command = [sys.executable, "-m", "hasten", "edge", package.path, "--port", "0", "--log-format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as edge:
        try:
            serving = json.loads(edge.stderr.readline())
            assert (serving["event"], serving["packages"], serving["doors"]) == ("serving", ["tiny"], {})
            with hs.Device(package, serving["address"], "edge-only", deadline_ms=5000.0) as device:
                assert device.infer(package.samples()[0][0]).ran_on == "edge"
            lines = [json.loads(edge.stderr.readline()) for _ in range(2)]
            edge.send_signal(signal.SIGTERM)
            out, rest = edge.communicate(timeout=20)
        finally:
            edge.kill()
    lines += map(json.loads, rest.splitlines())
    assert out == "" and [line["event"] for line in lines] == ["come", "gone", "ended"]
    come, gone, ended = lines
    assert come["device"] == gone["device"] == "tiny" and come["address"] == gone["address"]
    assert gone["reason"] == "it closed the connection"
    assert ended["devices"] == 1 and ended["tasks"]["done"] >= 1


def test_a_device_tells_its_notes_so(package):
    command = [sys.executable, "-m", "hasten", "device", package.path, "--deadline-ms", "900", "--tasks", "2"]
    command += ["--edge", "127.0.0.1:9", "--log-format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (line["source"], line["event"]) == ("device", "note")
    assert "edge not reached" in line["message"]
    assert "against 127.0.0.1:9" in done.stdout  # the table is for people
