"""What an agent makes of an option that its scheduler chose."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from virtual_cases import Cycle, profile

from hasten.runtime.device.beliefs import first_beliefs
from hasten.runtime.device.device_times import DeviceTimes
from hasten.runtime.device.scheduler_adapter import SchedulerAdapter
from hasten.runtime.device.scheduler_host import SchedulerHost
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.virtual.machine import InPlace

DEADLINE_MS = 100.0


@pytest.mark.parametrize("unseen_ms", [0.0, 40.0, 70.0])
def test_what_others_may_bring_takes_slack_and_does_not_make_an_option_too_late(unseen_ms):
    beliefs = first_beliefs(profile(), 1.0)
    host = SchedulerHost(Cycle([(4, 0), (4, 4)]), InPlace(SimpleNamespace(now_ms=lambda: 0.0)), print)
    adapter = SchedulerAdapter(host, profile(), AgentSettings(DEADLINE_MS, 10.0), [beliefs])
    beliefs.backlogs.rate_bits_per_ms, beliefs.backlogs.unseen_wait_ms = 1000.0, unseen_ms
    sent, local = adapter.decide(0.0, DEADLINE_MS), adapter.decide(0.0, DEADLINE_MS)
    assert sent.planned_ms == sent.latency_ms == pytest.approx(0.03 + 28.0 + 10.3 + 0.4)
    assert sent.slack == pytest.approx((DEADLINE_MS - sent.planned_ms - unseen_ms) / DEADLINE_MS)
    assert (sent.promised is None) == (sent.slack < 0.0) == (unseen_ms == 70.0)
    assert local.slack == pytest.approx((DEADLINE_MS - 103.0) / DEADLINE_MS)


def test_what_was_prepared_is_not_reckoned_again_for_the_next_decision(monkeypatch):
    beliefs = first_beliefs(profile(), 1.0)
    host = SchedulerHost(Cycle([(4, 4)]), InPlace(SimpleNamespace(now_ms=lambda: 0.0)), print)
    adapter = SchedulerAdapter(host, profile(), AgentSettings(DEADLINE_MS, 10.0), [beliefs])
    before_ms = adapter.decide(0.0, DEADLINE_MS).device_ms
    reckoned = []
    options_ms = DeviceTimes.options_ms
    monkeypatch.setattr(DeviceTimes, "options_ms", lambda *args: reckoned.append(1) or options_ms(*args))
    for _ in range(7):
        beliefs.device.ran((0, 4), 2.0 * before_ms)
    adapter.prepare()
    assert len(reckoned) == 1
    assert adapter.decide(1.0, DEADLINE_MS).device_ms == pytest.approx(2.0 * before_ms, rel=0.2)
    assert len(reckoned) == 2  # so much slower that the scheduler planned anew, with tables of its own
    beliefs.device.ran((0, 4), 2.0 * before_ms)
    adapter.prepare()
    adapter.decide(2.0, DEADLINE_MS)
    assert len(reckoned) == 3
