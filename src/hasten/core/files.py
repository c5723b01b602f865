"""Reading files that people write: validated models, bounded sizes, one-line errors. YAML itself: ``plain_yaml``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema

from hasten.core.errors import InputError
from hasten.core.plain_yaml import MAX_DIGITS, line_of, parse_yaml

MAX_TEXT_BYTES = 64 * 1024 * 1024
"""A text file beyond this size is refused before it is read."""
MAX_LOCATED_BYTES = 256 * 1024
"""In longer YAML files an error names the field, but no line."""

Location = tuple[int | str, ...]


def _make_numbers_strict(schema: Any) -> None:
    if isinstance(schema, dict):
        if schema.get("type") in ("int", "float"):
            schema["strict"] = True
        for part in schema.values():
            _make_numbers_strict(part)
    elif isinstance(schema, list):
        for part in schema:
            _make_numbers_strict(part)


class StrictNumbers:
    """A number is a number: neither ``true`` nor ``"3"`` is taken for one, nor 3.5 or 3.0 for a whole one."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The usual schema with strict numbers (pydantic's strict mode would also refuse lists for tuples)."""
        schema = handler(source)
        _make_numbers_strict(schema)
        return schema


class Record(StrictNumbers, BaseModel):
    """Base of everything read from a file: frozen, no unknown keys, no NaN or infinity, no silent conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=False, populate_by_name=True)


MAX_MS = 1e12
"""No time is longer (31 years), so that sums of times keep a resolution of a microsecond."""
MAX_FACTOR = 1e6

Milliseconds = Annotated[float, Field(ge=0, le=MAX_MS)]
PositiveMs = Annotated[float, Field(gt=0, le=MAX_MS)]
Factor = Annotated[float, Field(gt=0, le=MAX_FACTOR)]
Mbps = Annotated[float, Field(ge=0, le=1e6)]
PositiveMbps = Annotated[float, Field(gt=0, le=1e6)]
RateHz = Annotated[float, Field(gt=0, le=1e6)]
Weight = Annotated[float, Field(ge=0, le=MAX_FACTOR)]
"""Of gains: accuracies are at most 1, and weights far beyond this would only overflow sums."""
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
FileName = Annotated[str, Field(min_length=1, max_length=4096)]

RecordT = TypeVar("RecordT", bound=BaseModel)

_PLAINLY = {
    "missing": "the key to be present",
    "extra_forbidden": "a known key (this one is unknown)",
    "model_type": "keys and their values",
    "dict_type": "keys and their values",
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
}
"""What pydantic's errors say of what was expected, in words for readers who do not know it."""


