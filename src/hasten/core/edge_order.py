"""The order in which an edge serves tasks that wait: the only copy, of the runtime's edge and of the simulator's.

Whoever has the smallest number is served first, equal ones as they came. A task that runs is never interrupted. Times
are in milliseconds on any common clock. ``latest_ms`` is by when the answer must leave the edge, or any time that is
later by as much for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hasten.core.jit import jitable_inline

ServiceOrder = Callable[[float, float], float]
"""What tasks are served by, the smallest first: of the time of arrival, and by when the answer must leave."""


@jitable_inline
def first_come(arrived_ms: Any, latest_ms: Any) -> Any:
    """First come, first served."""
    return arrived_ms


@jitable_inline
def earliest_deadline(arrived_ms: Any, latest_ms: Any) -> Any:
    """Earliest deadline first."""
    return latest_ms


QUEUES: dict[str, ServiceOrder] = {"fifo": first_come, "deadline": earliest_deadline}
"""By the names that scenarios and commands have for them."""
