"""What an edge tells its replicas on Ray: the packages to hold, and how many replicas there are to be.

An actor that any node can ask; it ends with the edge.
"""

from __future__ import annotations

from dataclasses import dataclass

from hasten.core.profile import Profile


@dataclass(frozen=True)
class Offered:
    """A package for replicas.

    Attributes:
        name: of its file, for errors.
        data: the file.
        profile: replaces its own, None: its own holds.
    """

    name: str
    data: bytes
    profile: Profile | None


@dataclass(frozen=True)
class Ready:
    """What a replica tells of a package once it is warm there.

    Attributes:
        batches: the (partition, exit) that run in batches.
        shortfall: in words, when memory does not hold all segments.
    """

    batches: frozenset[tuple[int, int]]
    shortfall: str | None


class Board:
    """The actor."""

    def __init__(self, replicas: int) -> None:
        self._offered: dict[str, Offered] = {}
        self._replicas = replicas

    def offer(self, digest: str, package: Offered) -> None:
        """Replicas are to hold this."""
        self._offered[digest] = package

    def withdraw(self, digest: str) -> None:
        """They need it no longer."""
        self._offered.pop(digest, None)

    def digests(self) -> list[str]:
        """Of all that they are to hold."""
        return list(self._offered)

    def offered(self, digest: str) -> Offered:
        """One of them."""
        return self._offered[digest]

    def want(self, replicas: int) -> None:
        """There are to be so many."""
        self._replicas = replicas

    def wanted(self) -> int:
        """How many there are to be."""
        return self._replicas
