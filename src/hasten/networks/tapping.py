"""Which tensor of what a layer gives an exit reads: the only one, or the one that is named.

Layers give tensors, tuples, dictionaries or output objects (dataclasses, Hugging Face's ``ModelOutput``). An exit is
named ``layer``, ``layer:field`` or ``layer:field/index``; ``channels_first`` or ``channels_last`` may follow, for the
few layers that do not show where their output has its features.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from hasten.core.errors import InputError

CHANNELS_FIRST, CHANNELS_LAST = "channels_first", "channels_last"
STATED = (CHANNELS_FIRST, CHANNELS_LAST)
"""What a user may state of a layer, as in ``layer:channels_last``."""

FINAL = "final"
"""The name of the exit that is the module's own output."""

SHOWN_NAMES = 40


class Tap(NamedTuple):
    """What one exit reads: a layer's output, a part of it if that is not the only tensor, and its stated layout."""

    layer: str
    field: str = ""
    layout: str = ""

    @property
    def name(self) -> str:
        """The exit's name."""
        return f"{self.layer}:{self.field}" if self.field else self.layer


def parse_taps(module: nn.Module, at: Sequence[str]) -> tuple[list[Tap], str]:
    """What each of ``at`` asks for, and the field of the module's own output (``final:field``), if any.

    Raises:
        InputError: no list of names; a name that is no layer, or is given twice.
    """
    if isinstance(at, str) or not isinstance(at, Sequence) or not all(isinstance(name, str) for name in at):
        raise InputError("exits", "layers", at, "a list of layers' names")
    names = [name for name, _ in module.named_modules(remove_duplicate=False) if name]
    taps = [_parsed(given, names) for given in at]
    fields = [tap.field for tap in taps if tap.layer == FINAL and FINAL not in names]
    taps = [tap for tap in taps if tap.layer != FINAL or FINAL in names]
    if not taps:
        raise InputError("exits", "layers", list(at), f"at least one of {_listed(names)}")
    asked = [tap.layer for tap in taps]
    for name in asked:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=SHOWN_NAMES)
            raise InputError("exits", "layer", name, f"one of {_listed(close + [n for n in names if n not in close])}")
        if asked.count(name) > 1:
            raise InputError("exits", "layer", name, "each layer once")
    return taps, fields[0] if fields else ""


def _parsed(given: str, names: Sequence[str]) -> Tap:
    if given in names:
        return Tap(given)
    layer, *parts = given.split(":")
    layout = parts.pop() if parts and parts[-1] in STATED else ""
    return Tap(layer, parts[0], layout) if len(parts) == 1 else Tap(layer if not parts else given, "", layout)


def main_tensor(layer: nn.Module, output: object, field: str = "") -> object:
    """What an exit reads of ``output``: the part at ``field``, else the tensor, or the only one; else all of it.

    A recurrent layer's is its sequence.
    """
    if field:
        for key in field.split("/"):
            output = parts_of(output).get(key)
        return output
    if isinstance(layer, nn.RNNBase) and isinstance(output, tuple | list):
        return output[0]
    parts = parts_of(output)
    given = [part for part in parts.values() if part is not None]
    return given[0] if len(given) == 1 and isinstance(given[0], Tensor) else output


def parts_of(output: object) -> dict[str, object]:
    """The named (or numbered) parts of a tuple, a dictionary or an output object; none of a tensor."""
    if isinstance(output, Mapping):
        return {str(key): value for key, value in output.items()}
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        numbered = {str(index): part for index, part in enumerate(output)}
        return {name: getattr(output, name) for name in output._fields} or numbered
    if isinstance(output, tuple | list):
        return {str(index): part for index, part in enumerate(output)}
    return {}


def choices_in(name: str, output: object) -> str:
    """The names under which the tensors of ``output`` can be asked for, as ``name:field``; empty if there is none."""
    found = [f"{name}:{path}" for path in _tensor_paths(output)]
    return ", ".join(found[:8])


def _tensor_paths(output: object) -> list[str]:
    found = []
    for key, part in parts_of(output).items():
        found += [key] if isinstance(part, Tensor) else [f"{key}/{path}" for path in _tensor_paths(part)]
    return found


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
