"""The ``.hasten`` file: one stored zip with a manifest, segment graphs, weights once, samples and a profile.

Nothing in it is executable and nothing is unpickled. Reading needs no torch and no onnx. A package is read whole into
memory and checked whole (structure, sizes, SHA-256 of every member, tensor specs, references inside the graphs) before
anything of it is used; writing is atomic, so a file is either complete or absent.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.core.files import validated
from hasten.core.output import write_bytes
from hasten.core.profile import Profile
from hasten.core.protobuf import Malformed
from hasten.split.manifest import Manifest, Member, TensorSpec
from hasten.split.onnxscan import external_initializers

Array = NDArray[np.generic]

MAX_PACKAGE_BYTES = 4 << 30
MAX_TEXT_BYTES = 16 << 20
MAX_GRAPH_BYTES = 64 << 20
MAX_MEMBERS = 32_768

MANIFEST, PROFILE = "manifest.json", "profile.json"
SAMPLE_INPUTS, SAMPLE_LABELS = "samples/inputs.npy", "samples/labels.npy"
_FIXED_MEMBERS = (PROFILE, SAMPLE_INPUTS, SAMPLE_LABELS)
_END_RECORD_BYTES = 22
_INTACT = "an intact .hasten package"


class Package:
    """An opened, checked package. Immutable.

    Attributes:
        path: where it was read from.
        digest: SHA-256 of the whole file, in hex; device and edge compare it.
        manifest: what it holds.
        profile: the build-time profile embedded in it.
    """

    def __init__(self, path: Path, digest: str, manifest: Manifest, members: Mapping[str, bytes]) -> None:
        self.path = path
        self.digest = digest
        self.manifest = manifest
        self._members = members
        self._where = str(path)
        self.profile: Profile = validated(Profile, _json(members[PROFILE], path, PROFILE), _inside(path, PROFILE))
        self._check_profile()
        self._check_weights()
        self._check_graphs()
        self._samples = self._read_samples()

    @property
    def members(self) -> Mapping[str, bytes]:
        """The content of every member but the manifest."""
        return self._members

    def graph(self, kind: str, partition: int, exit_: int = 0) -> bytes:
        """The ONNX bytes of one segment; its weights are external and come from :attr:`weights`."""
        return self._members[self._graph_members[kind, partition, exit_]]

    @cached_property
    def weights(self) -> dict[str, Array]:
        """Weight name -> read-only array, views into the file's bytes."""
        return {
            weight.tensor.name: np.frombuffer(
                self._members[weight.member], np.dtype(weight.tensor.dtype).newbyteorder("<")
            ).reshape(weight.tensor.shape)
            for weight in self.manifest.weights
        }

    def samples(self) -> tuple[Array, NDArray[np.int64]]:
        """Held-out (inputs (N, *input shape), labels (N,)); read-only."""
        return self._samples

    @cached_property
    def _graph_members(self) -> dict[tuple[str, int, int], str]:
        return {(graph.kind, graph.partition, graph.exit): graph.member for graph in self.manifest.graphs}

    def _check_profile(self) -> None:
        ours = (len(self.profile.blocks), [head.after_block for head in self.profile.exits])
        wanted = (self.manifest.block_count, [exit_.after_block for exit_ in self.manifest.exits])
        if ours != wanted:
            raise InputError(_inside(self.path, PROFILE), "blocks, exits", ours, f"those of the manifest, {wanted}")

    def _check_weights(self) -> None:
        for weight in self.manifest.weights:
            size = len(self._members[weight.member])
            if size != weight.tensor.nbytes:
                raise InputError(_inside(self.path, weight.member), "size", size, f"{weight.tensor.nbytes} bytes")

    def _check_graphs(self) -> None:
        known = {weight.tensor.name for weight in self.manifest.weights}
        for graph in self.manifest.graphs:
            where = _inside(self.path, graph.member)
            data = self._members[graph.member]
            if len(data) > MAX_GRAPH_BYTES:
                raise InputError(where, "size", len(data), f"at most {MAX_GRAPH_BYTES} bytes")
            try:
                external = external_initializers(data)
            except Malformed as error:
                raise InputError(where, "graph", str(error), "an ONNX model that refers to nothing outside") from None
            for name in external:
                if name not in known:
                    raise InputError(where, "external data", name, "a weight of this package")

    def _read_samples(self) -> tuple[Array, NDArray[np.int64]]:
        count = self.manifest.samples.count
        inputs = _read_npy(self._members[SAMPLE_INPUTS], self.manifest.input, count, _inside(self.path, SAMPLE_INPUTS))
        label = TensorSpec(name="labels", shape=(), dtype="int64")
        labels = _read_npy(self._members[SAMPLE_LABELS], label, count, _inside(self.path, SAMPLE_LABELS))
        if labels.min() < 0 or labels.max() >= self.manifest.classes:
            expected = f"classes 0..{self.manifest.classes - 1}"
            raise InputError(_inside(self.path, SAMPLE_LABELS), "labels", int(labels.max()), expected)
        return inputs, labels.astype(np.int64, copy=False)


