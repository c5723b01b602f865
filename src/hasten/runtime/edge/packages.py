"""What an edge serves, changed while it serves: packages are opened and warmed beside the event loop, then let in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from hasten.core.errors import InputError
from hasten.core.profile import Profile
from hasten.runtime.edge.core import EdgeCore
from hasten.runtime.edge.served import Served
from hasten.runtime.edge.services import named
from hasten.runtime.notes import Notes
from hasten.runtime.watched import LOOK_EVERY_S, WatchedFiles
from hasten.split.executor import Executor
from hasten.split.package import Package, open_package

Make = Callable[[Package, int], Served]
"""Makes what serves a package within so many bytes of memory."""


def executing(slowdown: float, profile: Profile | None) -> Make:
    """With executors in this process; ``profile`` replaces every package's own."""

    def make(package: Package, memory_bytes: int) -> Served:
        return Served(package, Executor(package, memory_bytes=memory_bytes, role="edge"), slowdown, profile)

    return make


class EdgePackages:
    """The packages of ``core``, which share ``memory_bytes`` evenly. All calls are made in the event loop."""

    def __init__(self, core: EdgeCore, memory_bytes: int, make: Make, notes: Notes) -> None:
        """``make`` is for those that come."""
        self._core, self._memory_bytes, self._make, self._notes = core, memory_bytes, make, notes
        self._adding = asyncio.Lock()

    async def add(self, package: str | Path | Package) -> str:
        """Serve another package, too, once it is warm; return its digest.

        Raises:
            InputError: the file is not an intact package, or the edge's profile is not of its network.
        """
        async with self._adding:
            opened = package if isinstance(package, Package) else await asyncio.to_thread(open_package, package)
            services = self._core.services
            served = services.find(bytes.fromhex(opened.digest))
            if served is None:
                served = await self._warmed(opened)
                self._notes.tell("package", f"edge: serves {named(served)} from now on")
                if (shortfall := served.shortfall()) is not None:
                    self._notes.tell("memory", shortfall)
            services.add(served)
            return opened.digest

    def remove(self, digest: str) -> None:
        """Let a package go once no device uses it.

        Raises:
            InputError: there is none with this digest.
        """
        found = [served for served in self._core.services.all if served.package.digest == digest]
        if not found:
            raise InputError("edge", "package", digest, "the digest of a package that is served")
        self._core.services.retire(found[0].digest, self._core.clock.now_ms())
        devices = self._core.services.sessions(found[0].digest)
        stays = f"; {devices} devices have it still" if devices else ""
        self._notes.tell("package", f"edge: {named(found[0])} is to go{stays}")

    def check(self) -> None:
        """Let go of what nobody uses any more; to be called now and then."""
        gone = self._core.let_go()
        for served in gone:
            served.end()
            self._notes.tell("package", f"edge: {named(served)} is served no longer")
        if gone:
            self._share(len(self._core.services.all))

    async def keep(self, folder: PackageFolder | None) -> None:
        """Check, and follow the folder, now and then; until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                self.check()
                if folder is not None:
                    await folder.look(self)
            except Exception as error:  # whatever is wrong with a folder, the edge serves on
                self._notes.tell("watch", f"edge: {type(error).__name__}: {error}")

    async def _warmed(self, package: Package) -> Served:
        count = len(self._core.services.all)
        served = self._make(package, self._memory_bytes // (count + 1))
        self._share(count + 1)
        try:
            await asyncio.to_thread(served.warm)
        except BaseException:
            served.end()
            self._share(count)
            raise
        return served

    def _share(self, count: int) -> None:
        for served in self._core.services.all:
            if isinstance(served.runner, Executor):
                served.runner.limit(self._memory_bytes // max(count, 1))


class PackageFolder:
    """The packages in a folder: a file that is new is served, too; one that is replaced or gone is let go of."""

    def __init__(self, folder: Path, notes: Notes) -> None:
        """Raises an :class:`InputError` if there is no such folder."""
        if not folder.is_dir():
            raise InputError("edge", "watch", str(folder), "a folder")
        self._folder, self._notes = folder, notes
        self._files = WatchedFiles(self._listed)
        self._served: dict[Path, str] = {}
        self._kept: set[str] = set()

    def opened(self, kept: Sequence[Package]) -> list[Package]:
        """Those that are there now and intact; ``kept`` are served whatever the folder holds."""
        self._kept = {package.digest for package in kept}
        found: dict[str, Package] = {}
        for path in self._files.look(settled=False)[0]:
            try:
                package = open_package(path)
            except InputError as error:
                self._refused(error)
            else:
                self._served[path] = package.digest
                found[package.digest] = package
        return [package for digest, package in found.items() if digest not in self._kept]

    async def look(self, packages: EdgePackages) -> None:
        """Follow what has changed since the last look."""
        changed, gone = await asyncio.to_thread(self._files.look)
        for path in changed:
            try:
                digest = await packages.add(path)
            except Exception as error:  # the other files of this look would not be looked at again
                self._refused(error)
                continue
            before, self._served[path] = self._served.get(path), digest
            self._release(before, packages)
        for path in gone:
            self._release(self._served.pop(path, None), packages)

    def _release(self, digest: str | None, packages: EdgePackages) -> None:
        if digest is not None and digest not in self._kept and digest not in self._served.values():
            packages.remove(digest)

    def _listed(self) -> list[Path]:
        return [path for path in self._folder.glob("*.hasten") if not path.name.startswith(".")]

    def _refused(self, error: Exception) -> None:
        self._notes.tell("package", f"edge: left out until it changes: {error}")
