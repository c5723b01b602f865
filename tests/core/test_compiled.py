"""The cache of compiled kernels: never stale, and never in the way."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import numpy as np
import pytest

import hasten
from hasten.core import compiled as cache
from hasten.core.compiled import KernelCache, allocating, compiled, direct

PACKAGE = Path(hasten.__file__).parent


def triple(x):
    return 3 * x


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of this test's own, with the sources as they were loaded."""
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "hasten" / "kernels-0123456789abcdef")
    monkeypatch.setattr(cache, "sources_unchanged", lambda: True)
    return tmp_path / "hasten" / "kernels-0123456789abcdef"


def from_disk(kernel) -> bool:
    """Whether the kernel's only signature came from the cache."""
    assert kernel(14) == 42
    return sum(kernel.stats.cache_hits.values()) == 1


def test_machine_code_is_kept_for_the_next_process(folder):
    assert not from_disk(compiled(triple))
    assert from_disk(compiled(triple))
    assert [path.name.split("-")[0].split(".")[-1] for path in folder.iterdir()] == ["triple"]


def test_each_signature_has_its_own_code(folder):
    kernel = compiled(triple)
    assert kernel(2) == 6 and kernel(0.5) == 1.5
    again = compiled(triple)
    assert again(2) == 6 and again(0.5) == 1.5 and sum(again.stats.cache_hits.values()) == 2


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "foreign"])
def test_a_damaged_file_is_noticed_and_replaced(folder, damage):
    compiled(triple)(14)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    flipped = whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:]
    path.write_bytes({"empty": b"", "truncated": whole[:100], "flipped": flipped, "foreign": b"x" * 999}[damage])
    assert not from_disk(compiled(triple))
    assert from_disk(compiled(triple))


def test_another_users_file_is_not_taken(folder, monkeypatch):
    compiled(triple)(14)
    for path in folder.iterdir():
        path.chmod(0o644)
    owner = next(folder.iterdir()).stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert from_disk(compiled(triple)) == (owner == 0)  # what root has prepared is taken


def test_a_place_that_cannot_be_written_only_costs_the_compilation(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(cache, "sources_unchanged", lambda: True)
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "file" / "kernels-0123456789abcdef")
    assert not from_disk(compiled(triple))
    monkeypatch.setattr(cache, "cache_folder", lambda: None)
    assert not from_disk(compiled(triple))


