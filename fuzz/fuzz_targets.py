"""What is fuzzed: every reader that takes bytes from a wire or a file. Each raises for nothing but a bug.

An input that a reader refuses as it says it does is no bug; anything else that is raised is one, and so is a result
that is not what the reader promises.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np

from hasten.core.errors import HastenError
from hasten.core.scenario import load_scenario
from hasten.policies.policy import load_policy
from hasten.policies.policy_graph import read_model, write_model
from hasten.runtime.edge.oip.asking import AskError
from hasten.runtime.edge.oip.http_request import HttpAsk
from hasten.runtime.edge.oip.tensors import read_tensors
from hasten.runtime.wire.frames import HEADER, Frame, FrameParser, Kind, WireError
from hasten.runtime.wire.handshake import EDGE_BEFORE_HELLO, parse_hello, parse_refuse, parse_welcome
from hasten.runtime.wire.load import parse_pong
from hasten.runtime.wire.outputs import OutputPayloads
from hasten.runtime.wire.tasks import device_limits, edge_limits, parse_answer, parse_submit
from hasten.split.codecs import CODECS, CodecError, make_codec
from hasten.split.manifest import TensorSpec
from hasten.split.package import Package, open_package, parse_package

FOLDER = Path(__file__).parent
CORPUS = FOLDER / "corpus"
BASE_PACKAGE, BASE_POLICY = FOLDER / "base.hasten", FOLDER / "base-policy.onnx"
MANIFEST = "manifest.json"

LIMITS = [EDGE_BEFORE_HELLO, edge_limits(200_000), device_limits(200_000)]
PARSERS: dict[Kind, Callable[[memoryview], object]] = {
    Kind.HELLO: parse_hello,
    Kind.WELCOME: parse_welcome,
    Kind.SUBMIT: parse_submit,
    Kind.ANSWER: parse_answer,
    Kind.REFUSE: parse_refuse,
    Kind.PONG: parse_pong,
}


def frames(data: bytes) -> None:
    """Frames as an edge or a device receives them, the bodies' own parsers included.

    The first byte says who receives, the second how large the pieces are in which the rest comes.
    """
    if len(data) < 2:
        return
    limits, piece = LIMITS[data[0] % len(LIMITS)], 1 + data[1] * 7
    stream = data[2:]
    whole, pieces = _received(stream, limits, len(stream)), _received(stream, limits, piece)
    assert whole == pieces, "what is received depends on the pieces in which it comes"


def _received(stream: bytes, limits: dict[int, int], piece: int) -> tuple[list[tuple[Kind, int, bytes]], str]:
    """The frames in ``stream`` that comes in pieces, and what ended it."""
    parser, found = FrameParser(limits), []
    rest = memoryview(stream)
    try:
        while len(rest):
            buffer = parser.buffer()
            count = min(len(buffer), piece, len(rest))
            assert count > 0, "no room for what comes"
            buffer[:count] = rest[:count]
            rest = rest[count:]
            for frame in parser.received(count):
                assert len(frame.body) <= limits[frame.kind]
                found.append((frame.kind, frame.task, bytes(frame.body)))
                _parsed(frame)
    except WireError as error:
        return found, str(error)
    assert sum(HEADER.size + len(body) for _, _, body in found) <= len(stream)
    return found, ""


def _parsed(frame: Frame) -> None:
    parse = PARSERS.get(frame.kind)
    try:
        if parse is not None:
            str(parse(frame.body))
    except WireError:
        pass  # refused as it should be


SPECS = [
    [TensorSpec(name="x", shape=[1, 4, 4], dtype="float32")],
    [TensorSpec(name="x", shape=[16], dtype="uint8")],
    [TensorSpec(name="x", shape=[3, 5], dtype="float32"), TensorSpec(name="y", shape=[2], dtype="int64")],
    [TensorSpec(name="x", shape=[2, 2], dtype="bool"), TensorSpec(name="y", shape=[300, 40], dtype="float32")],
]
NAMES = sorted(CODECS)
MADE = {name: make_codec(name) for name in NAMES}


def codec(data: bytes) -> None:
    """A payload for a codec and tensors that the first two bytes choose; a base package's outputs for the rest."""
    if len(data) < 2:
        return
    name, specs, payload = NAMES[data[0] % len(NAMES)], SPECS[data[1] % len(SPECS)], data[2:]
    try:
        if data[0] == 255:
            _outputs().decode(1 + data[1] % 2, payload)
            return
        tensors = MADE[name].decode(payload, specs)
    except CodecError:
        return
    for tensor, spec in zip(tensors, specs, strict=True):
        assert tensor.shape == (1, *spec.shape) and tensor.dtype == np.dtype(spec.dtype)
        exact = name.startswith("float32")  # carries every value, those that are not finite included
        assert exact or tensor.dtype != np.float32 or np.isfinite(tensor).all()


