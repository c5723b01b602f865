"""Ctrl-C in a training: asked for at any time, answered where nothing is half done.

An exception that a signal handler raises may surface while compiled code hands its results over, where numba expects
none: the process would crash. So a handler only notes the wish, and a training asks :func:`check_interrupt` between
simulated batches, plans and gradient steps. If it does not for a while, because code is being compiled, or at a second
signal, KeyboardInterrupt is raised where the program stands.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from hasten.core import signals

GRACE_S = 1.0
"""From the signal until KeyboardInterrupt is raised anywhere."""


class _Wish:
    """Whether the training in progress shall end; signals concern the whole process."""

    active = False
    wanted = False


@contextmanager
def interruptible(numbers: Sequence[int] = (signal.SIGINT,)) -> Iterator[None]:
    """Let these signals end a training; does nothing within another one, outside of the main thread, and for signals
    that are ignored.
    """
    if _Wish.active or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers if signal.getsignal(number) != signal.SIG_IGN}
    if hasattr(signal, "SIGALRM"):
        before[signal.SIGALRM] = signal.getsignal(signal.SIGALRM)
    _Wish.active, _Wish.wanted = True, False
    try:
        for number in before:
            signal.signal(number, _on_signal)
        yield
    finally:
        _Wish.active = _Wish.wanted = False
        _set_timer(0.0)
        for number, handler in before.items():
            signal.signal(number, handler)


def check_interrupt() -> None:
    """Raise KeyboardInterrupt if somebody asked for the end."""
    if _Wish.wanted:
        _Wish.wanted = False
        _set_timer(0.0)
        raise KeyboardInterrupt


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _Wish.wanted:
        check_interrupt()
    elif number != getattr(signal, "SIGALRM", None):  # one that is late
        signals.note(number)
        _Wish.wanted = True
        _set_timer(GRACE_S)


def _set_timer(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
