"""YAML as people mean it: plain data, read by the rules of YAML 1.2, and refused where it could mean two things.

PyYAML follows YAML 1.1, where ``1:20`` is 80, ``0500`` is 320, ``yes`` is true and ``1e3`` is text. Here only
``true`` and ``false`` are booleans, numbers are written as in JSON (a leading zero makes a text of them), dates are
text, and of two equal keys none wins. Nesting, aliases and the size of a file are limited before anything is built.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from hasten.core.errors import InputError

MAX_YAML_BYTES = 4 * 1024 * 1024
"""A longer YAML file is refused: long lists belong into a recording."""
MAX_DEPTH = 40
"""Lists and mappings inside each other."""
MAX_ALIASED = 100_000
"""So many values may aliases (``*name``) add to those that are written."""
MAX_DIGITS = 40
TAG = "tag:yaml.org,2002:"
MERGE = f"{TAG}merge"

_WHOLE = r"(?:0|[1-9][0-9]*)"
_SCALARS = {
    "bool": (re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    "int": (re.compile(rf"^[-+]?{_WHOLE}$"), "-+0123456789"),
    "float": (
        re.compile(
            rf"^(?:[-+]?(?:\.[0-9]+|{_WHOLE}(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        "-+.0123456789",
    ),
    "null": (re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    "merge": (re.compile(r"^<<$"), "<"),
}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own declaration

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            problem = f"at most {MAX_DEPTH} lists and mappings inside each other"
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, problem, mark)
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


for _name, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(f"{TAG}{_name}", _pattern, list(_first))


def parse_yaml(text: str, where: str | Path) -> Any:
    """Plain data of one YAML document (of which JSON is a part).

    Raises:
        InputError: names the line. No value of the file is ever repeated as a whole.
    """
    if len(text) > MAX_YAML_BYTES:
        raise InputError(where, "size", len(text), f"at most {MAX_YAML_BYTES} bytes of YAML")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, {}, where)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line if mark is not None else 0
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise InputError(where, f"line {line + 1}", _line(text, line), f"valid YAML ({problem})") from None
    except yaml.YAMLError as error:
        raise InputError(where, "file", "unreadable text", f"valid YAML ({str(error)[:160]})") from None


def line_of(text: str, location: tuple[int | str, ...]) -> int | None:
    """The line (from 1) of what stands at ``location`` in a document that :func:`parse_yaml` has read.

    Parts of the location that the document does not have, such as names of alternatives, are passed over.
    """
    node = _Loader(text).get_single_node()
    line: int | None = None
    for part in location:
        if isinstance(node, MappingNode):
            for key, value in node.value:
                if key.value == part:
                    line, node = key.start_mark.line + 1, value
                    break
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _check(node: Node, sizes: dict[int, int | None], where: str | Path) -> int:
    """How many values ``node`` stands for, aliases unfolded; refuses what is unclear or too much."""
    if id(node) in sizes:
        known = sizes[id(node)]
        if known is None:
            raise _refusal(where, node, "an alias of what it is part of", "data that does not contain itself")
        return known
    sizes[id(node)] = None
    size = 1
    if isinstance(node, ScalarNode):
        _check_scalar(node, where)
    elif isinstance(node, SequenceNode) and node.tag == f"{TAG}seq":
        size += sum(_check(item, sizes, where) for item in node.value)
    elif isinstance(node, MappingNode) and node.tag == f"{TAG}map":
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                raise _refusal(where, key, "a list or mapping as a key", "a text as a key")
            if key.value in seen and key.tag != MERGE:
                raise _refusal(where, key, key.value, "each key once")
            seen.add(key.value)
            size += _check(key, sizes, where) + _check(value, sizes, where)
    else:
        raise _refusal(where, node, node.tag, "lists, mappings, texts, numbers, true, false or null")
    sizes[id(node)] = size
    if size > len(sizes) + MAX_ALIASED:
        raise _refusal(where, node, "aliases of aliases", f"aliases that add at most {MAX_ALIASED} values")
    return size


def _check_scalar(node: ScalarNode, where: str | Path) -> None:
    """A tag that was written out, as in ``!!int abc``, must fit the text behind it."""
    kind = node.tag.removeprefix(TAG)
    if kind == "str":
        return
    if kind not in _SCALARS or not _SCALARS[kind][0].match(node.value):
        raise _refusal(where, node, f"{node.tag} {node.value[:60]}", "a text, a number, true, false or null")
    if kind == "int" and len(node.value) > MAX_DIGITS:
        digits = f"a number of {len(node.value)} digits"
        raise _refusal(where, node, digits, f"at most {MAX_DIGITS} digits")


def _refusal(where: str | Path, node: Node, value: str, expected: str) -> InputError:
    return InputError(where, f"line {node.start_mark.line + 1}", value, expected)


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    return lines[number].strip() if number < len(lines) else "the end of the file"
