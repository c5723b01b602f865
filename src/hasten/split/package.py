"""The ``.hasten`` file: one stored zip with a manifest, segment graphs, weights once, samples and a profile.

Nothing in it is executable and nothing is unpickled. Reading needs no torch and no onnx. A package is checked whole
(structure, sizes, SHA-256 of every member, tensor specs, references inside the graphs) before anything of it is used;
its weights stay in the file (see :mod:`hasten.split.archive`). Writing is atomic, so a file is complete or absent.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.core.files import parse_json, validated
from hasten.core.output import replacement
from hasten.core.profile import Profile
from hasten.core.protobuf import Malformed
from hasten.split.archive import INTACT, Archive, archive_in, archive_of, open_archive
from hasten.split.codecs import make_codec
from hasten.split.inputs import Inputs
from hasten.split.manifest import Member, PackageManifest, TensorSpec
from hasten.split.onnxscan import external_initializers

Array = NDArray[np.generic]

MAX_TEXT_BYTES = 16 << 20
MAX_GRAPH_BYTES = 64 << 20

MANIFEST, PROFILE = "manifest.json", "profile.json"
SAMPLE_INPUTS, SAMPLE_LABELS = "samples/inputs.npy", "samples/labels.npy"
Content = bytes | memoryview


class Package:
    """An opened, checked package. Immutable; whatever is asked of a file that was written over is an InputError.

    Attributes:
        path: where it was read from.
        digest: SHA-256 of the whole file, in hex; device and edge compare it.
        manifest: what it holds.
        profile: the build-time profile embedded in it.
    """

    def __init__(
        self,
        path: Path,
        digest: str,
        manifest: PackageManifest,
        members: Mapping[str, Content],
        archive: Archive | None = None,
    ) -> None:
        self.path = path
        self.digest = digest
        self.manifest = manifest
        self._members = members
        self._archive = archive
        self.profile: Profile = validated(Profile, _json(members[PROFILE], path, PROFILE), _inside(path, PROFILE))
        self._check_profile()
        self._check_weights()
        self._check_graphs()
        self._samples = self._read_samples()
        self.let_go()

    @property
    def members(self) -> Mapping[str, Content]:
        """The content of every member but the manifest."""
        self._require_unchanged()
        return self._members

    def graph(self, kind: str, partition: int, exit_: int = 0) -> bytes:
        """The ONNX bytes of one segment; its weights are external and come from :attr:`weights`."""
        self._require_unchanged()
        return bytes(self._members[self._graph_members[kind, partition, exit_]])

    @property
    def weights(self) -> dict[str, Array]:
        """Weight name -> read-only array, a view into the file: read it at once, and copy what is to be kept."""
        self._require_unchanged()
        return self._weights

    @cached_property
    def _weights(self) -> dict[str, Array]:
        return {
            weight.tensor.name: np.frombuffer(
                self._members[weight.member], np.dtype(weight.tensor.dtype).newbyteorder("<")
            ).reshape(weight.tensor.shape)
            for weight in self.manifest.weights
        }

    def samples(self) -> tuple[Inputs, Array]:
        """Held-out (inputs (N, *input shape), labels (N,) or what else the targets are); read-only.

        Of a network with several inputs the first is a dictionary by their names.
        """
        return self._samples

    def let_go(self) -> None:
        """Give the memory back that reading the file took; what is asked for next is read again."""
        if self._archive is not None:
            self._archive.let_go()

    def _require_unchanged(self) -> None:
        if self._archive is not None:
            self._archive.require_unchanged()

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

    def _read_samples(self) -> tuple[Inputs, Array]:
        count, specs = self.manifest.samples.count, self.manifest.inputs
        arrays = {
            spec.name: _read_npy(self._members[member], spec, count, _inside(self.path, member))
            for spec, member in zip(specs, sample_members(len(specs)), strict=True)
        }
        inputs: Inputs = arrays if len(specs) > 1 else arrays[specs[0].name]
        label = self.manifest.label
        labels = _read_npy(self._members[SAMPLE_LABELS], label, count, _inside(self.path, SAMPLE_LABELS))
        if not self.manifest.classes:
            return inputs, labels
        classes = labels.astype(np.int64, copy=False)
        if classes.min() < 0 or classes.max() >= self.manifest.classes:
            expected = f"classes 0..{self.manifest.classes - 1}"
            raise InputError(_inside(self.path, SAMPLE_LABELS), "labels", int(classes.max()), expected)
        return inputs, classes


def sample_members(inputs: int) -> list[str]:
    """The members that hold the samples of each of so many inputs."""
    return [SAMPLE_INPUTS, *(f"samples/inputs_{number}.npy" for number in range(1, inputs))]


def open_package(path: str | Path) -> Package:
    """Check a ``.hasten`` file; an :class:`InputError` names the file, the member and what was expected."""
    return _package(open_archive(Path(path)))


def package_in(file: BinaryIO, path: Path) -> Package:
    """Check a package in an open file, which stays as it is; ``path`` is only named in errors."""
    return _package(archive_in(file, path))


def parse_package(data: bytes, path: Path) -> Package:
    """Check the bytes of a package; ``path`` is only named in errors."""
    return _package(archive_of(data, path))


def _package(archive: Archive) -> Package:
    members, path = archive.members, archive.path
    if MANIFEST not in members:
        raise InputError(path, "members", path.name, f"{INTACT} (it has no {MANIFEST})")
    manifest = validated(PackageManifest, _json(members.pop(MANIFEST), path, MANIFEST), _inside(path, MANIFEST))
    for number, cut in enumerate(manifest.cuts):
        make_codec(cut.codec, f"{_inside(path, MANIFEST)}: cuts[{number}]")
    _check_members(manifest, archive)
    return Package(path, archive.digest, manifest, members, archive)


def package_bytes(manifest: Mapping[str, Any], members: Mapping[str, Content]) -> bytes:
    """The bytes of a package file, as :func:`write_package` writes them."""
    buffer = io.BytesIO()
    write_package(buffer, manifest, members)
    return buffer.getvalue()


def write_package(file: BinaryIO, manifest: Mapping[str, Any], members: Mapping[str, Content]) -> None:
    """Write a package: the manifest (without its ``members``, which are added here), then the members."""
    listed = {name: Member(size=len(data), sha256=hashlib.sha256(data).hexdigest()) for name, data in members.items()}
    full = PackageManifest.model_validate({**manifest, "schema": "hasten.package/1", "members": listed})
    text = json.dumps(full.model_dump(mode="json", by_alias=True), indent=1).encode()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in [(MANIFEST, text), *members.items()]:
            archive.writestr(zipfile.ZipInfo(name), data)  # ZipInfo's fixed date: the same content, the same bytes
    file.flush()


def with_profile(package: Package, profile: Profile, path: Path) -> Package:
    """Write ``package`` to ``path`` with another profile of the same network in it, and open the result.

    Raises:
        InputError: the profile does not fit the package, or ``path`` cannot be written.
    """
    description = package.manifest.model_dump(mode="json", exclude={"schema_id", "members"})
    with replacement(path) as file:
        write_package(file, description, {**package.members, PROFILE: profile.to_json().encode()})
        return package_in(file, path)


def npy_bytes(array: Array) -> bytes:
    """``array`` as the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _check_members(manifest: PackageManifest, archive: Archive) -> None:
    members, path = archive.members, archive.path
    wanted = {graph.member for graph in manifest.graphs} | {weight.member for weight in manifest.weights}
    wanted |= {PROFILE, SAMPLE_LABELS, *sample_members(len(manifest.inputs))}
    if set(manifest.members) != wanted:
        odd = sorted(set(manifest.members) ^ wanted)[0]
        raise InputError(_inside(path, MANIFEST), "members", odd, "exactly the members that the manifest uses")
    for name in members:
        if name not in wanted:
            raise InputError(path, "members", name, "no member that the manifest does not list")
    for name, entry in manifest.members.items():
        archive.let_go()
        if name not in members:
            raise InputError(_inside(path, name), "member", None, "the member to be present")
        found = hashlib.sha256(members[name]).hexdigest()
        if found != entry.sha256 or len(members[name]) != entry.size:
            raise InputError(_inside(path, name), "sha256", found[:16], f"{entry.sha256[:16]} as in the manifest")


def _read_npy(member: Content, spec: TensorSpec, count: int, where: str) -> Array:
    """Read a .npy member whose shape and type are known: its header must be the very one that belongs to them."""
    data = bytes(member)
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


def _json(data: Content, path: Path, member: str) -> Any:
    where = _inside(path, member)
    if len(data) > MAX_TEXT_BYTES:
        raise InputError(where, "size", len(data), f"at most {MAX_TEXT_BYTES} bytes")
    return parse_json(bytes(data), where)


def _inside(path: Path, member: str) -> str:
    return f"{path}[{member}]"
