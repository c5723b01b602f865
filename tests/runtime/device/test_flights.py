"""Frames without an answer: which are given up because later ones have been answered."""

from __future__ import annotations

import math
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from hasten.runtime.device.flights import Flights
from hasten.runtime.wire.load import LoadReport
from hasten.runtime.wire.tasks import EdgeAnswer, Status


@pytest.mark.parametrize(("reported", "given_up"), [(1, 1), (2, 0), (4, 0)])
def test_an_edge_with_more_workers_may_answer_a_later_frame_first(package, clock, reported, given_up):
    """Also when it has got them since the device came."""
    backlogs = MagicMock()
    beliefs = SimpleNamespace(
        link=MagicMock(knows_clock=False), edge=MagicMock(), backlogs=backlogs, overheads=MagicMock(),
        offload=SimpleNamespace(profiled_ms=0.0),
    )  # fmt: skip
    flights = Flights(clock, beliefs, MagicMock(), package.manifest.cuts, (False, False), lambda task: None)
    for number in (1, 2):
        flights.send(MagicMock(), b"", 0, 2, math.inf, MagicMock(name=str(number)), 1.0, None)
    report = LoadReport(1, 0, (0.0,) * reported)
    assert flights.answered(2, EdgeAnswer(Status.DONE, 2, 3, 0.9, 0, 0, 0, report), lambda segment, exit_: None)
    assert backlogs.transfer_gone.call_count == given_up
