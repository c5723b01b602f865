"""How every process of the runtime sets up its loop, sockets and token, and what results say about it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import signal
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hasten.core import signals
from hasten.core.errors import InputError
from hasten.core.files import read_text

T = TypeVar("T")

MAX_TOKEN_BYTES = 255
KEEPALIVE_IDLE_S, KEEPALIVE_EVERY_S, KEEPALIVE_TIMES = 15, 5, 3
"""A connection on which nothing came for so long is probed so often; unanswered so many times, it is dead."""
UNACKNOWLEDGED_S = 30
"""So is one on which what was sent stays unacknowledged for so long."""


def prepare_socket(sock: socket.socket | None) -> None:
    """No delay for small frames, a vanished peer noticed within half a minute, and BBR where the kernel has it.

    BBR, so that idle gaps do not restart slow start. Keep-alive notices a peer that has vanished while nothing is
    sent, the user timeout one that acknowledges nothing of what is.
    """
    if sock is None:
        return
    options: list[tuple[int, str, int | bytes]] = [
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", KEEPALIVE_EVERY_S),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", KEEPALIVE_TIMES),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 1000 * UNACKNOWLEDGED_S),
        (socket.IPPROTO_TCP, "TCP_CONGESTION", b"bbr"),
    ]
    for level, name, value in options:
        if hasattr(socket, name):  # no system has them all
            with contextlib.suppress(OSError):
                sock.setsockopt(level, getattr(socket, name), value)


def congestion_control() -> str:
    """The algorithm that prepared sockets use here."""
    with socket.socket() as sock:
        prepare_socket(sock)
        if not hasattr(socket, "TCP_CONGESTION"):
            return "unknown"
        name: bytes = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        return name.split(b"\0")[0].decode()


def backend_facts() -> dict[str, Any]:
    """What a result should say about where it was measured; nothing that identifies the machine."""
    versions = {name: importlib.metadata.version(name) for name in ("onnxruntime", "numpy")}
    return {
        "link": "relay (user space, first come first served over frames)",
        "order": "ready",
        "congestion_control": congestion_control(),
        "event_loop": "uvloop" if importlib.util.find_spec("uvloop") else "asyncio",
        "python": platform.python_version(),
        **versions,
    }


def run_loop(main: Coroutine[Any, Any, T]) -> T | None:
    """Run a coroutine on uvloop where it is installed, until it is done or this process is asked to end.

    The first SIGTERM or Ctrl-C (``core.signals``) cancels the coroutine, whose ``finally`` blocks finish what is under
    way; None is returned once they have. The second one ends the process at once, also while the loop is held up.
    """
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as factory
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_until_asked_to_end(main))


async def _until_asked_to_end(main: Coroutine[Any, Any, T]) -> T | None:
    loop = asyncio.get_running_loop()
    task = loop.create_task(main)
    asked = False

    def end(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            os._exit(128 + number)
        asked = True
        signals.note(number)
        loop.call_soon_threadsafe(task.cancel)

    before = {}
    for number in signals.ENDING:
        with contextlib.suppress(ValueError):  # signals belong to the main thread
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, end)
    try:
        return await task
    except asyncio.CancelledError:
        if not asked:
            raise
        return None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_token(path: Path | None) -> str:
    """The shared token in a file; empty without a file."""
    if path is None:
        return ""
    token = read_text(path).strip()
    if not 0 < len(token.encode()) <= MAX_TOKEN_BYTES:
        raise InputError(path, "token", f"{len(token)} characters", f"1 to {MAX_TOKEN_BYTES} bytes of text")
    return token