def read_text(path: Path) -> str:
    """Return the text of ``path``; an absent, huge or undecodable file is an :class:`InputError`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
        if len(data) <= MAX_TEXT_BYTES:
            return data.decode("utf-8-sig")
    except OSError as error:
        raise InputError(path, "file", str(path), f"a readable file ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(path, "file", str(path), "text in UTF-8, which this file is not") from None
    except ValueError:
        raise InputError(path, "file", str(path), "a name that a file can have") from None
    raise InputError(path, "size", f"over {MAX_TEXT_BYTES}", f"at most {MAX_TEXT_BYTES} bytes")


def read_yaml(path: Path) -> Any:
    """Parse YAML (of which JSON is a part) without constructing any object beyond plain data."""
    return parse_yaml(read_text(path), path)


def read_json(path: Path) -> Any:
    """Parse a JSON file; see :func:`parse_json`."""
    return parse_json(read_text(path), path)


def parse_json(text: str | bytes, where: str | Path) -> Any:
    """Plain data of a JSON text; NaN, infinity, huge numbers and equal keys are refused, deep nesting as well."""

    def refuse(token: str) -> Any:
        raise InputError(where, "number", token, "a finite number")

    def whole(token: str) -> int:
        if len(token) > MAX_DIGITS:
            raise InputError(where, "number", f"a number of {len(token)} digits", f"at most {MAX_DIGITS} digits")
        return int(token)

    def real(token: str) -> float:
        value = float(token)
        return value if abs(value) < float("inf") else refuse(token)

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for i, key in enumerate(keys) if key in keys[:i])
            raise InputError(where, "key", twice, "each key once")
        return found

    try:
        return json.loads(text, parse_constant=refuse, parse_int=whole, parse_float=real, object_pairs_hook=mapping)
    except json.JSONDecodeError as error:
        raise InputError(where, "file", error.msg, f"valid JSON (line {error.lineno})") from None
    except UnicodeDecodeError:
        raise InputError(where, "file", "undecodable bytes", "JSON in UTF-8") from None
    except RecursionError:
        raise InputError(where, "file", "deeply nested lists", "fewer lists inside each other") from None


def read_record(model: type[RecordT], path: Path) -> RecordT:
    """A YAML file as a ``model``; an :class:`InputError` names the field and, where the file is short, its line."""
    text = read_text(path)
    data = parse_yaml(text, path)
    line = (lambda location: line_of(text, location)) if len(text) <= MAX_LOCATED_BYTES else None
    return validated(model, data, path, line)


def validated(
    model: type[RecordT], data: Any, where: str | Path, line: Callable[[Location], int | None] | None = None
) -> RecordT:
    """Build ``model`` from plain ``data``; the first failure becomes an :class:`InputError` that names the field.

    ``line`` tells the line of a location in the text that ``data`` was read from.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False)
        first = _misspelt(found) or found[0]
        field, value, expected = _field_path(first["loc"], data), first["input"], expectation(first)
        if data is None:
            value, expected = "nothing", "keys and their values, of which the file has none"
        if first["type"].startswith("union_tag"):
            field, value = f"{field}.kind", first.get("ctx", {}).get("tag", "nothing")
        number = line(first["loc"]) if line is not None else None
        place = where if number is None else f"{where}, line {number}"
        raise InputError(place, field or "file", value, expected) from None
    except RecursionError:
        raise InputError(where, "file", "deeply nested data", "fewer lists inside each other") from None


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


def _misspelt(errors: Sequence[Any]) -> Any:
    """The unknown key that is near one missing beside it, with that one as ``meant``; None where nothing is so."""
    for unknown in errors:
        *place, key = unknown["loc"] or ("",)
        missing = [e["loc"][-1] for e in errors if e["type"] == "missing" and list(e["loc"][:-1]) == place]
        near = get_close_matches(str(key), missing, n=1) if unknown["type"] == "extra_forbidden" else []
        if near:
            return {**unknown, "meant": near[0]}
    return None


def expectation(error: Any) -> str:
    """Turn a pydantic error, as its ``errors`` lists them, into what would have been right."""
    kind, context = error["type"], error.get("ctx", {})
    if "meant" in error:
        return f"a known key: did you mean {error['meant']}?"
    if kind in _PLAINLY:
        return _PLAINLY[kind]
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


def about_data_folder() -> str:
    """What a message about an absent recording says of ``HASTEN_DATA``."""
    named = os.environ.get("HASTEN_DATA")
    if named and data_folder() is None:
        return f"HASTEN_DATA is {named}, which is no folder"
    return "recorded data: set HASTEN_DATA" if not named else f"HASTEN_DATA is {named}"


def locate(name: str, beside: Path | None) -> Path:
    """Find a file that a scenario names: beside the scenario, then as given, then in the data folder."""
    roots = [root for root in (beside, Path(), data_folder()) if root is not None]
    for root in roots:
        try:
            if (root / name).is_file():
                return root / name
        except (OSError, ValueError):  # a name that no file can have
            continue
    looked = ", ".join(dict.fromkeys(str(root) for root in roots))
    raise InputError(name, "file", name, f"an existing file (looked in {looked}; {about_data_folder()})")
