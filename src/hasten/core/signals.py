"""Being asked to end: SIGTERM, Ctrl-C, and the end of the terminal.

Inside :func:`handled` the first of these signals is remembered and raises KeyboardInterrupt, so that a command leaves
its work where it stands and writes what it has; the second ends the process at once. Handlers are installed for each
signal, since the system ignores those that nobody handles in process 1 of a container. A signal that is ignored
already (``nohup``, a job in the background) stays ignored. The exit code is 128 and the signal's number, as in shells.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TypeVar

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

UNCHECKED = ("llvmlite.binding.executionengine", "numba.core.serialize")
"""Modules whose functions compiled code calls without looking whether they raised."""

T = TypeVar("T")

_asked: signal.Signals | None = None


@contextmanager
def handled() -> Iterator[None]:
    """Within the block the first signal raises KeyboardInterrupt; nothing is asked yet when it begins."""
    global _asked
    _asked = None
    before = {}
    for number in ENDING:
        with suppress(ValueError):  # signals belong to the main thread
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def asked() -> signal.Signals | None:
    """The signal that asked this process to end, None if none has."""
    return _asked


def note(number: int) -> None:
    """Remember a signal that something else handles, an event loop for example."""
    global _asked
    _asked = signal.Signals(number)


def renew() -> None:
    """Have Python's handlers called again, where a library has put its own in their place without Python's knowing."""
    for number in ENDING:
        handler = signal.getsignal(number)
        if handler is not None:
            with suppress(ValueError):  # signals belong to the main thread
                signal.signal(number, handler)


def forget() -> None:
    """Nothing was cut short: being asked is how this command ends, as a server does. Its exit code is 0."""
    global _asked
    _asked = None


@contextmanager
def held() -> Iterator[None]:
    """Within the block these signals wait, and processes started in it never see them (where there are masks)."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def until_asked(items: Iterable[T]) -> Iterator[T]:
    """The items one by one, none any more once this process is asked to end: what works on one may have answered the
    KeyboardInterrupt with the best that it has.
    """
    for item in items:
        if _asked is not None:
            return
        yield item


def _end(number: int, frame: FrameType | None) -> None:
    if _asked is not None:
        os._exit(128 + number)
    note(number)
    caller = _caller_of_unchecked(frame)
    if caller is None:
        raise KeyboardInterrupt
    caller.f_trace = _raise
    sys.settrace(_look_at_no_other)


def _caller_of_unchecked(frame: FrameType | None) -> FrameType | None:
    """Who called compiled code that called the interrupted code and does not look whether it raises; None if no one.

    Numba would crash where a compiled function returns a named tuple, and the compiler would lose the interrupt in a
    callback. The interrupt is raised when the caller goes on.
    """
    found = None
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module in UNCHECKED or module.startswith("namedtuple_"):
            found = frame.f_back
        frame = frame.f_back
    return found


def _raise(frame: FrameType, event: str, argument: object) -> None:
    sys.settrace(None)
    frame.f_trace = None
    raise KeyboardInterrupt


def _look_at_no_other(frame: FrameType, event: str, argument: object) -> None:
    """Tracing is for the one frame that has a function of its own."""
