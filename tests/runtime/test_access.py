"""Who may come to an edge, and how much each may ask: told where it can be mended, counted, and no task is lost."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from pathlib import Path

import numpy as np
import pytest

import hasten as hs
from hasten.runtime.edge.server import EdgeAccess, real_core, start_edge
from hasten.runtime.edge.tokens import Tokens
from hasten.runtime.wire.frames import HEADER, MAGIC, VERSION, Code, FrameParser, Kind
from hasten.runtime.wire.handshake import Hello, hello_frame, parse_refuse
from hasten.runtime.wire.tasks import DEVICE_LIMITS

WAIT_S = 10.0


def write_tokens(file, **tokens):
    """A list of devices' tokens, put in the place of the one before."""
    lines = [f"{name} sha256:{hashlib.sha256(token.encode()).hexdigest()}" for name, token in tokens.items()]
    new = Path(f"{file}.new")
    new.write_text("# devices\n" + "\n".join(lines))
    new.replace(file)


class Heard:
    """What a device tells of its edge, waited for."""

    def __init__(self):
        self.events, self.changed = [], threading.Condition()

    def __call__(self, event):
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    def wait(self, kind, since=0):
        with self.changed:
            assert self.changed.wait_for(lambda: any(it.kind == kind for it in self.events[since:]), WAIT_S)
            return next(it.text for it in self.events[since:] if it.kind == kind)


def test_a_revoked_device_goes_on_alone_and_comes_back_with_its_token(package, tmp_path):
    file, heard = tmp_path / "tokens", Heard()
    write_tokens(file, cam_1="one", cam_2="two")
    frame = package.samples()[0][0]
    with hs.Edge([package], port=0, token_file=file) as edge:
        options = {"edge": edge.address, "scheduler": "edge-only", "deadline_ms": 2000.0, "token": "one"}
        with hs.Device(package, on_event=heard, **options) as device:
            heard.wait("connected")
            assert device.infer(frame).ran_on == "edge"
            write_tokens(file, cam_2="two")
            assert "its token is accepted no more" in heard.wait("lost")
            answer = device.infer(frame)
            assert (answer.ran_on, answer.on_time, answer.fallback) == ("device", True, "unreachable")
            assert "got a token that this edge does not know" in heard.wait("unreachable")
            seen = len(heard.events)
            write_tokens(file, cam_1="one")
            heard.wait("connected", seen)


def refusal(package, hello, **access):
    """(what a stranger is told, what the edge counts) after these bytes."""

    async def run():
        server = await start_edge(real_core([package]), access=EdgeAccess(**access))
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(hello)
            async with asyncio.timeout(WAIT_S):
                data = await reader.read()
            writer.close()
            parser = FrameParser(DEVICE_LIMITS)
            parser.buffer()[: len(data)] = data
            (frame,) = parser.received(len(data))
            assert frame.kind is Kind.REFUSE
            return parse_refuse(frame.body), dict(server.connections.ended)
        finally:
            await server.close()

    return asyncio.run(run())


def hello(package, token=b"", digest=None):
    return hello_frame(Hello(digest or bytes.fromhex(package.digest), token, "cam"))


def test_why_a_device_is_not_let_in_is_told_and_counted(package):
    cases = {
        "token": (hello(package, b"wrong"), Code.TOKEN, "a token that this edge does not know"),
        "package": (hello(package, b"right", bytes(32)), Code.PACKAGE, "give device and edge the same file"),
        "version": (
            HEADER.pack(MAGIC, VERSION + 1, Kind.HELLO, 0, 0, 0, 0),
            Code.VERSION,
            "the same version of hasten",
        ),
    }
    for counted, (sent, code, told) in cases.items():
        refuse, ended = refusal(package, sent, tokens=Tokens("right"))
        assert (refuse.code, ended) == (code, {counted: 1})
        assert told in refuse.text and "expected" in refuse.text


def test_no_token_is_another_trouble_than_a_wrong_one(package):
    refuse, _ = refusal(package, hello(package), tokens=Tokens("right"))
    assert "got no token, expected one of its --token-file" in refuse.text


@pytest.mark.parametrize("quota", [{"quota_tasks": 1}, {"quota_queue": 1}])
def test_a_device_beyond_its_quota_finishes_its_frames_itself(package, quota):
    frame = package.samples()[0][0]
    with hs.Edge([package], port=0, slowdown=20.0, **quota) as edge:
        options = {"edge": edge.address, "scheduler": "edge-only", "deadline_ms": 5000.0}
        with hs.Device(package, **options) as device:
            device.infer(frame)  # connected
            futures = [device.submit(np.array(frame)) for _ in range(12)]
            answers = [future.result(WAIT_S) for future in futures]
        counts = edge._edge.server.core.totals
    refused = [answer for answer in answers if answer.fallback == "refused"]
    assert refused and len(refused) == counts["refused (quota)"]
    assert all(answer.ran_on == "device" and answer.on_time for answer in refused)
