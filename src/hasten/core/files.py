"""Reading files that people write: validated models, bounded sizes, one-line errors."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from hasten.core.errors import InputError

MAX_TEXT_BYTES = 64 * 1024 * 1024
"""A scenario or profile beyond this size is refused before it is parsed."""


class Record(BaseModel):
    """Base of everything read from a file: frozen, no unknown keys, no NaN or infinity, no silent conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=False, populate_by_name=True)


RecordT = TypeVar("RecordT", bound=BaseModel)


def read_text(path: Path) -> str:
    """Return the text of ``path``; an absent, huge or undecodable file is an :class:`InputError`."""
    try:
        size = path.stat().st_size
        if size > MAX_TEXT_BYTES:
            raise InputError(path, "size", size, f"at most {MAX_TEXT_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(path, "file", str(path), f"a readable file ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(path, "file", str(path), "UTF-8 text") from None


def read_yaml(path: Path) -> Any:
    """Parse YAML (of which JSON is a part) without constructing any object beyond plain data."""
    try:
        return yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise InputError(path, "file", path.name, f"valid YAML ({reason[:160]})") from None


def read_json(path: Path) -> Any:
    """Parse JSON; NaN and Infinity are not JSON and are refused."""

    def refuse(token: str) -> Any:
        raise InputError(path, "file", token, "a finite number")

    try:
        return json.loads(read_text(path), parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise InputError(path, "file", path.name, f"valid JSON ({error.msg} at line {error.lineno})") from None


def validated(model: type[RecordT], data: Any, where: str | Path) -> RecordT:
    """Build ``model`` from plain ``data``; the first failure becomes an :class:`InputError` that names the field."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field, value, expected = _field_path(first["loc"], data), first["input"], _expectation(first)
        if first["type"].startswith("union_tag"):
            field, value = f"{field}.kind", first.get("ctx", {}).get("tag", "nothing")
        raise InputError(where, field or "file", value, expected) from None


def _field_path(location: tuple[int | str, ...], data: Any) -> str:
    """Write a pydantic location as users write it, ``streams[0].arrivals.rate_hz``: without the tags of unions."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
            data = data[part] if isinstance(data, list | tuple) and part < len(data) else None
        elif isinstance(data, dict) and data.get("kind") == part and part not in data:
            continue
        else:
            path += f".{part}" if path else part
            data = data.get(part) if isinstance(data, dict) else None
    return path


def _expectation(error: Any) -> str:
    """Turn a pydantic error into what would have been right."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return "a known key (this one is unknown)"
    if kind == "missing":
        return "the key to be present"
    if kind.startswith("union_tag"):
        return f"one of {context['expected_tags']}" if "expected_tags" in context else "the key 'kind'"
    if kind == "value_error":
        return str(context["error"])
    message: str = error["msg"]
    message = message.removeprefix("Input should be ")
    return message[:1].lower() + message[1:]


def data_folder() -> Path | None:
    """The folder of recorded data: ``HASTEN_DATA``, or ``../shared/data`` when that exists, else None."""
    named = os.environ.get("HASTEN_DATA")
    folder = Path(named) if named else Path("../shared/data")
    return folder if folder.is_dir() else None


def locate(name: str, beside: Path | None) -> Path:
    """Find a file that a scenario names: beside the scenario, then as given, then in the data folder."""
    roots = [beside, Path(), data_folder()]
    for root in roots:
        if root is not None and (root / name).is_file():
            return root / name
    looked = ", ".join(dict.fromkeys(str(root) for root in roots if root is not None))
    named = os.environ.get("HASTEN_DATA")
    hint = f"HASTEN_DATA is {named}, which is no folder" if named and data_folder() is None else "set HASTEN_DATA"
    raise InputError(name, "file", name, f"an existing file (looked in {looked}; recorded data: {hint})")
