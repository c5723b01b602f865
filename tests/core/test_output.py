"""Files that people keep: checked before the work, written whole or not at all."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from hasten.core.errors import InputError
from hasten.core.output import check_file, check_folder, replacement, write_bytes, write_text


@pytest.fixture
def no_space() -> Iterator[None]:
    """No file may grow beyond one kibibyte, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_is_written_with_its_folder_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "new" / "r.json"
    write_text(path, "löss\n")
    assert path.read_text(encoding="utf-8") == "löss\n"
    assert list(path.parent.iterdir()) == [path]


def test_an_older_file_survives_a_full_disk(tmp_path: Path, no_space: None) -> None:
    path = tmp_path / "r.json"
    path.write_text("old")
    with pytest.raises(InputError, match="File too large"):
        write_bytes(path, bytes(5000))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_found_before_the_work(tmp_path: Path, no_space: None) -> None:
    with pytest.raises(InputError, match=r"--json.*File too large"):
        check_file(tmp_path / "r.json", "--json")
    with pytest.raises(InputError, match=r"--out.*File too large"):
        check_folder(tmp_path / "out", "--out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacement(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_check_writes_nothing_that_stays(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("old")
    check_file(old)
    check_file(new)
    check_folder(tmp_path)
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "Is a directory"),
        ("file/r.json", "Not a directory|File exists"),
        ("a\0b", "null (byte|character)"),
        ("x" * 300, "File name too long"),
        ("/proc/none/r.json", "No such file"),
    ],
)
def test_what_cannot_be_written_is_named_in_one_line(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_text("")
    for work in (lambda: check_file(tmp_path / name, "-o"), lambda: write_bytes(tmp_path / name, b"x", "-o")):
        with pytest.raises(InputError, match=rf"-o: .*a writable file \(.*({reason})"):
            work()


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a writable folder"):
        check_folder(tmp_path / "file")


def test_devices_and_links_are_written_through(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    check_file("/dev/null")
    write_text("/dev/null", "x")
    check_file("/dev/full")
    with pytest.raises(InputError, match="No space left on device"):
        write_text("/dev/full", "x")


def test_pipes_are_written_straight(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_file(pipe)  # does not wait for a reader, nor end what a reader reads
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_text(pipe, "x")
    assert os.read(reader, 9) == b"x"
    os.close(reader)
    ends = os.pipe()
    write_text(f"/dev/fd/{ends[1]}", "y")
    assert os.read(ends[0], 9) == b"y"
    for end in ends:
        os.close(end)


def test_the_mode_is_that_of_new_files_or_of_the_file_before(tmp_path: Path) -> None:
    fresh, private = tmp_path / "fresh", tmp_path / "private"
    plain = tmp_path / "plain"
    plain.touch()
    private.touch(mode=0o600)
    write_text(fresh, "x")
    write_text(private, "x")
    assert fresh.stat().st_mode == plain.stat().st_mode
    assert private.stat().st_mode & 0o777 == 0o600
