"""Standby edges: who is dialled when, and that an agent whose edge is lost goes on with the next."""

import asyncio

import pytest

from hasten.core.errors import InputError
from hasten.runtime.device.address import parse_addresses
from hasten.runtime.device.dialing import StandbyDialer


class Edge:
    encrypted = False

    def __init__(self, where: str, up: bool = True) -> None:
        self.where, self.up = where, up

    async def dial(self, make):
        if not self.up:
            raise ConnectionRefusedError("refused")
        return self.where


def dialled(dialer: StandbyDialer, times: int) -> list[str]:
    async def main():
        return [await dialer.dial(asyncio.Protocol) for _ in range(times)]

    return asyncio.run(main())


def test_the_next_edge_is_dialled_after_each_that_was_lost():
    dialer = StandbyDialer([Edge("a:1"), Edge("b:1"), Edge("c:1")])
    assert dialled(dialer, 4) == ["a:1", "b:1", "c:1", "a:1"]
    assert dialer.where == "a:1"


def test_an_edge_that_cannot_be_reached_is_passed_over():
    first, second = Edge("a:1"), Edge("b:1", up=False)
    dialer = StandbyDialer([first, second])
    assert dialled(dialer, 2) == ["a:1", "a:1"]
    first.up = False
    with pytest.raises(ConnectionError, match=r"b:1: .*; a:1: "):
        dialled(dialer, 1)


def test_edges_are_written_with_commas():
    assert parse_addresses("10.0.0.7:7700, [::1]:7701") == [("10.0.0.7", 7700), ("::1", 7701)]
    for wrong in ("a:1,", "a:1,a:1", ",a:1"):
        with pytest.raises(InputError):
            parse_addresses(wrong)
