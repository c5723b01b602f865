"""One replica of an edge on Ray Serve: it holds the edge's packages and runs their segments."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.runtime.edge.ray_serve.board import Offered, Ready
from hasten.split.batches import batchable
from hasten.split.executor import Executor
from hasten.split.package import parse_package

Array = NDArray[np.generic]
Outputs = dict[str, Array]


class Replica:
    """Ray Serve makes it, where it wants to, and is ready when the packages of ``board`` (an actor) are warm.

    They share ``memory_bytes`` evenly. Methods that run segments are coroutines, so that no thread is changed for
    them; a replica runs one call at a time.
    """

    def __init__(self, board: Any, memory_bytes: int) -> None:
        self._board, self._memory_bytes = board, memory_bytes
        self._executors: dict[str, Executor] = {}
        self._ready: dict[str, Ready] = {}
        self._loading = threading.Lock()
        for digest in self._asked(board.digests.remote()):
            self.hold(digest)

    async def outputs(self, digest: str, partition: int, exit_: int, tensors: Sequence[Array]) -> Outputs:
        """As :meth:`hasten.split.executor.Executor.outputs`; ``digest`` is the package's."""
        return self._executor(digest).outputs(partition, exit_, tensors)

    async def outputs_of(
        self, digest: str, partition: int, exit_: int, samples: Sequence[Sequence[Array]]
    ) -> list[Outputs]:
        """The same of several samples at once."""
        return self._executor(digest).outputs_of(partition, exit_, samples)

    async def check(
        self, digest: str, partition: int, exit_: int, tensors: Sequence[Array]
    ) -> tuple[Outputs, list[Array]]:
        """As :meth:`hasten.split.executor.Executor.check`."""
        return self._executor(digest).check(partition, exit_, tensors)

    def hold(self, digest: str) -> Ready:
        """Have a package of the board warm; runs beside tasks."""
        with self._loading:
            if digest not in self._ready:
                offered: Offered = self._asked(self._board.offered.remote(digest))
                package = parse_package(offered.data, Path(offered.name))
                self._share(len(self._executors) + 1)
                executor = Executor(package, memory_bytes=self._memory_bytes // (len(self._executors) + 1), role="edge")
                executor.warm()
                kept = frozenset(batchable(executor, offered.batches))
                self._executors[digest] = executor
                self._ready[digest] = Ready(kept, executor.shortfall())
            return self._ready[digest]

    def drop(self, digest: str) -> None:
        """Hold a package no longer."""
        with self._loading:
            self._ready.pop(digest, None)
            if self._executors.pop(digest, None) is not None:
                self._share(len(self._executors))

    def _executor(self, digest: str) -> Executor:
        """One that is offered since this replica began, and that it was not told of, is loaded now."""
        if digest not in self._executors:
            self.hold(digest)
        return self._executors[digest]

    def _share(self, count: int) -> None:
        for executor in self._executors.values():
            executor.limit(self._memory_bytes // max(count, 1))

    @staticmethod
    def _asked(asked: Any) -> Any:
        import ray

        return ray.get(asked)