_kept: dict[str, object] = {}


def _once(name: str, make: Callable[[], object]) -> object:
    if name not in _kept:
        _kept[name] = make()
    return _kept[name]


def _outputs() -> OutputPayloads:
    found = _once("outputs", lambda: OutputPayloads(_base_package().manifest))
    assert isinstance(found, OutputPayloads)
    return found


def _base_package() -> Package:
    found = _once("package", lambda: open_package(BASE_PACKAGE))
    assert isinstance(found, Package)
    return found


def _base_members() -> dict[str, bytes]:
    def read() -> dict[str, bytes]:
        with zipfile.ZipFile(BASE_PACKAGE) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    found = _once("members", read)
    assert isinstance(found, dict)
    return found


def package(data: bytes) -> None:
    """A whole file where the first byte is 0, else a good one of which one member is replaced and its hash made right.

    So mutations pass the checksums, as those of somebody who means harm would.
    """
    if not data:
        return
    whole = data[1:]
    if data[0]:
        members = dict(_base_members())
        replaced = sorted(members)[data[0] % len(members)]
        members[replaced] = data[1:]
        whole = _packed(members)
    try:
        opened = parse_package(whole, Path("fuzzed.hasten"))
    except HastenError as error:
        assert "\n" not in str(error)
        return
    opened.samples()
    for graph in opened.manifest.graphs:
        opened.graph(graph.kind, graph.partition, graph.exit)
    assert all(array.dtype.itemsize for array in opened.weights.values())


def _packed(members: dict[str, bytes]) -> bytes:
    try:
        manifest = json.loads(members[MANIFEST])
        manifest["members"] = {
            name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in members.items()
            if name != MANIFEST
        }
        members[MANIFEST] = json.dumps(manifest).encode()
    except (ValueError, TypeError, RecursionError):
        pass  # no manifest: as it is
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def policy(data: bytes) -> None:
    """A whole policy file where the first byte is even, else a good one with another manifest."""
    if not data:
        return
    whole = _with_manifest(data[1:].decode("utf-8", "replace")) if data[0] % 2 else data[1:]
    try:
        found = load_policy(_file("policy.onnx", whole))
    except HastenError as error:
        assert "\n" not in str(error)
        return
    values = found.q(np.zeros((1, found.manifest.features), np.float32))
    assert values.shape == (1, found.manifest.width + 1)


def _with_manifest(text: str) -> bytes:
    _, raw = read_model(BASE_POLICY.read_bytes())
    tensors = {name: np.frombuffer(values, "<f4").reshape(shape) for name, (shape, values) in raw.items()}
    return write_model([], tensors, 1, 1, text, "0")


def oip(data: bytes) -> None:
    """A request of the Open Inference Protocol over HTTP; the first two bytes say how much of it is JSON."""
    body = memoryview(data)[2:]
    try:
        asked = HttpAsk(body, min(int.from_bytes(data[:2]), len(body)), ("tiny", ""), 0.0)
        arrays = read_tensors(asked.ask.inputs, _base_package().manifest.inputs, "cut 0")
    except AskError as error:
        assert "\n" not in str(error)
        return
    for array, spec in zip(arrays, _base_package().manifest.inputs, strict=True):
        assert array.shape == (1, *spec.shape) and array.dtype == np.dtype(spec.dtype)


def scenario(data: bytes) -> None:
    """A scenario file; what it refers to is looked for in an empty folder."""
    path = _file("scenario.yaml", data)
    with mock.patch.dict(os.environ, HASTEN_DATA=str(path.parent)):
        try:
            load_scenario(path)
        except HastenError as error:
            assert "\n" not in str(error)


def _file(name: str, data: bytes) -> Path:
    """``data`` as a file, in memory where the system has files there."""

    def folder() -> tempfile.TemporaryDirectory[str]:
        memory = Path("/dev/shm")
        return tempfile.TemporaryDirectory(prefix="hasten-fuzz-", dir=memory if memory.is_dir() else None)

    made = _once("folder", folder)
    assert isinstance(made, tempfile.TemporaryDirectory)
    path = Path(made.name) / name
    path.write_bytes(data)
    return path


TARGETS: dict[str, Callable[[bytes], None]] = {
    "frames": frames,
    "codec": codec,
    "package": package,
    "policy": policy,
    "oip": oip,
    "scenario": scenario,
}
