"""A replica and its board in this process, without Ray: packages come and go, and share its memory."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from hasten.core.profile import SegmentBatches
from hasten.runtime.edge.ray_serve.board import Board, Offered
from hasten.runtime.edge.ray_serve.replica import Replica
from hasten.runtime.edge.served import Served
from hasten.split.executor import Executor

MEMORY_BYTES = 64 << 20


class Actor:
    """A board as an actor is called; what it is asked is answered at once."""

    def __init__(self, board):
        self._board = board

    def __getattr__(self, name):
        return SimpleNamespace(remote=getattr(self._board, name))


@pytest.fixture
def board(monkeypatch):
    monkeypatch.setattr(Replica, "_asked", staticmethod(lambda answer: answer))
    return Board(replicas=2)


def offer(board, package, **profile):
    given = package.profile.model_copy(update=profile) if profile else None
    board.offer(package.digest, Offered(package.path.name, package.path.read_bytes(), given))


def test_a_board_says_what_it_was_told(board, package):
    assert (board.wanted(), board.digests()) == (2, [])
    board.want(5)
    offer(board, package)
    assert (board.wanted(), board.digests()) == (5, [package.digest])
    assert board.offered(package.digest).name == package.path.name
    board.withdraw(package.digest)
    board.withdraw(package.digest)
    assert board.digests() == []


def test_what_the_board_has_is_warm_when_a_replica_has_begun(board, package):
    batches = (SegmentBatches(exit=2, partition=0, sizes=(1, 2), ms=(1.0, 1.1)),)
    offer(board, package, edge_batches=batches)
    replica = Replica(Actor(board), MEMORY_BYTES)
    ready = replica.hold(package.digest)
    assert ready.batches == {(0, 2)} and ready.shortfall is None
    frame, executor = package.samples()[0][:1], Executor(package)
    right = executor.outputs(0, 2, [frame])["logits"].tobytes()
    exit_, outputs = asyncio.run(replica.run(package.digest, 0, 2, [frame], False))
    assert exit_ == 2 and outputs["logits"].tobytes() == right
    together = asyncio.run(replica.run_together(package.digest, 0, 2, [[frame], [frame]]))
    assert len(together) == 2 and together[1]["logits"].argmax() == outputs["logits"].argmax()


def test_packages_share_the_memory_and_come_when_they_are_asked_for(board, package, newer):
    offer(board, package)
    replica = Replica(Actor(board), MEMORY_BYTES)
    first = replica._served[package.digest].runner
    assert first.memory_bytes == MEMORY_BYTES
    offer(board, newer)
    asyncio.run(replica.run(newer.digest, 0, 2, [newer.samples()[0][:1]], False))
    assert first.memory_bytes == replica._served[newer.digest].runner.memory_bytes == MEMORY_BYTES // 2
    replica.drop(newer.digest)
    replica.drop(newer.digest)
    assert list(replica._served) == [package.digest] and first.memory_bytes == MEMORY_BYTES
    with pytest.raises(KeyError):
        Board(2).offered("unknown")


def test_one_that_does_not_load_takes_no_memory(board, package, newer, monkeypatch):
    offer(board, package)
    replica = Replica(Actor(board), MEMORY_BYTES)
    offer(board, newer)
    monkeypatch.setattr(Served, "warm", lambda self: self.no_such_thing)
    with pytest.raises(AttributeError):
        replica.hold(newer.digest)
    assert list(replica._served) == [package.digest]
    assert replica._served[package.digest].runner.memory_bytes == MEMORY_BYTES


def test_too_little_memory_is_told(board, package):
    offer(board, package)
    ready = Replica(Actor(board), 1).hold(package.digest)
    assert "memory: 0 MB hold 1 of" in ready.shortfall
