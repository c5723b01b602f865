"""Who asks: each address has its share of the edge, and may have as much under way as one device."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from hasten.runtime.edge.carried import CarriedWork
from hasten.runtime.edge.oip.asking import AskError, Trouble
from hasten.runtime.edge.quota import Quota
from hasten.runtime.edge.served import Request
from hasten.runtime.wire.frames import WireError

REMEMBERED = 1024
"""So many addresses that have nothing under way are remembered."""


class Caller:
    """One address.

    Attributes:
        carried: how much of a worker it takes up lately.
        tasks: it has under way.
    """

    def __init__(self) -> None:
        self.carried = CarriedWork()
        self.tasks = self.size_bytes = 0

    @contextmanager
    def asking(self, request: Request, quota: Quota) -> Iterator[None]:
        """Within, this task is under way; :class:`AskError` if there are too many."""
        try:
            quota.require(self.tasks, self.carried.waiting, self.size_bytes, request)
        except WireError as error:
            raise AskError(Trouble.BUSY, str(error).removeprefix("SUBMIT: ")) from None
        self.tasks += 1
        self.size_bytes += request.size_bytes
        try:
            yield
        finally:
            self.tasks -= 1
            self.size_bytes -= request.size_bytes


class Callers:
    """All addresses that have asked lately."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Caller] = OrderedDict()

    def at(self, address: str) -> Caller:
        """Who asks from there."""
        caller = self._known.setdefault(address, Caller())
        self._known.move_to_end(address)
        if len(self._known) > REMEMBERED:
            idle = next((known for known, it in self._known.items() if not it.tasks and it is not caller), None)
            if idle is not None:
                del self._known[idle]
        return caller
