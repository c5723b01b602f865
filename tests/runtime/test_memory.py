"""What a device has ready, and what its decisions reckon with, when its memory does not hold all segments."""

from __future__ import annotations

import pytest

from hasten.core.profile import Profile
from hasten.runtime.device.beside import HelperThread
from hasten.runtime.device.deciding import AgentSettings, Decider
from hasten.runtime.device.edge_times import EdgeTimes
from hasten.runtime.device.estimate import LinkEstimate
from hasten.runtime.device.outlook import Outlook
from hasten.runtime.device.planning import Planner
from hasten.runtime.edge.served import Served
from hasten.schedulers import make_scheduler
from hasten.split.executor import Executor


@pytest.fixture
def profile(package) -> Profile:
    return package.profile


def decider(profile: Profile, scheduler: str, build_ms=None) -> Decider:
    link = LinkEstimate()
    planner = Planner(make_scheduler(scheduler), HelperThread(), print)
    settings = AgentSettings(100.0, 10.0)
    return Decider(planner, profile, settings, link, EdgeTimes(), Outlook(link), build_ms)


def test_a_scheduler_of_one_option_needs_that_one_only(profile):
    assert decider(profile, "fixed:1,0").usable() == [(1, 0)]
    everything = sum(exit_.after_block + 1 for exit_ in profile.exits)
    assert len(decider(profile, "greedy").usable()) == everything


def test_decisions_reckon_with_building_what_is_not_held(profile):
    held = decider(profile, "greedy")
    missing = decider(profile, "greedy", lambda kind, partition, exit_: 30.0 if kind == "prefix" else 0.0)
    table, slower = held._table, missing._table
    for j in range(int(table.count[0])):
        local = table.payload_bits[0, j] == 0
        extra = 0.0 if local or table.partition[0, j] == 0 else 30.0
        assert slower.device_ms[0, j] == pytest.approx(table.device_ms[0, j] + extra)


def test_the_edge_reckons_with_building_what_it_does_not_hold(package, profile):
    runner = Executor(package, memory_bytes=0, role="edge")
    runner.warm()
    served, all_held = Served(package, runner, 2.0, profile), Served(package, object(), 2.0, profile)
    last = len(profile.exits)
    assert runner.shortfall() is not None
    extra = served.edge_ms(0, last) - all_held.edge_ms(0, last)
    assert extra == pytest.approx(2.0 * runner.build_ms("finish", 0, last)) and extra > 0
