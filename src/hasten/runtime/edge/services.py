"""Packages in service at an edge: which a device may use, and when one that goes may be let go of.

A device's session is bound to one package, by digest. One that is retired serves its devices on, and they come back to
it when they lose their link, until none has been there for a while.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from hasten.core.errors import InputError
from hasten.runtime.edge.served import Served

LINGERS_MS = 10_000.0
"""A retired package stays for so long after its last device: one that lost its link is back before (after 3 s)."""
MOST_NAMED = 3
"""So many packages are named to a device that has another."""


class Services:
    """Packages by digest. All calls are made in the event loop, but for :attr:`all` and :attr:`kept`.

    Attributes:
        on_added: called when one has been taken into service.
    """

    def __init__(self, services: Sequence[Served]) -> None:
        if not services:
            raise InputError("edge", "packages", [], "at least one")
        self._served = {served.digest: served for served in services}
        self._sessions: Counter[bytes] = Counter()
        self._retired: dict[bytes, float] = {}
        """Since when nobody has been there, at the earliest."""
        self.on_added: Callable[[], object] = lambda: None

    @property
    def all(self) -> list[Served]:
        """All that are in service, retired ones included."""
        return list(self._served.values())

    @property
    def kept(self) -> list[Served]:
        """All but retired ones."""
        return [served for served in self.all if served.digest not in self._retired]

    def shortfalls(self) -> list[str]:
        """In words, for each package whose segments the memory does not hold all; known once they are warm."""
        return [told for served in self.all if (told := served.shortfall()) is not None]

    def find(self, digest: bytes) -> Served | None:
        """The package with this digest, None when it is not in service."""
        return self._served.get(digest)

    def add(self, served: Served) -> None:
        """Take one into service, or back into it."""
        self._served.setdefault(served.digest, served)
        self._retired.pop(served.digest, None)
        self.on_added()

    def retire(self, digest: bytes, now_ms: float) -> None:
        """Let one go once no device uses it."""
        if digest in self._served:
            self._retired[digest] = now_ms

    def sessions(self, digest: bytes) -> int:
        """How many devices use a package."""
        return self._sessions[digest]

    def enter(self, served: Served) -> None:
        """A device begins to use a package."""
        self._sessions[served.digest] += 1

    def leave(self, served: Served, now_ms: float) -> None:
        """A device has gone."""
        self._sessions[served.digest] -= 1
        if served.digest in self._retired:
            self._retired[served.digest] = now_ms

    def let_go(self, now_ms: float) -> list[Served]:
        """Those whose time is over; they are not in service any more."""
        over = [
            digest
            for digest, since_ms in self._retired.items()
            if not self._sessions[digest] and now_ms - since_ms >= LINGERS_MS
        ]
        for digest in over:
            del self._retired[digest], self._sessions[digest]
        return [self._served.pop(digest) for digest in over]

    def objection(self, digest: bytes) -> str:
        """What is told a device whose package is not in service, and what to do."""
        kept = self.kept
        names = [named(served) for served in kept[-MOST_NAMED:]]
        more = f" and {len(kept) - MOST_NAMED} more" if len(kept) > MOST_NAMED else ""
        return (
            f"HELLO: got package {digest.hex()[:12]}, expected one that is served here, which is "
            f"{', '.join(names) or 'none'}{more}: give device and edge the same file, the device by hs.Device.switch "
            f"or hasten device --watch, the edge by hs.Edge.add_package or hasten edge --watch"
        )


def named(served: Served) -> str:
    """A package by its name and the begin of its digest."""
    return f"{served.package.manifest.name} {served.package.digest[:12]}"
