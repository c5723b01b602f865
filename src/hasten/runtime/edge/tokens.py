"""Who may come to an edge: whoever knows the shared token, or one of the tokens in a list, each a device's own.

A list holds the SHA-256 of each token, not the token: who reads the file cannot come with it. Tokens have to be long
and random for that (``openssl rand -hex 32``); then a plain hash is as good as any.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from hasten.core.errors import InputError
from hasten.core.files import read_text
from hasten.runtime.sockets import read_token

_ENTRY = re.compile(r"([!-~]{1,40})\s+sha256:([0-9a-fA-F]{64})")
_LISTED = re.compile(r"\bsha256:")
SHARED = ""
"""Stands for the name of whoever knows the shared token."""


class Tokens:
    """The tokens that an edge accepts now.

    Args:
        shared: the one that all devices know; empty where none is asked for.
        file: holds it instead, or a list of tokens (:func:`read_tokens`).

    Raises:
        InputError: the file cannot be read or is no such list.
    """

    def __init__(self, shared: str = "", file: Path | None = None) -> None:
        self._file = file
        self._stamp = _stamp(file)
        self._names: Mapping[bytes, str] = {digest_of(shared.encode()): SHARED} if file is None else read_tokens(file)

    def name_of(self, digest: bytes) -> str | None:
        """The name of the device whose token has this :func:`digest_of`, None if no such token is accepted."""
        return self._names.get(digest)

    def refresh(self, tell: Callable[[str], None]) -> bool:
        """Read the file again if it has changed; return whether other tokens are accepted now.

        One that cannot be read changes nothing and is told of; one that is empty by now accepts nobody.
        """
        stamp = _stamp(self._file)
        if self._file is None or stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self._names = read_tokens(self._file) if stamp is None or stamp[1] else {}
        except InputError as error:
            tell(f"edge: {error}; the tokens from before hold")
            return False
        tell(f"edge: {len(self._names)} tokens are accepted now")
        return True


def read_tokens(path: Path) -> dict[bytes, str]:
    """Digest of each token in a file -> its device's name.

    A file that mentions ``sha256:`` or holds nothing but comments is a list: one ``NAME sha256:HEX`` a line, ``#``
    begins a comment. Any other text is the shared token.

    Raises:
        InputError: names the line.
    """
    lines = [line.strip() for line in read_text(path).splitlines()]
    listed = any(_LISTED.search(line) for line in lines) or (
        any(lines) and all(line.startswith("#") for line in lines if line)
    )
    if not listed:
        return {digest_of(read_token(path).encode()): SHARED}
    names: dict[bytes, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line or line.startswith("#"):
            continue
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            expected = "NAME sha256:HEX with the SHA-256 of that device's token, or a comment"
            raise InputError(f"{path}, line {number}", "token", "another text", expected)  # which may be a token
        digest = bytes.fromhex(entry[2])
        if digest in names:
            raise InputError(f"{path}, line {number}", "token", entry[1], f"a token of its own, not {names[digest]}'s")
        names[digest] = entry[1]
    return names


def digest_of(token: bytes) -> bytes:
    """What is kept and compared of a token: its SHA-256."""
    return hashlib.sha256(token).digest()


def _stamp(file: Path | None) -> tuple[int, int, int] | None:
    """Changes when the file does."""
    try:
        status = file.stat() if file is not None else None
    except OSError:
        return None
    return None if status is None else (status.st_mtime_ns, status.st_size, status.st_ino)
