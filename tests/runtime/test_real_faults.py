"""Each kind of fault once in real processes and over real sockets; thousands are in virtual time (``test_faults``)."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
import time

import numpy as np
import pytest
from commands import command, edge_command

import hasten as hs
from hasten.runtime.device.address import parse_address
from hasten.split.executor import Executor

IN_PROCESS = "from hasten.cli import main; main()"
WAIT_S, DEADLINE_MS = 20.0, 300.0


@pytest.fixture(scope="module")
def edge(package):
    """An edge that serves all of these tests: (command, address)."""
    with edge_command(package.path) as started:
        yield started


class Camera:
    """A device of this process and its frames, each of which must get the one answer that is its own."""

    def __init__(self, package, address):
        self._frames = package.samples()[0]
        run = Executor(package)
        self._right = {
            (number, exit_): int(np.argmax(run.outputs(0, exit_, [self._frames[number : number + 1]])["logits"]))
            for number in range(len(self._frames))
            for exit_ in (1, 2)
        }
        self.device = hs.Device(package, address, "edge-only", DEADLINE_MS)
        self._sent = 0

    def answer(self):
        """Of the next frame: there is one, and if it names a class it is this frame's. When is not asked here."""
        number = self._sent % len(self._frames)
        self._sent += 1
        answer = self.device.infer(self._frames[number])
        if answer.label is not None:
            assert answer.label == self._right[number, answer.exit]
        return answer

    def until(self, ran_on):
        """Answers until one was computed there."""
        end_s = time.monotonic() + WAIT_S
        found = []
        while not found or found[-1].ran_on != ran_on:
            assert time.monotonic() < end_s, found[-1]
            found.append(self.answer())
        return found

    def close(self):
        """Nothing is lost, and nothing answered twice."""
        stats = self.device.stats()
        self.device.close()
        assert (stats.frames, stats.under_way) == (self._sent, 0)


@contextlib.contextmanager
def camera(package, address):
    made = Camera(package, address)
    try:
        made.until("edge")
        yield made
    finally:
        made.close()


class Cable:
    """A link to an edge: bytes both ways between two sockets, and what may go wrong with them."""

    def __init__(self, address):
        self.wait_s, self.swallows, self.damages = 0.0, False, 0
        """So long every piece waits; whether none arrives; in how many of the next ones a bit is turned over."""
        self._edge = parse_address(address)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._ends = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(self._edge)
                self._ends += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                time.sleep(self.wait_s)
                if not self.swallows:
                    target.sendall(self._damaged(data) if self.damages else data)

    def _damaged(self, data):
        self.damages -= 1
        middle = len(data) // 2
        return data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :]

    def cut(self):
        """Whoever is connected is no more."""
        while self._ends:
            with contextlib.suppress(OSError):
                self._ends.pop().shutdown(socket.SHUT_RDWR)

    def close(self):
        self._listening.close()
        self.cut()


def test_a_link_that_is_cut(package, edge):
    cable = Cable(edge[1])
    with contextlib.closing(cable), camera(package, cable.address) as cam:
        for _ in range(3):
            cable.cut()
            cam.answer()
            cam.until("edge")


def test_bits_that_are_turned_over(package, edge):
    cable = Cable(edge[1])
    with contextlib.closing(cable), camera(package, cable.address) as cam:
        for count in (1, 2, 3):
            cable.damages = count
            cam.answer()
            cam.until("edge")
        assert cable.damages == 0


def test_a_link_that_swallows_everything_and_says_nothing(package, edge):
    """Half open: both ends believe in the connection."""
    cable = Cable(edge[1])
    with contextlib.closing(cable), camera(package, cable.address) as cam:
        cable.swallows = True
        cam.until("device")
        cam.until("device")
        cable.swallows = False
        cable.cut()
        cam.until("edge")


def test_a_link_that_has_become_slow(package, edge):
    cable = Cable(edge[1])
    with contextlib.closing(cable), camera(package, cable.address) as cam:
        cable.wait_s = 2.0 * DEADLINE_MS / 1000.0
        cam.until("device")
        cable.wait_s = 0.0
        cam.until("edge")


def test_an_edge_that_freezes(package, edge):
    with camera(package, edge[1]) as cam:
        edge[0].send(signal.SIGSTOP)
        try:
            frozen = [*cam.until("device"), *cam.until("device")]
        finally:
            edge[0].send(signal.SIGCONT)
        assert {it.fallback for it in frozen if it.ran_on == "device"} <= {"silent", "lost", "unreachable", "late"}
        cam.until("edge")


def test_a_device_that_is_killed_and_started_again(package, edge, tmp_path):
    stream = ("--deadline-ms", 1000, "--arrivals", "periodic:50", "--scheduler", "edge-only", "--answers", "-")
    log = tmp_path / "tasks.jsonl"
    for _ in range(2):
        with command("device", package.path, "--edge", edge[1], *stream, "--log", log) as device:
            assert device.process.stderr.readline() == "edge connected\n"
            assert any(json.loads(device.line())["ran_on"] == "edge" for _ in range(20))
            device.process.kill()
        lines = log.read_text().splitlines()
        assert all(json.loads(line)["schema"] == "hasten.tasks/1" for line in lines[:-1])


def test_a_disk_that_is_full(package, edge, tmp_path):
    """As the system says it: no file may grow beyond 6,000 bytes."""
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000)); {IN_PROCESS}"
    stream = ("--deadline-ms", 1000, "--arrivals", "periodic:100", "--tasks", 30, "--answers", "-")
    log = tmp_path / "tasks.jsonl"
    with command("device", package.path, "--edge", edge[1], *stream, "--log", log, code=("-c", code)) as device:
        out, err = device.process.communicate(timeout=WAIT_S)
    assert device.process.returncode == 0
    assert len([line for line in out.splitlines() if line.startswith("{")]) == 30
    assert err.count("task log") == 1 and "File too large" in err
    assert 0 < log.stat().st_size <= 6000


def test_an_edge_that_crashes_and_comes_back(package):
    with edge_command(package.path) as (first, address), camera(package, address) as cam:
        first.process.kill()
        first.process.wait()
        lost = cam.until("device")
        assert lost[-1].fallback is not None
        port = parse_address(address)[1]
        with command("edge", package.path, "--port", port) as again:
            assert again.line().startswith("edge serves")
            cam.until("edge")