def test_a_full_disk_only_costs_the_compilation(folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert not from_disk(compiled(triple))
    assert list(folder.iterdir()) == []


def test_without_a_home_there_is_no_folder(monkeypatch):
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    assert cache.cache_folder.__wrapped__() is None


def test_sources_edited_since_they_were_loaded_are_not_mixed_up_with_what_is_in_memory(folder, monkeypatch):
    compiled(triple)(14)
    monkeypatch.setattr(cache, "sources_unchanged", lambda: False)
    assert not from_disk(compiled(triple))
    monkeypatch.undo()
    monkeypatch.setattr(cache, "_sources", lambda: (Path(__file__),))
    assert cache.sources_unchanged()
    monkeypatch.setattr(cache, "LOADED_S", Path(__file__).stat().st_ctime - 1.0)
    assert not cache.sources_unchanged()


def test_old_folders_go_and_recent_ones_stay(folder):
    folder.mkdir(parents=True)
    for age in range(20):
        old = folder.with_name(f"kernels-{age:016x}")
        old.mkdir()
        os.utime(old, (1e9 - age, 1e9 - age))
    used = folder.with_name("kernels-ffffffffffffffff")
    used.mkdir()
    (folder.parent / "digits").mkdir()
    cache._remove_old_folders(folder)
    left = {path.name for path in folder.parent.iterdir()}
    assert left == {folder.name, used.name, "digits", *(f"kernels-{age:016x}" for age in range(cache.KEPT_FOLDERS - 2))}


def test_a_kernel_may_make_arrays_where_it_says_so(folder):
    assert allocating(lambda n: np.zeros(n))(3).tolist() == [0.0, 0.0, 0.0]


def test_direct_without_compilation_is_the_function_itself():
    assert direct(triple, 1) is triple


def test_every_kernel_of_the_package_goes_through_the_one_cache():
    kernels = 0
    for found in walk_packages([str(PACKAGE)], "hasten."):
        part = found.name.split(".")[1]
        text = Path(found.module_finder.path, *found.name.split(".")[-1:]).with_suffix(".py")
        if part in cache.WITHOUT_KERNELS or found.name == "hasten.core.compiled" or not text.exists():
            continue
        if "hasten.core.compiled" not in text.read_text():
            continue
        for value in vars(import_module(found.name)).values():
            if hasattr(value, "py_func"):
                kernels += 1
                assert isinstance(value._cache, KernelCache), value
    assert kernels > 100


def test_no_other_module_compiles_and_none_without_kernels_is_called_by_one():
    for path in PACKAGE.rglob("*.py"):
        name, text = path.relative_to(PACKAGE), path.read_text()
        if str(name) != "core/compiled.py":
            assert "njit" not in text, name
        if name.parts[0].removesuffix(".py") in cache.WITHOUT_KERNELS:
            text = text.replace("from hasten.core.compiled import cache_folder", "")  # where it is, not what is in it
            assert "jitable" not in text and "core.compiled" not in text, name


PROBE = """
import numpy as np
from hasten.core.compiled import cache_folder
from hasten.core.gain import GainTerms
from hasten.core.timing import Waits, predict_latency
from hasten.offline.exact.labels import Frontier
from hasten.offline.instance import Costs, Instance, KnownTasks, Rates, evaluate
from hasten.schedulers.mdp_kernels import GridRules, _try
from hasten.sim.stages import take_worker
from hasten.sim.ways import ways_of
one, zero, first = np.ones(1), np.zeros(1), np.zeros(1, np.int64)
ways = ways_of(np.zeros((1, 1), np.int64), np.zeros((1, 1), np.int64), [2.0], [1])
costs = Costs(*[np.full((1, 1), x) for x in (1.0, 2.0, 3.0, 1.0)], first + 1, 100 * one, np.full((1, 1), 100.0),
              (1.0, 0.0, 0.0), 2.0, 1, 1, 1, one, ways)
rates = Rates(zero, one, zero, np.array([0, 1]), np.full(1, np.inf), 2 * one)
instance = Instance(costs, rates, KnownTasks(zero, first, first, first + 1, first, one, np.ones(2)))
rules = GridRules(1.0, 2.0, 100.0, 100.0, 50.0, GainTerms(1.0, 0.0, 0.0))
gains = evaluate(instance, first)[0], _try(Waits(0.0, 0.0, 0.0), np.array([1.0, 2.0, 3.0, 1.0]), 1.0,
                                           np.zeros((3, 3, 3, 1)), rules, zero)
print(cache_folder().name, predict_latency(0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 1.0, 2.0), take_worker(np.zeros(1), 0.0, 3.0),
      *(round(100.0 * (1.0 - gain), 6) for gain in gains))
"""


def test_solver_schedulers_and_simulator_follow_an_edit_of_the_law_with_warm_caches(tmp_path):
    source = shutil.copytree(PACKAGE, tmp_path / "hasten", ignore=shutil.ignore_patterns("__pycache__", "weights"))
    law = source / "core" / "timing.py"
    first = law.read_text()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "NUMBA_OPT": "0"}  # fast code is not what is asked for

    def latencies() -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
        )
        return done.stdout.split()

    def kernels() -> int:
        return len(list(tmp_path.glob("cache/hasten/*/*")))

    as_it_is = latencies()
    assert as_it_is[1:] == ["8.0", "3.0", "8.0", "8.0"]
    compiled_first = kernels()
    edited = first.replace("return stage_start(ready_ms, free_ms) + service_ms", "return ready_ms + service_ms + 10.0")
    edited = edited.replace("return time_ms + 0.5 * rtt_ms", "return time_ms + 0.5 * rtt_ms + 7.0")
    law.write_text(edited)
    assert law.read_text() != first
    longer = latencies()
    assert longer[1:] == ["32.0", "13.0", "42.0", "32.0"] and longer[0] != as_it_is[0]
    assert kernels() == 2 * compiled_first
    law.write_text(first)
    assert latencies() == as_it_is
    assert kernels() == 2 * compiled_first
