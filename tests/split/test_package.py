from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hasten.core.errors import HastenError, InputError
from hasten.core.protobuf import Malformed
from hasten.split.executor import Executor
from hasten.split.onnxscan import external_initializers
from hasten.split.package import Package, npy_bytes, open_package, with_profile
from hasten.split.verify import crossing, verify

Members = dict[str, bytes]


def members_of(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def repack(members: Members, path: Path, *, rehash: bool = True, compression: int = zipfile.ZIP_STORED) -> Path:
    """Write ``members`` as a file whose hashes are right again: what an attacker would do, not an accident."""
    members = dict(members)
    if rehash:
        manifest = json.loads(members["manifest.json"])
        manifest["members"] = {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in members.items()
            if name != "manifest.json"
        }
        members["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=compression)
    return path


def edit_manifest(members: Members, change: Callable[[dict], None]) -> Members:
    manifest = json.loads(members["manifest.json"])
    change(manifest)
    return {**members, "manifest.json": json.dumps(manifest).encode()}


def refused(path: Path, *mentions: str) -> None:
    """Opening, and using what opens, ends in one line that names the file and says what was expected."""
    with pytest.raises(HastenError) as caught:
        Executor(open_package(path)).warm()
    message = str(caught.value)
    assert "\n" not in message
    for mention in (str(path), *mentions):
        assert mention in message


def test_what_was_written_is_read(package):
    again = open_package(package.path)
    assert again.manifest == package.manifest
    assert again.profile == package.profile
    assert again.digest == package.digest == hashlib.sha256(package.path.read_bytes()).hexdigest()
    frames, labels = again.samples()
    assert frames.shape == (12, 1, 20, 20)
    assert frames.dtype == np.uint8
    assert labels.shape == (12,)


def as_written_before_there_were_several_codecs(manifest: dict) -> None:
    for field in ("class_names", "metric", "target"):
        manifest.pop(field, None)
    for cut in manifest["cuts"]:
        del cut["codec"]
    for exit_ in manifest["exits"]:
        del exit_["outputs"]


def test_a_package_of_before_opens_answers_and_codes_as_then(package, tmp_path):
    path = repack(edit_manifest(members_of(package.path), as_written_before_there_were_several_codecs), tmp_path / "o")
    old = open_package(path)
    assert {cut.codec for cut in old.manifest.cuts} == {"uint8-zstd"}
    frame = old.samples()[0][:1]
    for key in ((1, 1), (0, 3)):
        np.testing.assert_array_equal(
            Executor(old).finish(*key, crossing(Executor(old), key[0], [frame])),
            Executor(package).finish(*key, crossing(Executor(package), key[0], [frame])),
        )
    assert verify(old).worst_codec_agreement >= 0.8


def test_each_weight_is_stored_once(package):
    with zipfile.ZipFile(package.path) as archive:
        sizes = [info.file_size for info in archive.infolist() if info.filename.startswith("weights/")]
        graphs = [info.file_size for info in archive.infolist() if info.filename.startswith("graphs/")]
    assert sum(sizes) == sum(weight.tensor.nbytes for weight in package.manifest.weights)
    assert max(graphs) < 0.25 * sum(sizes), "graphs carry no weights"


def test_no_leftovers_beside_the_package(package):
    assert [entry.name for entry in package.path.parent.iterdir()] == [package.path.name]


def test_a_flipped_byte_in_any_member_is_found(package, tmp_path):
    data = package.path.read_bytes()
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        places = [(info.filename, info.header_offset, info.file_size) for info in archive.infolist()]
    for name, offset, size in places:
        name_length, extra_length = struct.unpack("<HH", data[offset + 26 : offset + 30])
        start = offset + 30 + name_length + extra_length
        flipped = bytearray(data)
        flipped[start + int(rng.integers(size))] ^= 1 << int(rng.integers(8))
        path = tmp_path / "flipped.hasten"
        path.write_bytes(flipped)
        refused(path, name)


def test_a_flipped_byte_anywhere_is_found_or_changes_nothing(package, tmp_path):
    """Headers hold fields that no reader uses (dates, attributes); a flip there must leave the content as it was."""
    data = package.path.read_bytes()
    rng = np.random.default_rng(1)
    path = tmp_path / "flipped.hasten"
    directory = data.rindex(b"PK\x01\x02", 0, data.index(b"PK\x01\x02") + 4)
    for place in [*rng.integers(directory, len(data), 150), *rng.integers(0, len(data), 50), *range(30)]:
        flipped = bytearray(data)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            opened = open_package(path)
        except InputError as error:
            assert "\n" not in str(error)
            continue
        assert opened.manifest == package.manifest
        np.testing.assert_array_equal(opened.samples()[0], package.samples()[0])


def test_a_file_cut_anywhere_is_refused(package, tmp_path):
    data = package.path.read_bytes()
    path = tmp_path / "cut.hasten"
    for length in [0, 1, 3, 4, 21, 22, *np.linspace(23, len(data) - 1, 60).astype(int)]:
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match="intact"):
            open_package(path)


def test_bytes_before_or_after_do_not_pass_for_the_same_package(package, tmp_path):
    path = tmp_path / "longer.hasten"
    path.write_bytes(package.path.read_bytes() + b"tail")
    with pytest.raises(InputError):
        open_package(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"not a package at all", bytes(1000)])
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "other.hasten"
    path.write_bytes(content)
    refused(path, "an intact .hasten package")


