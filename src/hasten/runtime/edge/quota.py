"""What one device may have under way at an edge, so that none takes all that the edge can hold."""

from __future__ import annotations

from dataclasses import dataclass

from hasten.core.errors import InputError
from hasten.runtime.edge.served import Request
from hasten.runtime.wire.frames import Code, WireError


@dataclass(frozen=True)
class Quota:
    """Of one device at a time.

    Attributes:
        tasks: under way: waiting, running, or answered and the answer not sent yet.
        waiting: of these, waiting for a worker.
        size_bytes: of their payloads; two of the largest that its package can need always fit.

    Raises:
        InputError: a quota is below 1.
    """

    tasks: int = 64
    waiting: int = 32
    size_bytes: int = 16 << 20

    def __post_init__(self) -> None:
        for name, most in vars(self).items():
            if most < 1:
                raise InputError("edge", f"quota {name}", most, "at least 1")

    def require(self, tasks: int, waiting: int, size_bytes: int, request: Request) -> None:
        """:class:`WireError` if so much is under way that the request does not fit.

        What is said is the same each time, so that a device tells it once.
        """
        if tasks >= self.tasks:
            raise WireError(Code.QUOTA, f"SUBMIT: got more than {self.tasks} tasks under way, the edge's --quota-tasks")
        if waiting >= self.waiting:
            raise WireError(Code.QUOTA, f"SUBMIT: got more than {self.waiting} tasks waiting, the edge's --quota-queue")
        most = max(self.size_bytes, 2 * request.served.max_submit_bytes)
        if size_bytes + request.size_bytes > most:
            raise WireError(Code.QUOTA, f"SUBMIT: got more than {most} bytes under way, the edge's --quota-mb")
