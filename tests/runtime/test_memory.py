"""What a device has ready, and what its decisions reckon with, when its memory does not hold all segments."""

from __future__ import annotations

import pytest

from hasten.core.profile import Profile
from hasten.runtime.device.beliefs import first_beliefs
from hasten.runtime.device.beside import HelperThread
from hasten.runtime.device.scheduler_adapter import SchedulerAdapter
from hasten.runtime.device.scheduler_host import SchedulerHost
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.edge.served import Served
from hasten.schedulers import make_scheduler
from hasten.split.executor import Executor


@pytest.fixture
def profile(package) -> Profile:
    return package.profile


def adapter(profile: Profile, scheduler: str, build_ms=None) -> SchedulerAdapter:
    host = SchedulerHost(make_scheduler(scheduler), HelperThread(), print)
    settings = AgentSettings(100.0, 10.0)
    return SchedulerAdapter(host, profile, settings, [first_beliefs(profile, 1.0)], build_ms)


def test_a_scheduler_of_one_option_needs_that_one_only(profile):
    assert adapter(profile, "fixed:1,0").usable() == [(1, 0)]
    everything = sum(exit_.after_block + 1 for exit_ in profile.exits)
    assert len(adapter(profile, "greedy").usable()) == everything


def test_decisions_reckon_with_building_what_is_not_held(profile):
    held = adapter(profile, "greedy")
    missing = adapter(profile, "greedy", lambda kind, partition, exit_: 30.0 if kind == "prefix" else 0.0)
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
