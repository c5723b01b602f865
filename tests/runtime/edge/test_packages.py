"""An edge's packages change while it serves: folders, half-written files, memory."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from hasten.core.errors import InputError
from hasten.runtime.edge.opened import EdgePlan, OpenedEdge
from hasten.runtime.edge.packages import EdgePackages, PackageFolder, executing
from hasten.runtime.edge.server import real_core
from hasten.runtime.edge.services import LINGERS_MS
from hasten.runtime.notes import Notes


class Served:
    """A core on its threads with ``packages``, and what it is told to serve."""

    def __init__(self, packages, memory_bytes=1 << 30):
        self.said = []
        notes = Notes(self.said.append)
        self.core = real_core(packages, notes=notes, memory_bytes=memory_bytes)
        self.packages = EdgePackages(self.core, memory_bytes, executing(1.0, None), notes)
        self.ahead_ms = 0.0
        now_ms = self.core.clock.now_ms
        self.core.clock.now_ms = lambda: now_ms() + self.ahead_ms

    @property
    def digests(self):
        return {served.package.digest for served in self.core.services.all}

    def check_later(self):
        self.ahead_ms += LINGERS_MS
        self.packages.check()


def served(scenario, packages, **options):
    async def run():
        edge = Served(packages, **options)
        try:
            return await scenario(edge)
        finally:
            edge.core.clock.close()

    return asyncio.run(run())


def test_a_package_is_warm_when_it_is_let_in_and_memory_is_shared(package, newer):
    async def scenario(edge):
        edge.core.start()
        (first,) = edge.core.services.all
        held = len(first.runner._sessions)
        assert await edge.packages.add(newer.path) == newer.digest
        _, second = edge.core.services.all
        assert second.runner._sessions and held > len(first.runner._sessions) >= 1
        for runner in (first.runner, second.runner):
            assert runner.memory_bytes == (4 << 20) // 2 and runner._held_bytes() <= runner.memory_bytes
        assert await edge.packages.add(newer) == newer.digest and len(edge.core.services.all) == 2
        edge.packages.remove(package.digest)
        edge.check_later()
        assert edge.digests == {newer.digest} and second.runner.memory_bytes == 4 << 20
        assert f"serves tiny {newer.digest[:12]} from now on" in edge.said[0]
        assert edge.said[-1] == f"edge: tiny {package.digest[:12]} is served no longer"
        edge.core.close()

    served(scenario, [package], memory_bytes=4 << 20)


def test_what_was_measured_of_a_package_goes_with_it(package, newer):
    async def scenario(edge):
        for digest in (package.digest, newer.digest):
            edge.core._correction.measured((bytes.fromhex(digest), 0, 2), 1.0, 2.0, 0.0)
        edge.packages.remove(package.digest)
        edge.check_later()
        assert [segment[0].hex() for segment in edge.core._correction._own] == [newer.digest]

    served(scenario, [package, newer])


def test_a_package_that_is_not_there_cannot_go(package):
    async def scenario(edge):
        with pytest.raises(InputError, match="package: got '12', expected the digest of a package that is served"):
            edge.packages.remove("12")

    served(scenario, [package])


def test_a_folder_is_followed(package, newer, tmp_path):
    file = tmp_path / "net.hasten"
    shutil.copy(package.path, file)
    half = newer.path.read_bytes()[:-1000]

    async def scenario(edge):
        folder = PackageFolder(tmp_path, Notes(edge.said.append))
        assert [found.digest for found in folder.opened([])] == [package.digest]

        async def settle():
            for _ in range(2):
                await folder.look(edge.packages)

        (tmp_path / "other.hasten").write_bytes(half)
        (tmp_path / ".hidden.hasten").write_bytes(newer.path.read_bytes())
        await folder.look(edge.packages)
        assert edge.said == []  # it may be still written
        await folder.look(edge.packages)
        assert edge.digests == {package.digest}
        assert len(edge.said) == 1 and "left out until it changes" in edge.said[0] and "other.hasten" in edge.said[0]
        await settle()
        assert len(edge.said) == 1
        (tmp_path / "other.hasten").write_bytes(newer.path.read_bytes())
        await settle()
        assert edge.digests == {package.digest, newer.digest}
        (tmp_path / "other.hasten").replace(file)  # a new version takes the old one's place
        await settle()
        edge.check_later()
        assert edge.digests == {newer.digest}
        file.unlink()
        await settle()
        edge.check_later()
        assert edge.digests == set()

    served(scenario, [package])


def test_what_is_served_by_name_stays_whatever_the_folder_holds(package, tmp_path):
    file = tmp_path / "copy.hasten"
    shutil.copy(package.path, file)

    async def scenario(edge):
        folder = PackageFolder(tmp_path, Notes(edge.said.append))
        assert folder.opened([package]) == []
        file.unlink()
        await folder.look(edge.packages)
        edge.check_later()
        assert edge.digests == {package.digest}

    served(scenario, [package])


def test_a_folder_must_be_one_and_hold_something_to_begin_with(package, tmp_path):
    notes = Notes(lambda text: None)
    with pytest.raises(InputError, match=r"watch: got '.*absent', expected a folder"):
        OpenedEdge([], EdgePlan(watch=tmp_path / "absent"), notes)
    with pytest.raises(InputError, match="expected a folder with an intact package to begin with"):
        OpenedEdge([], EdgePlan(watch=tmp_path), notes)
    shutil.copy(package.path, tmp_path / "net.hasten")
    assert [it.digest for it in OpenedEdge([], EdgePlan(watch=tmp_path), notes).packages] == [package.digest]
    with pytest.raises(InputError, match=r"packages: got \[\]"):
        OpenedEdge([], EdgePlan(), notes)
