"""Callbacks as robots have them (ROS): a picture comes in one, which must not wait; the answer goes to another."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import hasten as hs


class Recognizer:
    """In a ROS node: ``create_subscription(Image, "camera", recognizer.on_picture, 1)``, ``publisher.publish``."""

    def __init__(self, package: str, publish: Callable[[dict[str, Any]], None], edge: str | None = None) -> None:
        self.device, self.publish = hs.Device(package, edge=edge, deadline_ms=200), publish
        self.waiting: Future[hs.Answer] | None = None

    def on_picture(self, picture: Any) -> None:
        """Hand over a picture and return at once; what is still waiting is taken back: only the newest counts."""
        if self.waiting is not None:
            self.waiting.cancel()
        self.waiting = self.device.submit(picture)
        self.waiting.add_done_callback(self._on_answer)

    def _on_answer(self, done: Future[hs.Answer]) -> None:
        if not done.cancelled() and done.result().label is not None:
            self.publish(done.result().line())
