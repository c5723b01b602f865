"""Compiled kernels: one set of decorators for all of them, and the cache that keeps their machine code.

Only packages that need numba import this module. Kernels release the interpreter lock, so that they may run in
threads. They are compiled without fast-math: a batch and a single run add up in the same order and give the same bits.
Most must not allocate, and are compiled without numba's reference counts, which would take most of their time.

Machine code is kept in ``$NUMBA_CACHE_DIR``, else ``$XDG_CACHE_HOME``, else ``~/.cache``. numba's own cache notices
when the file of a kernel changes, but not when a function changes that the kernel calls from elsewhere, such as the
timing law, and a damaged file breaks it for good. Here each state of the sources and of the compiler has a folder of
its own, a file carries a checksum, and whatever is wrong with folder or file the kernel is compiled in this process.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite
import numba
import numpy as np
from numba._dispatcher import compute_fingerprint
from numba.core import config
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from hasten.core.jit import LOADED_S
from hasten.core.kernel_parts import Kernel

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")

WITHOUT_KERNELS = ("cli", "demo", "fidelity", "networks", "report", "runtime", "split", "study", "web")
"""Parts of hasten that no kernel can call, as nothing below them imports them: their files do not count as sources."""

KEPT_FOLDERS = 8
"""As many folders of machine code are kept, besides those used within ``KEPT_S``; older ones are removed."""
KEPT_S = 3600.0

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_ALLOCATES_NOTHING: dict[str, Any] = {**_OPTIONS, "_nrt": False}
_CHECKSUM_BYTES = 16
_DIRECT: dict[tuple[Any, ...], Any] = {}
"""Machine code by kernel and numba's fingerprints of arguments: to name their types takes as long as a short run."""


def compiled(function: F) -> F:
    """Compile ``function``, which makes no array, when it is first called with each combination of argument types."""
    return _kernel(function, _ALLOCATES_NOTHING)


def allocating(function: F) -> F:
    """Compile as :func:`compiled` a function that makes arrays."""
    return _kernel(function, _OPTIONS)


def compiled_sums(function: F) -> F:
    """Compile as :func:`compiled`, but let sums be added up in any order, which vector instructions need."""
    return _kernel(function, {**_ALLOCATES_NOTHING, "fastmath": {"reassoc", "nsz"}})


def inlined(function: F) -> F:
    """Compile ``function`` into its callers: handing dozens of arrays over costs more than many a function does."""
    return _kernel(function, {**_ALLOCATES_NOTHING, "forceinline": True})


def direct(kernel: Callable[..., R], *arguments: Any) -> Callable[..., R]:
    """The machine code of a kernel for arguments of these types, to be called with such arguments only.

    A call saves numba's look at the types, which with dozens of arrays takes several times as long as the call.
    """
    dispatcher: Any = kernel
    if not hasattr(dispatcher, "compile"):  # NUMBA_DISABLE_JIT
        return kernel
    types = (dispatcher, *map(compute_fingerprint, arguments))
    found = _DIRECT.get(types)
    if found is None:
        typeof: Any = numba.typeof
        found = _DIRECT[types] = dispatcher.compile(tuple(typeof(value) for value in arguments))
    machine_code: Callable[..., R] = found
    return machine_code


def _kernel(function: F, options: dict[str, Any]) -> F:
    """Let numba compile a function with these options and keep its machine code in our cache."""
    part = function.__module__.split(".")[1] if function.__module__.startswith("hasten.") else ""
    if part in WITHOUT_KERNELS:
        raise TypeError(f"{function.__module__} is listed as a part without kernels: see {__name__}.WITHOUT_KERNELS")
    settings: Any = config
    if settings.DISABLE_JIT:
        return function
    kernel: Any = Kernel(function, options)
    kernel._cache = KernelCache(function)
    return cast(F, kernel)


