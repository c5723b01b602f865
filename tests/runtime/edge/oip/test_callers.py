"""Addresses that ask: what each may have under way, and who is remembered."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hasten.runtime.edge.oip.asking import AskError, Trouble
from hasten.runtime.edge.oip.callers import REMEMBERED, Callers
from hasten.runtime.edge.quota import Quota


def request(size_bytes):
    return SimpleNamespace(size_bytes=size_bytes, served=SimpleNamespace(max_submit_bytes=10))


def test_one_address_has_so_much_under_way_and_no_more():
    callers, quota = Callers(), Quota(tasks=2, size_bytes=100)
    caller = callers.at("10.0.0.1")
    with caller.asking(request(60), quota):
        with (
            pytest.raises(AskError, match="more than 100 bytes under way") as refused,
            caller.asking(request(41), quota),
        ):
            pass
        assert refused.value.trouble is Trouble.BUSY
        with caller.asking(request(40), quota):
            with pytest.raises(AskError, match="more than 2 tasks under way"), caller.asking(request(0), quota):
                pass
            with callers.at("10.0.0.2").asking(request(100), quota):  # another has its own
                pass
    with caller.asking(request(100), quota):
        assert caller.tasks == 1


def test_those_that_asked_last_and_those_with_tasks_are_remembered():
    callers = Callers()
    busy, idle = callers.at("busy"), callers.at("idle")
    with busy.asking(request(1), Quota()):
        for number in range(REMEMBERED):
            callers.at(f"address {number}")
        assert callers.at("busy") is busy
        assert callers.at("idle") is not idle