def open_package(path: str | Path) -> Package:
    """Read and check a ``.hasten`` file; an :class:`InputError` names the file, the member and what was expected."""
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_PACKAGE_BYTES:
            raise InputError(path, "size", size, f"at most {MAX_PACKAGE_BYTES} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(path, "file", str(path), f"a readable .hasten package ({error.strerror})") from None
    return parse_package(data, path)


def parse_package(data: bytes, path: Path) -> Package:
    """Check the bytes of a package; ``path`` is only named in errors."""
    members = _read_members(data, path)
    manifest = validated(Manifest, _json(members.pop(MANIFEST), path, MANIFEST), _inside(path, MANIFEST))
    _check_members(manifest, members, path)
    return Package(path, hashlib.sha256(data).hexdigest(), manifest, members)


def package_bytes(manifest: Mapping[str, Any], members: Mapping[str, bytes]) -> bytes:
    """The bytes of a package file: the manifest (without its ``members``, which are added here), then the members."""
    listed = {name: Member(size=len(data), sha256=hashlib.sha256(data).hexdigest()) for name, data in members.items()}
    full = Manifest.model_validate({**manifest, "schema": "hasten.package/1", "members": listed})
    text = json.dumps(full.model_dump(mode="json", by_alias=True), indent=1).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in [(MANIFEST, text), *members.items()]:
            archive.writestr(zipfile.ZipInfo(name), data)  # ZipInfo's fixed date: the same content, the same bytes
    return buffer.getvalue()


def with_profile(package: Package, profile: Profile, path: Path) -> Package:
    """Write ``package`` to ``path`` with another profile of the same network in it, and open the result.

    Raises:
        InputError: the profile does not fit the package, or ``path`` cannot be written.
    """
    description = package.manifest.model_dump(mode="json", exclude={"schema_id", "members"})
    data = package_bytes(description, {**package.members, PROFILE: profile.to_json().encode()})
    changed = parse_package(data, path)
    write_bytes(path, data)
    return changed


def npy_bytes(array: Array) -> bytes:
    """``array`` as the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _read_members(data: bytes, path: Path) -> dict[str, bytes]:
    """All members by name. Only stored members, each as large as the file says, none overlapping, are accepted."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            listed = archive.infolist()
            if not listed or data[-_END_RECORD_BYTES:][:4] != b"PK\x05\x06" or listed[0].header_offset != 0:
                raise zipfile.BadZipFile("something before or after the archive")
            if len(listed) > MAX_MEMBERS:
                raise InputError(path, "members", len(listed), f"at most {MAX_MEMBERS} members")
            for info in listed:
                if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
                    raise InputError(_inside(path, info.filename), "compression", info.compress_type, "none (stored)")
            total = sum(info.file_size for info in listed)
            if total > len(data):
                raise InputError(path, "size", total, f"members that fit into the file's {len(data)} bytes")
            members = {info.filename: archive.read(info) for info in listed}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, struct.error, EOFError, OSError, *_ZIP_QUIRKS) as error:
        reason = str(error) or type(error).__name__
        raise InputError(path, "file", path.name, f"{_INTACT} ({reason[:120]})") from None
    if len(members) != len(listed):
        raise InputError(path, "members", len(listed), f"{len(members)} members, each once")
    if MANIFEST not in members:
        raise InputError(path, "members", path.name, f"{_INTACT} (it has no {MANIFEST})")
    return members


_ZIP_QUIRKS = (ValueError, KeyError, RuntimeError, NotImplementedError, OverflowError, MemoryError)
"""What :mod:`zipfile` is known to raise besides its own errors when headers are damaged."""


def _check_members(manifest: Manifest, members: Mapping[str, bytes], path: Path) -> None:
    wanted = {graph.member for graph in manifest.graphs} | {weight.member for weight in manifest.weights}
    wanted |= set(_FIXED_MEMBERS)
    if set(manifest.members) != wanted:
        odd = sorted(set(manifest.members) ^ wanted)[0]
        raise InputError(_inside(path, MANIFEST), "members", odd, "exactly the members that the manifest uses")
    for name in members:
        if name not in wanted:
            raise InputError(path, "members", name, "no member that the manifest does not list")
    for name, entry in manifest.members.items():
        if name not in members:
            raise InputError(_inside(path, name), "member", None, "the member to be present")
        found = hashlib.sha256(members[name]).hexdigest()
        if found != entry.sha256 or len(members[name]) != entry.size:
            raise InputError(_inside(path, name), "sha256", found[:16], f"{entry.sha256[:16]} as in the manifest")


def _read_npy(data: bytes, spec: TensorSpec, count: int, where: str) -> Array:
    """Read a .npy member whose shape and type are known: its header must be the very one that belongs to them."""
    stream = io.BytesIO()
    dtype = np.dtype(spec.dtype).newbyteorder("<")
    shape = (count, *spec.shape)
    np.lib.format.write_array_header_1_0(
        stream, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )
    header = stream.getvalue()
    if not data.startswith(header) or len(data) - len(header) != count * spec.nbytes:
        expected = f"a .npy array of {spec.dtype}{list(shape)} in {len(header) + count * spec.nbytes} bytes"
        raise InputError(where, "array", data[:60].decode("latin-1"), expected)
    return np.frombuffer(data, dtype, offset=len(header)).reshape(shape)


def _json(data: bytes, path: Path, member: str) -> Any:
    where = _inside(path, member)
    if len(data) > MAX_TEXT_BYTES:
        raise InputError(where, "size", len(data), f"at most {MAX_TEXT_BYTES} bytes")

    def refuse(token: str) -> Any:
        raise InputError(where, "file", token, "a finite number")

    try:
        return json.loads(data.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(where, "file", member, f"valid JSON ({type(error).__name__})") from None


def _inside(path: Path, member: str) -> str:
    return f"{path}[{member}]"
