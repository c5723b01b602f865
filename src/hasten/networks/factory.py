"""Load a network that a user names as ``MODULE:FACTORY``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from hasten.core.errors import InputError


def load_network(name: str) -> nn.Module:
    """Import MODULE with the current folder on the path and return what FACTORY() makes.

    Raises:
        InputError: the name is not of that form, the module or the factory is absent or fails, or what the factory
            returns is not a ``torch.nn.Module``.
    """
    module_name, colon, factory_name = name.partition(":")
    if not (module_name and colon and factory_name):
        raise InputError("build", "network", name, "MODULE:FACTORY, for example mymodel:make_net")
    try:
        with _current_folder_importable():
            module = importlib.import_module(module_name)
    # A user's module may fail in any way while it is imported, and so may the factory.
    except Exception as error:
        raise InputError("build", "module", module_name, f"an importable module ({_reason(error)})") from error
    factory = getattr(module, factory_name, None)
    if not callable(factory):
        public = ", ".join(attribute for attribute in vars(module) if not attribute.startswith("_"))
        raise InputError(module_name, "factory", factory_name, f"a function of the module (it has {public[:200]})")
    try:
        network = factory()
    except Exception as error:
        raise InputError(
            name, "factory", factory_name, f"a call without arguments to work ({_reason(error)})"
        ) from error
    if not isinstance(network, nn.Module):
        raise InputError(name, "factory", type(network).__name__, "a torch.nn.Module to be returned")
    return network


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
