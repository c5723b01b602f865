"""Finding profiles: built-in by name, from a profile file, from inside a package, or from recorded tables."""

from __future__ import annotations

import zipfile
import zlib
from importlib import resources
from pathlib import Path

from hasten.core.errors import InputError, one_of
from hasten.core.files import MAX_TEXT_BYTES, data_folder, locate, parse_json, validated
from hasten.core.profile import Profile, read_profile
from hasten.core.scission import scission_profile

PACKAGE_PROFILE_MEMBER = "profile.json"
SCISSION_PREFIX = "scission:"


def builtin_profiles() -> list[str]:
    """Names of the profiles that ship with hasten."""
    folder = resources.files("hasten.core") / "builtin"
    return sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))


def load_profile(name_or_path: str | Path, beside: Path | None = None) -> Profile:
    """Load a profile by built-in name, ``.json`` path, ``.hasten`` package, or ``scission:MODEL:DEVICE:EDGE``.

    Raises:
        InputError: the name is unknown or the file is not a valid profile.
    """
    if not isinstance(name_or_path, str | Path):
        raise InputError("load_profile", "name", name_or_path, "a name, or the path of a profile or package")
    name = str(name_or_path)
    if name in builtin_profiles():
        text = (resources.files("hasten.core") / "builtin" / f"{name}.json").read_text(encoding="utf-8")
        return validated(Profile, parse_json(text, name), f"built-in profile {name}")
    if name.startswith(SCISSION_PREFIX):
        return scission_profile(name.removeprefix(SCISSION_PREFIX), data_folder())
    if name.endswith(".hasten"):
        return _profile_in_package(locate(name, beside))
    if name.endswith(".json"):
        return read_profile(locate(name, beside))
    expected = f"a .json or .hasten file, scission:MODEL:DEVICE:EDGE, or {one_of(name, builtin_profiles())}"
    raise InputError("profile", "name", name, expected)


def _profile_in_package(path: Path) -> Profile:
    """The profile inside a package; the package's own checks are made when it is opened for running."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(PACKAGE_PROFILE_MEMBER) as member:
            data = member.read(MAX_TEXT_BYTES + 1)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError, RuntimeError, zlib.error) as error:
        raise InputError(path, PACKAGE_PROFILE_MEMBER, path.name, f"a readable package ({error})") from None
    if len(data) > MAX_TEXT_BYTES:
        raise InputError(path, PACKAGE_PROFILE_MEMBER, f"over {MAX_TEXT_BYTES}", f"at most {MAX_TEXT_BYTES} bytes")
    return validated(Profile, parse_json(data, path), path)
