"""Being asked to end: the first signal interrupts, the second ends at once, what is ignored stays ignored."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from hasten.core import signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_interrupts_and_is_remembered(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with signals.handled():
        assert signals.asked() is None
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert signals.asked() is number
    assert signal.getsignal(number) is before
    with signals.handled():
        assert signals.asked() is None


def test_every_signal_has_a_handler_of_its_own() -> None:
    """Process 1 of a container gets only those signals that it handles."""
    with signals.handled():
        for number in signals.ENDING:
            assert callable(signal.getsignal(number))


def test_handlers_that_a_library_has_covered_are_called_again() -> None:
    called: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, frame: called.append(number))
    with Path(os.devnull).open("w") as nowhere:
        try:
            faulthandler.register(signal.SIGHUP, nowhere, chain=False)
            signal.raise_signal(signal.SIGHUP)
            assert called == []
            signals.renew()
            signal.raise_signal(signal.SIGHUP)
            assert called == [signal.SIGHUP]
        finally:
            faulthandler.unregister(signal.SIGHUP)
            signal.signal(signal.SIGHUP, before)


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.handled():
            signal.raise_signal(signal.SIGHUP)
            assert signals.asked() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_second_signal_ends_the_process() -> None:
    code = """
import signal
from hasten.core import signals
with signals.handled():
    try:
        signal.raise_signal(signal.SIGTERM)
    except KeyboardInterrupt:
        signal.raise_signal(signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (130, b"")


def test_no_item_follows_one_that_answered_the_interrupt() -> None:
    done = []
    with signals.handled():
        for item in signals.until_asked([1, 2, 3]):
            try:
                if item == 2:
                    signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                done.append("best so far")
            done.append(item)
    assert done == [1, "best so far", 2]


def test_signals_are_held_while_processes_start() -> None:
    with signals.handled():
        with pytest.raises(KeyboardInterrupt), signals.held():
            signal.raise_signal(signal.SIGTERM)
            assert signals.asked() is None
        assert signals.asked() is signal.SIGTERM


def test_a_signal_waits_while_compiled_code_makes_a_named_tuple() -> None:
    """Numba crashes when the constructor that it calls for a function's result raises."""
    strike = partial(signal.raise_signal, signal.SIGTERM)
    construct = eval("lambda: (strike(), 'made')[1]", {"__name__": "namedtuple_Progress", "strike": strike})  # noqa: S307
    with signals.handled():
        made = ""
        with pytest.raises(KeyboardInterrupt):
            made = construct()
            made = "and went on"
        assert made == "made"
        assert signals.asked() is signal.SIGTERM
    assert sys.gettrace() is None


def test_named_tuples_are_made_where_that_looks() -> None:
    """The constructor's globals have the name that the handler looks for."""
    name = Progress.__new__.__globals__["__name__"]
    assert name == "namedtuple_Progress"


class Progress(NamedTuple):
    task: int