def test_an_absent_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.hasten", tmp_path):
        with pytest.raises(InputError, match=r"readable \.hasten package"):
            open_package(path)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(package, tmp_path):
    members = members_of(package.path)
    bomb = {**members, "weights/w0000.bin": bytes(50_000_000)}
    path = repack(bomb, tmp_path / "bomb.hasten", compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2_000_000
    refused(path, "compression", "none (stored)")


def test_members_that_overlap_are_refused(package, tmp_path):
    """The directory lists the first member a thousand times: small file, large content."""
    with zipfile.ZipFile(package.path) as archive:
        first = archive.infolist()[0]
    buffer = io.BytesIO(package.path.read_bytes())
    with zipfile.ZipFile(buffer, "a") as archive:
        for number in range(1000):
            twin = zipfile.ZipInfo(f"w{number}.bin")
            twin.header_offset, twin.CRC = first.header_offset, first.CRC
            twin.file_size = twin.compress_size = first.file_size
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
            archive._didModify = True
    path = tmp_path / "overlap.hasten"
    path.write_bytes(buffer.getvalue())
    refused(path)


@pytest.mark.parametrize("name", ["../evil.py", "/etc/evil", "extra.bin", "weights/../../evil.bin", "evil\x00.bin"])
def test_unknown_members_and_path_tricks_are_refused(package, tmp_path, name):
    members = members_of(package.path)
    refused(repack({**members, name: b"boo"}, tmp_path / "odd.hasten", rehash=False))
    refused(repack({**members, name: b"boo"}, tmp_path / "odd.hasten", rehash=True))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["odd.hasten"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice_is_refused(package, tmp_path):
    path = tmp_path / "twice.hasten"
    path.write_bytes(package.path.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo("profile.json"), b"{}")
    refused(path, "members")


def test_every_missing_member_is_named(package, tmp_path):
    members = members_of(package.path)
    for name in members:
        rest = {other: data for other, data in members.items() if other != name}
        refused(repack(rest, tmp_path / "missing.hasten", rehash=False), name)


def test_onnx_that_reads_other_files_is_refused(package, tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(4096))
    members = members_of(package.path)
    name = "graphs/prefix_01.onnx"

    def with_external(tensor: onnx.TensorProto) -> None:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", str(secret)

    def as_initializer(model: onnx.ModelProto) -> None:
        weight = onnx.TensorProto(name="stolen", data_type=onnx.TensorProto.FLOAT, dims=[4])
        with_external(weight)
        model.graph.initializer.append(weight)

    def as_attribute(model: onnx.ModelProto) -> None:
        weight = onnx.TensorProto(name="stolen", data_type=onnx.TensorProto.FLOAT, dims=[4])
        with_external(weight)
        model.graph.node.append(onnx.helper.make_node("Constant", [], ["stolen"], value=weight))

    def in_a_branch(model: onnx.ModelProto) -> None:
        inner = onnx.ModelProto()
        as_initializer(inner)
        model.graph.node.append(onnx.helper.make_node("If", ["c"], ["y"], then_branch=inner.graph))

    for change in (as_initializer, as_attribute, in_a_branch):
        model = onnx.ModelProto.FromString(members[name])
        change(model)
        path = repack({**members, name: model.SerializeToString()}, tmp_path / "external.hasten")
        refused(path, name, "stolen")
    model = onnx.ModelProto.FromString(members[name])
    model.graph.initializer.append(next(i for i in model.graph.initializer if i.data_location))
    refused(repack({**members, name: model.SerializeToString()}, tmp_path / "external.hasten"), "prefix partition 1")


def test_graphs_that_are_no_graphs_are_refused(package, tmp_path):
    members = members_of(package.path)
    name = "graphs/finish_00_01.onnx"
    whole = members[name]
    for data in (b"", b"\xff" * 40, whole[: len(whole) // 2], b"\x3a\xff\xff\xff\xff\x7f", b"\x0a" * 500):
        refused(repack({**members, name: data}, tmp_path / "graph.hasten"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_the_scan_of_a_graph_ends_in_a_list_or_in_its_own_error(package, data):
    """Arbitrary bytes, and real graphs with some bytes changed: no other exception, no endless walk."""
    graph = bytearray(package.graph("finish", 1, 2))
    for _ in range(data.draw(st.integers(1, 4))):
        graph[data.draw(st.integers(0, len(graph) - 1))] = data.draw(st.integers(0, 255))
    for content in (bytes(graph), data.draw(st.binary(max_size=64))):
        try:
            assert all(isinstance(name, str) for name in external_initializers(content))
        except Malformed as error:
            assert "\n" not in str(error)


def test_the_scan_sees_what_onnx_sees(package):
    for partition in range(1, package.manifest.block_count + 1):
        content = package.graph("prefix", partition)
        initializers = onnx.ModelProto.FromString(content).graph.initializer
        wanted = [i.name for i in initializers if i.data_location == onnx.TensorProto.EXTERNAL]
        assert sorted(external_initializers(content)) == sorted(wanted)


def test_a_graph_with_other_tensors_than_the_manifest_says_is_refused(package, tmp_path):
    members = members_of(package.path)
    swapped = {**members, "graphs/finish_01_01.onnx": members["graphs/finish_00_01.onnx"]}
    refused(repack(swapped, tmp_path / "swapped.hasten"), "inputs", "as in the manifest")


def huge_tensor(manifest: dict) -> None:
    manifest["cuts"][1]["tensors"][0]["shape"] = [1 << 20, 1 << 20]


def exits_out_of_order(manifest: dict) -> None:
    manifest["exits"][0]["after_block"] = 99


def no_graph(manifest: dict) -> None:
    del manifest["graphs"][3]


def other_schema(manifest: dict) -> None:
    manifest["schema"] = "hasten.package/9"


def unknown_key(manifest: dict) -> None:
    manifest["run_me"] = "rm -rf"


def odd_type(manifest: dict) -> None:
    manifest["cuts"][0]["tensors"][0]["dtype"] = "object"


def too_many_samples(manifest: dict) -> None:
    manifest["samples"]["count"] = 90_000


def larger_weight(manifest: dict) -> None:
    manifest["weights"][0]["tensor"]["shape"] = [4096, 4096]


def unknown_codec(manifest: dict) -> None:
    manifest["cuts"][1]["codec"] = "float15"


def accuracy_beyond_one(manifest: dict) -> None:
    manifest["exits"][0]["accuracy"] = 1.5


def member_outside(manifest: dict) -> None:
    manifest["weights"][0]["member"] = "../w.bin"


@pytest.mark.parametrize(
    ("change", "mention"),
    [
        (huge_tensor, "cuts[1].tensors[0]"),
        (exits_out_of_order, "after_block"),
        (no_graph, "graphs"),
        (other_schema, "schema"),
        (unknown_key, "run_me"),
        (odd_type, "dtype"),
        (too_many_samples, "samples/inputs.npy"),
        (larger_weight, "weights/w0000.bin"),
        (unknown_codec, "cuts[1]: codec"),
        (accuracy_beyond_one, "exits[0].accuracy"),
        (member_outside, "weights[0].member"),
    ],
)
def test_a_manifest_that_lies_is_refused_by_field(package, tmp_path, change, mention):
    members = edit_manifest(members_of(package.path), change)
    refused(repack(members, tmp_path / "lie.hasten"), mention)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"a": NaN}', b"\xff\xfe", b"[" * 100_000])
def test_json_that_is_none_is_refused(package, tmp_path, text):
    for name in ("manifest.json", "profile.json"):
        members = {**members_of(package.path), name: text}
        refused(repack(members, tmp_path / "json.hasten", rehash=name != "manifest.json"), name)


def test_a_profile_of_another_network_is_refused(package, tmp_path):
    members = members_of(package.path)
    profile = json.loads(members["profile.json"])
    profile["blocks"].append(profile["blocks"][-1])
    path = repack({**members, "profile.json": json.dumps(profile).encode()}, tmp_path / "profile.hasten")
    refused(path, "profile.json", "blocks")


def test_samples_are_read_without_pickle_and_without_trusting_their_header(package, tmp_path):
    members = members_of(package.path)
    pickled, huge = io.BytesIO(), io.BytesIO()
    np.save(pickled, np.array([{"a": 1}] * 12, dtype=object), allow_pickle=True)
    np.lib.format.write_array_header_1_0(huge, {"descr": "|u1", "fortran_order": False, "shape": (1 << 60,)})
    wrong_class = npy_bytes(np.full(12, 77, np.int64))
    for name, data in [
        ("samples/inputs.npy", pickled.getvalue()),
        ("samples/inputs.npy", huge.getvalue()),
        ("samples/inputs.npy", members["samples/inputs.npy"][:-1]),
        ("samples/inputs.npy", b"\x93NUMPY\x01\x00\x10\x00{__import__('os')}"),
        ("samples/labels.npy", wrong_class),
    ]:
        refused(repack({**members, name: data}, tmp_path / "samples.hasten"), name)


def test_the_same_content_gives_the_same_bytes(package, tmp_path):
    path = repack(members_of(package.path), tmp_path / "same.hasten", rehash=False)
    assert path.read_bytes() == package.path.read_bytes()


def test_a_package_takes_another_profile_of_the_same_network_and_refuses_a_foreign_one(
    package: Package, tmp_path: Path
) -> None:
    profile = package.profile
    slower = profile.model_copy(update={"source": "measured elsewhere"})
    changed = with_profile(package, slower, tmp_path / "other.hasten")
    assert changed.profile.source == "measured elsewhere"
    assert open_package(tmp_path / "other.hasten").digest == changed.digest != package.digest
    assert changed.manifest.cuts == package.manifest.cuts
    foreign = profile.model_copy(update={"blocks": profile.blocks[:-1]})
    with pytest.raises(InputError):
        with_profile(package, foreign, tmp_path / "foreign.hasten")
    assert not (tmp_path / "foreign.hasten").exists()
