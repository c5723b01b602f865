"""Compilation, typed: one decorator for every kernel of the simulator.

Kernels release the interpreter lock, so that independent batches may run in threads. They
are compiled without fast-math: a batch and a single run add up in the same order and give the same bits. They must
not allocate, and are compiled without numba's reference counts, which would take most of their time.

Compiled code is cached on disk, in ``$NUMBA_CACHE_DIR`` or the user's cache folder. Numba notices when the file of a
kernel changes, but not when a function changes that the kernel calls from elsewhere, such as the timing law; hence
one folder for each state of the sources. Where no folder can be written, kernels are compiled in every process.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}


def compiled(function: F) -> F:
    """Compile ``function`` when it is first called with each combination of argument types."""
    return cast(F, _cached(numba.njit(**_OPTIONS)(function)))


def compiled_sums(function: F) -> F:
    """Compile as :func:`compiled`, but let sums be added up in any order, which vector instructions need."""
    return cast(F, _cached(numba.njit(**_OPTIONS, fastmath={"reassoc", "nsz"})(function)))


def inlined(function: F) -> F:
    """Compile ``function`` into its callers: handing dozens of arrays over costs more than many a function does."""
    return cast(F, _cached(numba.njit(**_OPTIONS, forceinline=True)(function)))


def direct(kernel: Callable[..., R], *arguments: Any) -> Callable[..., R]:
    """The machine code of a kernel for arguments of these types, to be called with such arguments only.

    A call saves numba's look at the types, which with dozens of arrays takes several times as long as the call.
    """
    typeof = cast(Any, numba.typeof)
    machine_code: Callable[..., R] = cast(Any, kernel).compile(tuple(typeof(value) for value in arguments))
    return machine_code


def _cached(dispatcher: Any) -> Any:
    """Let a kernel keep its code in our folder; the setting is global in numba, so it is put back at once."""
    folder = _cache_folder()
    if folder is not None:
        settings: Any = numba.config
        users_own, settings.CACHE_DIR = settings.CACHE_DIR, folder
        try:
            dispatcher.enable_caching()
        finally:
            settings.CACHE_DIR = users_own
    return dispatcher


@cache
def _cache_folder() -> str | None:
    """The folder for this state of the sources, None if it cannot be made."""
    home = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    digest = hashlib.blake2b(digest_size=8)
    package = Path(__file__).parent.parent
    for path in sorted(
        path for part in ("core", "sim", "offline", "schedulers") for path in package.glob(f"{part}/*.py")
    ):
        digest.update(path.read_bytes())
    folder = Path(home) / "hasten" / f"kernels-{digest.hexdigest()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return str(folder) if os.access(folder, os.W_OK) else None
