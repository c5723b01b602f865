"""One replica of an edge on Ray Serve: it holds the edge's packages and runs their segments."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.runtime.edge.ray_serve.board import Offered, Ready
from hasten.runtime.edge.served import Served
from hasten.runtime.outputs import Outputs
from hasten.split.executor import Executor
from hasten.split.package import parse_package

Array = NDArray[np.generic]


class Replica:
    """Ray Serve makes it, where it wants to, and is ready when the packages of ``board`` (an actor) are warm.

    They share ``memory_bytes`` evenly. Methods that run segments are coroutines, so that no thread is changed for
    them; a replica runs one call at a time.
    """

    def __init__(self, board: Any, memory_bytes: int) -> None:
        self._board, self._memory_bytes = board, memory_bytes
        self._served: dict[str, Served] = {}
        self._loading = threading.Lock()
        for digest in self._asked(board.digests.remote()):
            self.hold(digest)

    async def run(
        self, digest: str, cut: int, exit_: int, tensors: Sequence[Array], may_stop: bool
    ) -> tuple[int, Outputs]:
        """As :meth:`hasten.runtime.edge.served.Served.run`; ``digest`` is the package's."""
        return self._served_by(digest).run(cut, exit_, tensors, may_stop)

    async def run_together(
        self, digest: str, cut: int, exit_: int, samples: Sequence[Sequence[Array]]
    ) -> Sequence[Outputs]:
        """What several samples give that are run at once."""
        return self._served_by(digest).runner.outputs_of(cut, exit_, samples)

    async def check(
        self, digest: str, cut: int, exit_: int, tensors: Sequence[Array]
    ) -> tuple[Outputs, Sequence[Array]]:
        """As :meth:`hasten.runtime.edge.served.EdgeRunner.check`."""
        return self._served_by(digest).runner.check(cut, exit_, tensors)

    def hold(self, digest: str) -> Ready:
        """Have a package of the board warm; runs beside tasks."""
        with self._loading:
            if digest not in self._served:
                offered: Offered = self._asked(self._board.offered.remote(digest))
                package = parse_package(offered.data, Path(offered.name))
                share = self._share(len(self._served) + 1)
                try:
                    executor = Executor(package, memory_bytes=share, role="edge")
                    served = Served(package, executor, profile=offered.profile)
                    served.warm()
                    self._served[digest] = served
                finally:  # without it the others have its share back
                    self._share(len(self._served))
            return Ready(self._served[digest].batched, self._served[digest].shortfall())

    def drop(self, digest: str) -> None:
        """Hold a package no longer."""
        with self._loading:
            if self._served.pop(digest, None) is not None:
                self._share(len(self._served))

    def _served_by(self, digest: str) -> Served:
        """One that is offered since this replica began, and that it was not told of, is loaded now."""
        if digest not in self._served:
            self.hold(digest)
        return self._served[digest]

    def _share(self, count: int) -> int:
        """Each package's memory when there are so many; those that are held keep to it."""
        share = self._memory_bytes // max(count, 1)
        for served in self._served.values():
            if isinstance(served.runner, Executor):
                served.runner.limit(share)
        return share

    @staticmethod
    def _asked(asked: Any) -> Any:
        import ray

        return ray.get(asked)
