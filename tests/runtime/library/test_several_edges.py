"""``hs.Device`` with several edges, over real sockets in one process."""

from __future__ import annotations

import numpy as np

import hasten as hs

LONG_MS = 60_000.0


class Sent(hs.EdgeChoosing):
    """The earliest option that computes all of it at an edge."""

    name = "sent"

    def reset(self, context):
        self._context, options = context, context.options
        self._local = (options.partition[0] > 0) | (options.exit[0] < options.exit[0].max())

    def decide(self, view):
        latency_ms = np.where(self._local, np.inf, hs.predicted_latency(self._context, view)[0])
        return hs.Decision(np.array([latency_ms.argmin()]))


def test_frames_are_answered_by_whichever_edge_is_there(package, newer):
    """The first edge has another package, the second is closed half way, the third sees the rest through."""
    frames, told = package.samples()[0][:8], []
    with hs.Edge([newer.path], port=0) as wrong, hs.Edge([package.path], port=0) as third:
        second = hs.Edge([package.path], port=0)
        edges = f"{wrong.address},{second.address},{third.address}"
        with hs.Device(package.path, edges, Sent(), LONG_MS, on_event=told.append) as device:
            first = [device.infer(frame) for frame in frames]
            second.close()
            rest = [device.infer(frame) for frame in frames]
            stats = device.stats()
    assert all(answer.answered for answer in first + rest)
    assert {answer.edge for answer in first} <= {second.address, third.address}
    assert {answer.edge for answer in rest[1:]} == {third.address}
    assert [edge.name for edge in stats.edges] == edges.split(",")
    assert [edge.connected for edge in stats.edges] == [False, False, True]
    answered = [answer.edge for answer in first + rest]
    assert [edge.answers for edge in stats.edges] == [answered.count(name) for name in edges.split(",")]
    assert [answer.label for answer in first] == [answer.label for answer in rest]
    assert any(wrong.address in event.text and "left out" in event.text for event in told)


def test_a_scheduler_that_knows_one_edge_uses_one_at_a_time(package, caplog):
    caplog.set_level("INFO")
    with hs.Edge([package.path], port=0) as first, hs.Edge([package.path], port=0) as second:
        edges = f"{first.address},{second.address}"
        with hs.Device(package.path, edges, "linucb", LONG_MS) as device:
            answers = [device.infer(frame) for frame in package.samples()[0][:4]]
    assert {answer.edge for answer in answers} <= {first.address, None}
    assert caplog.text.count("scheduler linucb knows one edge: one is used at a time") == 1
