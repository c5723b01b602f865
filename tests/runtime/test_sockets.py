"""Ending on a signal: the first cancels and waits for what is under way, the second does not wait."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
import threading

import pytest

from hasten.runtime.sockets import run_loop

WAIT_S = 10.0
LOOPS = [None, *(["uvloop"] if importlib.util.find_spec("uvloop") else [])]


@pytest.fixture(params=LOOPS)
def any_loop(request, monkeypatch):
    if request.param is None:
        monkeypatch.setitem(sys.modules, "uvloop", None)  # as if it were not installed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_and_waits_for_the_end(any_loop, number):
    before = signal.getsignal(number)
    ended = []

    async def main():
        try:
            threading.Timer(0.01, os.kill, (os.getpid(), number)).start()
            await asyncio.sleep(WAIT_S)
        finally:
            await asyncio.sleep(0)
            ended.append("in order")

    assert run_loop(main()) is None
    assert ended == ["in order"]
    assert signal.getsignal(number) is before


def test_results_and_errors_come_through(any_loop):
    async def main(result):
        if result is None:
            raise asyncio.CancelledError
        return result

    assert run_loop(main(3)) == 3
    with pytest.raises(asyncio.CancelledError):
        run_loop(main(None))


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def main():
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(0)
        return "still here"

    try:
        assert run_loop(main()) == "still here"
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_second_signal_ends_at_once_even_a_loop_that_is_held_up():
    code = """
import asyncio, signal, time
from hasten.runtime.sockets import run_loop
async def main():
    try:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(100)
    finally:
        signal.raise_signal(signal.SIGTERM)
        time.sleep(100)
run_loop(main())
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=WAIT_S, check=False).returncode == 128 + signal.SIGTERM
