"""From a request of the protocol to a task of the edge's core, and from its answer back."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import numpy as np

from hasten.runtime.edge.carried import CarriedWork
from hasten.runtime.edge.core import EdgeCore
from hasten.runtime.edge.oip.asking import AskError, InferAsk, Inferred, Parameters, Trouble
from hasten.runtime.edge.oip.callers import Callers
from hasten.runtime.edge.oip.models import Models
from hasten.runtime.edge.oip.tensors import read_tensors
from hasten.runtime.edge.queue import Ticket
from hasten.runtime.edge.quota import Quota
from hasten.runtime.edge.served import Refusal, Request, Served
from hasten.runtime.outputs import Outputs
from hasten.runtime.wire.frames import Code
from hasten.runtime.wire.tasks import EdgeAnswer, Status
from hasten.split.manifest import TensorSpec

KNOWN = ("exit", "partition", "deadline_ms", "timeout", "priority", "binary_data_output")
"""Parameters of a request; ``priority`` says nothing here, ``binary_data_output`` is for the HTTP side."""
_TROUBLES = {Code.BUSY: Trouble.BUSY, Code.QUOTA: Trouble.BUSY, Code.CLOSING: Trouble.CLOSING, Code.CUT: Trouble.WRONG}


class InferenceDoor:
    """The protocol's calls on one edge, to be made in one event loop.

    Attributes:
        models: what may be asked for.
    """

    def __init__(self, core: EdgeCore, quota: Quota) -> None:
        self.models = Models(core.services)
        self._core = core
        self._callers = Callers()
        self._quota = quota

    def now_ms(self) -> float:
        """The edge's clock."""
        return self._core.clock.now_ms()

    async def infer(self, ask: InferAsk, address: str) -> Inferred:
        """Run a task that ``address`` asks for.

        Raises:
            AskError: it is not answered, and why.
        """
        served = self.models.find(ask.model, ask.version)
        exit_, partition, latest_ms = _choice(served, ask)
        manifest = served.package.manifest
        specs = _wanted(ask.outputs, manifest.outputs(exit_))
        tensors = read_tensors(ask.inputs, manifest.cuts[partition].tensors, f"partition {partition} of {ask.model}")
        size_bytes = sum(spec.nbytes for spec in manifest.cuts[partition].tensors)

        def pack(_: int, outputs: Outputs) -> bytes:
            return b"".join(np.ascontiguousarray(outputs[spec.name]).tobytes() for spec in specs)

        request = Request(served, partition, exit_, lambda: tensors, size_bytes, latest_ms, pack)
        caller = self._callers.at(address)
        with caller.asking(request, self._quota):
            outcome = await self._outcome(request, caller.carried)
        return _inferred(served, partition, specs, outcome)

    async def _outcome(self, request: Request, carried: CarriedWork) -> EdgeAnswer | Refusal:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[EdgeAnswer | Refusal] = loop.create_future()

        def tell(outcome: EdgeAnswer | Refusal) -> None:
            if not answered.done():
                answered.set_result(outcome)

        def reply(ticket: Ticket, outcome: EdgeAnswer | Refusal) -> None:
            loop.call_soon_threadsafe(tell, outcome)

        ticket = self._core.submit(request, reply, carried)
        try:
            return await answered
        except asyncio.CancelledError:
            self._core.abandon(ticket)
            raise


def _choice(served: Served, ask: InferAsk) -> tuple[int, int, float]:
    """Exit, partition, and by when (edge's clock)."""
    for name in ask.parameters:
        if name not in KNOWN:
            text = f"parameters: got {name[:80]!r}, expected exit, partition, deadline_ms or timeout"
            raise AskError(Trouble.WRONG, text)
    last = len(served.package.manifest.exits)
    exit_ = _whole(ask.parameters, "exit", last)
    partition = _whole(ask.parameters, "partition", 0)
    if not served.has(partition, exit_):
        text = f"parameters: got exit {exit_} and partition {partition}, expected exit 1..{last} and a partition"
        raise AskError(Trouble.WRONG, f"{text} that leaves something to the edge")
    deadline_ms = _positive(ask.parameters, "deadline_ms")
    timeout_ms = _positive(ask.parameters, "timeout") / 1000.0  # the protocol's, in microseconds
    return exit_, partition, ask.arrived_ms + min(deadline_ms, timeout_ms)


def _whole(parameters: Parameters, name: str, default: int) -> int:
    value = parameters.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise AskError(Trouble.WRONG, f"parameters: {name}: got {str(value)[:80]!r}, expected a whole number")
    return value


def _positive(parameters: Parameters, name: str) -> float:
    """A number above 0, infinity where there is none; 0 stands for none, as in tritonclient."""
    value = parameters.get(name, 0)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= float(str(value)) < math.inf:
        raise AskError(Trouble.WRONG, f"parameters: {name}: got {str(value)[:80]!r}, expected a number above 0")
    return float(str(value)) or math.inf


def _wanted(names: Sequence[str], specs: Sequence[TensorSpec]) -> list[TensorSpec]:
    """The outputs that are asked for, all where none is named."""
    known = {spec.name: spec for spec in specs}
    for name in names:
        if name not in known:
            raise AskError(Trouble.WRONG, f"outputs: got {name[:80]!r}, expected some of {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)] or list(specs)


def _inferred(served: Served, partition: int, specs: Sequence[TensorSpec], outcome: EdgeAnswer | Refusal) -> Inferred:
    if isinstance(outcome, Refusal):
        raise AskError(_TROUBLES.get(outcome.code, Trouble.FAILED), outcome.text, outcome.retry_ms)
    if outcome.status is Status.LATE:
        text = "it could not have been answered by its deadline; it was not run"
        raise AskError(Trouble.LATE, text, outcome.retry_ms)
    if outcome.status is Status.INVALID:
        raise AskError(Trouble.FAILED, "the network's output is not finite")
    told: dict[str, int | float] = {"exit": outcome.exit, "partition": partition}
    if served.package.manifest.classes:
        told |= {"class": outcome.class_index, "confidence": outcome.confidence}
    told |= {"queue_us": outcome.queue_us, "compute_us": outcome.compute_us}
    packed, outputs, start = memoryview(outcome.outputs), [], 0
    for spec in specs:
        outputs.append((spec, bytes(packed[start : start + spec.nbytes])))
        start += spec.nbytes
    return Inferred(served, outputs, told)
