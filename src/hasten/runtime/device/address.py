"""Where an edge is, as people write it."""

from __future__ import annotations

import contextlib
import ipaddress
import re

from hasten.core.errors import InputError


def parse_address(text: str) -> tuple[str, int]:
    """``HOST:PORT``, ``[IPV6]:PORT``; anything else, and a host that cannot exist, is an :class:`InputError`."""
    host, _, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0
    if not bare or not 0 < number < 65536:
        raise InputError("device", "edge", text, "HOST:PORT")
    if not _possible_host(bare):
        raise InputError("device", "edge", text, "HOST:PORT of a host that can exist")
    return bare, number


def parse_addresses(text: str) -> list[tuple[str, int]]:
    """``HOST:PORT[,HOST:PORT...]``, each once."""
    found = [parse_address(part.strip()) for part in text.split(",")]
    if len(set(found)) < len(found):
        raise InputError("device", "edge", text, "every edge once")
    return found


def _possible_host(host: str) -> bool:
    """Whether there may be a host of this name."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    try:
        labels = host.removesuffix(".").encode("idna").decode().split(".")
    except UnicodeError:  # an empty label, or one that is too long
        return False
    name = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
    number = labels[-1].isdigit()  # no top-level domain is one: this would be an address, and is none
    return len(host) <= 253 and not number and all(name.fullmatch(label) for label in labels)
