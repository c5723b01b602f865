"""What an agent stands on: a clock, a processor, a codec and a helper thread. Given to it, so that time can be virtual.

:class:`Machine` of :func:`real_machine` is this computer. :mod:`hasten.runtime.virtual` has one without threads whose
time passes only when everybody waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.runtime.clock import Clock, SystemClock
from hasten.runtime.device.beside import Helper, HelperThread
from hasten.runtime.device.compute import Compute, ComputeQueue
from hasten.split.codecs import CutCodecs
from hasten.split.manifest import Cut

Encode = Callable[[Sequence[NDArray[np.generic]], Cut], bytes]


@dataclass(frozen=True)
class Machine:
    """Clock, alarm, processor, codec, and who plans beside the event loop.

    The alarm wakes the agent when a task arrives; it may go off late, as everything else may not.

    Attributes:
        shared_compute: whether the processor serves others, too, and goes on when this machine's agent ends.
    """

    clock: Clock
    alarm: Clock
    compute: Compute
    encode: Encode
    helper: Helper
    shared_compute: bool = False

    async def close(self) -> None:
        """End its threads."""
        if not self.shared_compute:
            await self.compute.close()
        self.clock.close()
        self.helper.close()


def real_machine(loop: asyncio.AbstractEventLoop | None = None, compute: Compute | None = None) -> Machine:
    """This computer, for one agent in the running event loop; with a processor of its own, or the one given."""
    at: Any = loop or asyncio.get_running_loop()
    clock = SystemClock(at)
    return Machine(clock, clock, compute or ComputeQueue(at), CutCodecs().encode, HelperThread(), compute is not None)
