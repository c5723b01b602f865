"""Where something listens, as people write it: ``[HOST:]PORT``."""

from __future__ import annotations

from typing import NamedTuple

from hasten.core.errors import InputError


class ListenPlace(NamedTuple):
    """An address to listen on. Port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_place(given: str, option: str) -> ListenPlace:
    """Read ``[HOST:]PORT``, on the loopback address unless a host is named; ``option`` is named in the error.

    Raises:
        InputError: it is none.
    """
    host, _, port = given.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    wrong_host = ":" in bare and host != f"[{bare}]"
    if wrong_host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise InputError("place", option, given, "[HOST:]PORT, for example 9464 or 0.0.0.0:9464")
    return ListenPlace(bare or "127.0.0.1", int(port))
