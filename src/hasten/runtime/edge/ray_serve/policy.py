"""Ray Serve's autoscaling, as hasten's edge wants it; it runs in Serve's controller, where hasten may be missing."""

from __future__ import annotations

from typing import Any

ASK_EVERY = 5
"""The controller calls a policy ten times a second; it asks once in so many calls."""


class WantedReplicas:
    """As many replicas as the edge's board says; while that is not heard, as many as there are."""

    def __init__(self, board: str, namespace: str) -> None:
        self._place = board, namespace
        self._asked: Any = None
        self._calls = 0
        self._wanted: int | None = None

    def __call__(self, context: Any) -> tuple[int, dict[str, Any]]:
        """The number, and no state; called by the controller, which must not be held up."""
        if self._asked is not None and self._asked.done():
            asked, self._asked = self._asked, None
            self._wanted = asked.result() if asked.exception() is None else None
        self._calls += 1
        if self._asked is None and self._calls % ASK_EVERY == 1:
            self._ask()
        return self._wanted if self._wanted is not None else context.target_num_replicas, {}

    def _ask(self) -> None:
        import ray

        name, namespace = self._place
        try:
            self._asked = ray.get_actor(name, namespace=namespace).wanted.remote().future()
        except ValueError:  # it has gone, and the edge with it
            self._wanted = None
