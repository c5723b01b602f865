"""Edge and device as containers run them: no file is written, SIGTERM ends them in order with complete logs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

from commands import NO_FILES, command, edge_command

READ_ONLY = ("-c", NO_FILES)


def test_nothing_is_written_but_what_is_asked_for_and_sigterm_ends_in_order(package):
    with edge_command(package.path, "--health", "0", code=READ_ONLY) as (edge, address):
        stream = ("--deadline-ms", 5000, "--arrivals", "periodic:50", "--scheduler", "edge-only", "--answers", "-")
        with command(
            "device", package.path, "--edge", address, *stream, "--json", "/dev/null", code=READ_ONLY
        ) as device:
            answers = [json.loads(device.line()) for _ in range(5)]
            code, rest, told = device.ended()
            answers += [json.loads(line) for line in rest.splitlines() if line.startswith("{")]
        assert code == 128 + signal.SIGTERM
        assert "Traceback" not in told
        assert [answer["frame"] for answer in answers] == list(range(len(answers)))
        assert "edge" in {answer["ran_on"] for answer in answers}
        edge_code, out, err = edge.ended()
    done = sum(answer["ran_on"] == "edge" for answer in answers)
    assert edge_code == 0 and out == f"edge ended; 1 devices came; tasks: {done} done\n"
    assert "connected" in err and "gone" in err and "Traceback" not in err


def test_onnx_runtime_keeps_and_reports_nothing(package, tmp_path):
    """Its wheels do both by default; see what a process leaves in its home that runs a network."""
    code = (
        "import hasten as hs; from hasten.split.executor import Executor; import os, sys;"
        "Executor(hs.open_package(sys.argv[1])).warm(); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    home = {**os.environ, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    home.pop("ORT_DISABLE_TELEMETRY", None)
    words = [sys.executable, "-c", code, package.path]
    found = subprocess.run(words, env=home, capture_output=True, text=True, check=True)
    assert found.stdout == "1\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_probe_hears_of_a_running_edge(package):
    with command("edge", package.path, "--port", 0, "--health", 0) as edge:
        place = edge.line().rpartition("health on ")[2]
        with urllib.request.urlopen(place, timeout=10) as answer:
            assert (answer.status, answer.read()) == (200, b"ready\n")


def test_sigterm_ends_an_edge_whose_worker_is_busy_for_long(package):
    """What runs for longer than it may is left behind, what waits is refused, and the device finishes both."""
    with edge_command(package.path, "--slowdown", 100_000, "--quota-queue", 2) as (edge, address):
        stream = ("--deadline-ms", 1e6, "--arrivals", "periodic:50", "--scheduler", "edge-only", "--answers", "-")
        with command("device", package.path, "--edge", address, *stream, "--json", "/dev/null") as device:
            assert json.loads(device.line())["fallback"] == "refused"  # one runs, two wait
            code, out, err = edge.ended()
            refused = re.search(r"(\d+) refused \(closing\)", out)
            assert code == 0 and refused is not None and int(refused[1]) >= 2
            assert "gone: the edge ends" in err
            assert device.ended()[0] == 128 + signal.SIGTERM