class KernelCache(_Cache):
    """The machine code of one kernel on disk, a file for each signature; every failure means to compile anew."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}".removeprefix("hasten.")
        self._code = function.__code__.co_code

    @property
    def cache_path(self) -> str | None:
        """The folder of this state of the sources; None without one."""
        folder = cache_folder()
        return None if folder is None else str(folder)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The kernel compiled for a signature, or None."""
        path = self._path(sig, target_context.codegen())
        if path is None or not sources_unchanged():
            return None
        try:
            target_context.refresh()
            stored, parts = pickle.loads(_read(path))  # noqa: S301 - written by us: checksum and owner are checked
            rebuild: Any = CompileResult._rebuild
            return rebuild(target_context, *parts) if stored == sig else None
        except Exception:  # nothing that a file may hold is worse than to compile once more
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the kernel compiled for a signature, where that is possible."""
        path = self._path(sig, data.codegen)
        if path is None or data.lifted or data.library.has_dynamic_globals or not sources_unchanged():
            return
        with suppress(OSError):  # a full disk, no permission: the next process compiles as well
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
                _remove_old_folders(path.parent)
            pickled: Any = dumps
            _write(path, pickled((sig, data._reduce())))

    def enable(self) -> None:
        """Nothing: the cache is always on."""

    def disable(self) -> None:
        """Nothing: the cache is always on."""

    def flush(self) -> None:
        """Nothing: each state of the sources has its own files."""

    def _path(self, sig: Any, codegen: Any) -> Path | None:
        folder = cache_folder()
        if folder is None:
            return None
        key = hashlib.blake2b(digest_size=8)
        for part in (str(sig), str(codegen.magic_tuple()), self._code.hex()):
            key.update(part.encode())
        return folder / f"{self._name}-{key.hexdigest()}"


@cache
def _sources() -> tuple[Path, ...]:
    """All files that a kernel may be compiled from."""
    package = Path(__file__).parent.parent
    files = (path.relative_to(package) for path in package.rglob("*.py"))
    return tuple(package / path for path in sorted(files) if path.parts[0].removesuffix(".py") not in WITHOUT_KERNELS)


def sources_unchanged() -> bool:
    """Whether no source has been touched since this process began to import hasten.

    Otherwise the functions in memory may differ from those in the files, and neither must machine code be taken that
    belongs to the files, nor machine code of what is in memory be kept for the next process.
    """
    try:
        return max(max(at.st_mtime, at.st_ctime) for at in map(os.stat, _sources())) < LOADED_S
    except (OSError, ValueError):  # replaced just now, or hasten is not made of files
        return False


@cache
def cache_folder() -> Path | None:
    """The folder for this state of the sources, compiler and interpreter; None where no place is known for one."""
    home = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    try:
        place = Path(home) if home else Path.home() / ".cache"
        digest = hashlib.blake2b(digest_size=8)
        for versions in (numba.__version__, llvmlite.__version__, np.__version__, str(sys.implementation.cache_tag)):
            digest.update(versions.encode() + b"\0")
        for path in _sources():
            digest.update(str(path.relative_to(Path(__file__).parent.parent)).encode() + b"\0" + path.read_bytes())
    except (OSError, RuntimeError):  # RuntimeError: neither a home directory nor an entry in the list of users
        return None
    folder = place / "hasten" / f"kernels-{digest.hexdigest()}"
    with suppress(OSError):
        os.utime(folder)  # used now: not to be removed soon
    return folder


def _remove_old_folders(newest: Path) -> None:
    """Remove the folders of earlier states of the sources that were not used for long, but for a few."""
    alike = [path for path in newest.parent.iterdir() if re.fullmatch(r"kernels-[0-9a-f]{16}", path.name)]
    by_age = sorted(((path.stat().st_mtime, path) for path in alike if path != newest), reverse=True)
    for used_s, path in by_age[KEPT_FOLDERS - 1 :]:
        if time.time() - used_s > KEPT_S:
            shutil.rmtree(path, ignore_errors=True)


def _read(path: Path) -> bytes:
    """What :func:`_write` wrote; raises an OSError or ValueError for anything else."""
    with path.open("rb") as file:
        if hasattr(os, "geteuid") and os.fstat(file.fileno()).st_uid not in (0, os.geteuid()):
            raise ValueError("another user's file")
        checksum, content = file.read(_CHECKSUM_BYTES), file.read()
    if hashlib.blake2b(content, digest_size=_CHECKSUM_BYTES).digest() != checksum:
        raise ValueError("damaged")
    return content


def _write(path: Path, content: bytes) -> None:
    """Write a file at once, so that another process sees all of it or nothing."""
    part = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with part.open("xb") as file:
            file.write(hashlib.blake2b(content, digest_size=_CHECKSUM_BYTES).digest() + content)
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
