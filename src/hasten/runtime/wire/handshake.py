"""How a connection begins, and how anything is refused: HELLO, WELCOME and REFUSE frames.

=======  ====================================================================
HELLO    package digest (32 bytes), token size u8, token, then the device's name
WELCOME  edge clock f64 ms, slow-down f32, workers u16
REFUSE   code u8, then text
=======  ====================================================================
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from hasten.runtime.wire.frames import Code, Kind, WireError, frame_bytes, require_size
from hasten.runtime.wire.load import MAX_WORKERS

MAX_TEXT_BYTES = 512
MAX_REFUSE_BYTES = 1 + MAX_TEXT_BYTES
"""The largest body of a REFUSE."""

_DIGEST_BYTES = 32
_WELCOME = struct.Struct("<dfH")
WELCOME_BYTES = _WELCOME.size

EDGE_BEFORE_HELLO: Mapping[int, int] = {Kind.HELLO: _DIGEST_BYTES + 1 + 255 + MAX_TEXT_BYTES}
"""What an edge accepts from a stranger: kinds and their largest bodies."""


@dataclass(frozen=True, slots=True)
class Hello:
    """A device introduces itself and names the package it runs."""

    digest: bytes
    token: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Welcome:
    """The edge accepts a device."""

    clock_ms: float
    slowdown: float
    workers: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """The edge did not do what was asked."""

    code: int
    text: str
    retry_ms: int = 0
    """In how many ms a task like the one that was refused may be taken; 0: nothing is said."""


def hello_frame(hello: Hello) -> bytes:
    """A HELLO frame."""
    name = hello.name.encode()[:MAX_TEXT_BYTES]
    return frame_bytes(Kind.HELLO, 0, hello.digest + bytes([len(hello.token)]) + hello.token + name)


def parse_hello(body: memoryview) -> Hello:
    """Read a HELLO body."""
    require_size(body, _DIGEST_BYTES + 1, Kind.HELLO)
    token_end = _DIGEST_BYTES + 1 + body[_DIGEST_BYTES]
    require_size(body, token_end, Kind.HELLO)
    token = bytes(body[_DIGEST_BYTES + 1 : token_end])
    return Hello(bytes(body[:_DIGEST_BYTES]), token, _text(body[token_end:]))


def welcome_frame(welcome: Welcome) -> bytes:
    """A WELCOME frame."""
    return frame_bytes(Kind.WELCOME, 0, _WELCOME.pack(welcome.clock_ms, welcome.slowdown, welcome.workers))


def parse_welcome(body: memoryview) -> Welcome:
    """Read a WELCOME body."""
    if len(body) != _WELCOME.size:
        raise WireError(Code.MALFORMED, f"WELCOME: got {len(body)} bytes, expected {_WELCOME.size}")
    welcome = Welcome(*_WELCOME.unpack(body))
    if not (0 < welcome.slowdown < 1e6 and 1 <= welcome.workers <= MAX_WORKERS and abs(welcome.clock_ms) < 1e15):
        raise WireError(Code.MALFORMED, f"WELCOME: got {welcome}, expected a positive slow-down and 1..{MAX_WORKERS}")
    return welcome


def refuse_frame(task: int, code: Code, text: str, retry_ms: float = 0.0) -> bytes:
    """A REFUSE frame."""
    return frame_bytes(Kind.REFUSE, task, bytes([code]) + text.encode()[:MAX_TEXT_BYTES], retry_ms)


def parse_refuse(body: memoryview, retry_ms: int = 0) -> Refuse:
    """Read a REFUSE body; ``retry_ms`` is its header's."""
    require_size(body, 1, Kind.REFUSE)
    return Refuse(body[0], _text(body[1:]), retry_ms)


def _text(data: memoryview) -> str:
    return "".join(c if c.isprintable() else "?" for c in bytes(data).decode(errors="replace"))
