"""The number that is asked of an edge's board, without Ray: only its answers are played."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from hasten.runtime.edge.ray_serve.policy import ASK_EVERY, WantedReplicas

THERE = SimpleNamespace(target_num_replicas=3)


@pytest.fixture
def asked(monkeypatch):
    """What the board has been asked and has not answered yet."""
    ray = pytest.importorskip("ray")
    futures = []

    def ask():
        futures.append(Future())
        return SimpleNamespace(future=lambda: futures[-1])

    def board(name, namespace):
        assert (name, namespace) == ("board", "hasten")
        return SimpleNamespace(wanted=SimpleNamespace(remote=ask))

    monkeypatch.setattr(ray, "get_actor", board)
    return futures


def called(policy, times):
    return [policy(THERE)[0] for _ in range(times)]


def test_as_many_as_the_board_says(asked):
    policy = WantedReplicas("board", "hasten")
    assert called(policy, 2 * ASK_EVERY) == [3] * (2 * ASK_EVERY) and len(asked) == 1
    asked[0].set_result(5)
    assert called(policy, ASK_EVERY) == [5] * ASK_EVERY and len(asked) == 2
    asked[1].set_result(2)
    assert called(policy, 1) == [2]


def test_as_many_as_there_are_while_the_board_is_not_heard(asked, monkeypatch):
    policy = WantedReplicas("board", "hasten")
    policy(THERE)
    asked[0].set_result(5)
    assert called(policy, ASK_EVERY) == [5] * ASK_EVERY
    asked[1].set_exception(RuntimeError("it died"))
    assert called(policy, 1) == [3]

    def gone(name, namespace):
        raise ValueError("no such actor")

    monkeypatch.setattr("ray.get_actor", gone)
    assert called(policy, 2 * ASK_EVERY) == [3] * (2 * ASK_EVERY)
