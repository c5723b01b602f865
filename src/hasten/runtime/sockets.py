"""How every process of the runtime sets up its loop, sockets and token, and what results say about it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import platform
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hasten.core.errors import InputError
from hasten.core.files import read_text

T = TypeVar("T")

MAX_TOKEN_BYTES = 255


def prepare_socket(sock: socket.socket | None) -> None:
    """No delay for small frames; BBR where the kernel has it, so that idle gaps do not restart slow start."""
    if sock is None:
        return
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_CONGESTION"):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"bbr")


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
    """Run a coroutine on uvloop where it is installed; Ctrl-C ends it quietly with None."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as factory
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main)
    except KeyboardInterrupt:
        return None


def read_token(path: Path | None) -> str:
    """The shared token in a file; empty without a file."""
    if path is None:
        return ""
    token = read_text(path).strip()
    if not 0 < len(token.encode()) <= MAX_TOKEN_BYTES:
        raise InputError(path, "token", f"{len(token)} characters", f"1 to {MAX_TOKEN_BYTES} bytes of text")
    return token
