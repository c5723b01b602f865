"""Load what a user names as ``MODULE:FUNCTION``: a network's factory, data, a metric."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from hasten.core.errors import InputError

_KINDS = {"network": "factory", "data": "function", "metric": "function"}


def load_network(name: str) -> nn.Module:
    """Import MODULE with the current folder on the path and return what FACTORY() makes.

    Raises:
        InputError: the name is not of that form, the module or the factory is absent or fails, or what the factory
            returns is not a ``torch.nn.Module``.
    """
    network = call_named(name, "network")
    if not isinstance(network, nn.Module):
        raise InputError(name, "factory", type(network).__name__, "a torch.nn.Module to be returned")
    return network


def call_named(name: str, what: str) -> object:
    """What the function named MODULE:FUNCTION returns without arguments; ``what`` it is to give is named in errors."""
    function = function_named(name, what)
    try:
        return function()
    except Exception as error:
        where = name.partition(":")[2]
        raise InputError(name, _KINDS[what], where, f"a call without arguments to work ({_reason(error)})") from error


def function_named(name: str, what: str) -> Callable[..., object]:
    """The function named MODULE:FUNCTION, the current folder being searched first."""
    module_name, colon, function_name = name.partition(":")
    kind = _KINDS[what]
    if not (module_name and colon and function_name):
        raise InputError("build", what, name, f"MODULE:{kind.upper()}, for example mymodel:make_net")
    try:
        with _current_folder_importable():
            module = importlib.import_module(module_name)
    # A user's module may fail in any way while it is imported, and so may the factory.
    except Exception as error:
        raise InputError("build", "module", module_name, f"an importable module ({_reason(error)})") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        public = ", ".join(attribute for attribute in vars(module) if not attribute.startswith("_"))
        raise InputError(module_name, kind, function_name, f"a function of the module (it has {public[:200]})")
    found: Callable[..., object] = function
    return found


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    # The folder may have changed since an earlier import looked into it.
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(here)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
