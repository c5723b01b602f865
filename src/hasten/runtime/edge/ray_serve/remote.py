"""A package that is served from replicas: what the edge's workers call in the place of an executor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hasten.core.profile import Profile
from hasten.runtime.edge.ray_serve.board import Ready
from hasten.runtime.edge.served import Served
from hasten.runtime.outputs import Outputs
from hasten.split.package import Package

Array = NDArray[np.generic]


class Replicas(Protocol):
    """Replicas that hold packages; :class:`~hasten.runtime.edge.ray_serve.application.Application` has them."""

    def call(self, method: str, *given: Any) -> Any:
        """What one of them answers; :class:`~hasten.runtime.edge.served.ReplicaError` if none does."""

    def hold(self, package: Package, profile: Profile | None) -> list[Ready]:
        """Have them all hold a package; what each tells of it."""

    def drop(self, digest: str) -> None:
        """They need it no longer."""


class RemoteRunner:
    """Runs a package's segments on replicas."""

    def __init__(self, digest: str, call: Callable[..., Any]) -> None:
        self._digest, self._call = digest, call

    def run(self, cut: int, exit_: int, tensors: Sequence[Array], may_stop: bool) -> tuple[int, Outputs]:
        """As :meth:`hasten.runtime.edge.served.Served.run`, in one call."""
        found: tuple[int, Outputs] = self._call("run", self._digest, cut, exit_, tensors, may_stop)
        return found

    def outputs(self, partition: int, exit_: int, tensors: Sequence[Array]) -> Outputs:
        """As :meth:`hasten.runtime.edge.served.EdgeRunner.outputs`."""
        return self.run(partition, exit_, tensors, False)[1]

    def outputs_of(self, partition: int, exit_: int, samples: Sequence[Sequence[Array]]) -> Sequence[Outputs]:
        """The same of several samples at once."""
        found: Sequence[Outputs] = self._call("run_together", self._digest, partition, exit_, samples)
        return found

    def check(self, partition: int, exit_: int, tensors: Sequence[Array]) -> tuple[Outputs, Sequence[Array]]:
        """As :meth:`hasten.runtime.edge.served.EdgeRunner.check`."""
        found: tuple[Outputs, Sequence[Array]] = self._call("check", self._digest, partition, exit_, tensors)
        return found


class RemoteServed(Served):
    """A package in service whose segments ``replicas`` run."""

    def __init__(
        self, package: Package, replicas: Replicas, slowdown: float = 1.0, profile: Profile | None = None
    ) -> None:
        self._remote = RemoteRunner(package.digest, replicas.call)
        super().__init__(package, self._remote, slowdown, profile)
        self._replicas, self._given_profile = replicas, profile
        self._told: list[Ready] = []

    def warm(self) -> None:
        """Have the replicas hold it; only what runs in batches on all of them is run so."""
        self._told = self._replicas.hold(self.package, self._given_profile)
        for ready in self._told:
            self._batches = {segment: it for segment, it in self._batches.items() if segment in ready.batches}

    def run(self, cut: int, exit_: int, tensors: Sequence[Array], may_stop: bool = False) -> tuple[int, Outputs]:
        """As :meth:`hasten.runtime.edge.served.Served.run`, in one call of a replica."""
        return self._remote.run(cut, exit_, tensors, may_stop)

    def end(self) -> None:
        """Have no replica hold it any more."""
        self._replicas.drop(self.package.digest)

    def shortfall(self) -> str | None:
        """As :meth:`hasten.runtime.edge.served.Served.shortfall`, of a replica."""
        found = [ready.shortfall for ready in self._told if ready.shortfall is not None]
        return f"{self.package.manifest.name}: {found[0]}" if found else None
