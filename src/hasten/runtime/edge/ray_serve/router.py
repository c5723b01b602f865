"""Which replica a call goes to. Only Ray Serve imports this file, by its name."""

from __future__ import annotations

from typing import Any

from ray.serve.request_router import FIFOMixin, RequestRouter


class IdleFirst(FIFOMixin, RequestRouter):
    """A replica that is known to be idle, if there is one; else Ray Serve asks them all.

    An edge has no more calls under way than replicas, so one is idle. Serve's own choice looks at two at random and
    waits if both are busy.
    """

    async def choose_replicas(self, candidate_replicas: list[Any], pending_request: Any = None) -> list[list[Any]]:
        """The candidates, the best first."""
        lengths = self.replica_queue_len_cache
        idle = [replica for replica in candidate_replicas if lengths.get(replica.replica_id) == 0]
        return [idle[:1] or list(candidate_replicas)]
