"""Deadlines of single calls: decisions are those of a scheduler that is planned with just that deadline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hasten.core.decision import Observer
from hasten.core.errors import InputError
from hasten.core.profile_names import load_profile
from hasten.runtime.device.beliefs import first_beliefs
from hasten.runtime.device.beside import HelperThread
from hasten.runtime.device.deadlines import MOST_DEADLINES
from hasten.runtime.device.scheduler_adapter import SchedulerAdapter
from hasten.runtime.device.scheduler_host import SchedulerHost
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.device.tasks import Task
from hasten.schedulers.greedy import Greedy

PROFILE = load_profile("alexnet-pi")


class Fussy(Greedy):
    """Takes no deadline below 50 ms, and cannot be copied where it says so."""

    copies = True

    def reset(self, context):
        if context.deadline_ms[0] < 50.0:
            raise InputError(self.name, "deadline_ms", context.deadline_ms[0], "at least 50")
        super().reset(context)

    def __deepcopy__(self, memo):
        if not self.copies:
            raise TypeError("not to be copied")
        return type(self)()


class Alone(Fussy):
    copies = False


def adapter_of(deadline_ms, scheduler=Greedy):
    helper, beliefs = HelperThread(), first_beliefs(PROFILE, 1.0)
    host = SchedulerHost(scheduler(), helper, print)
    return SchedulerAdapter(host, PROFILE, AgentSettings(deadline_ms, 10.0), [beliefs]), beliefs.backlogs


def show(backlogs, device_ms, uplink_ms, edge_ms, rate):
    backlogs.device_wait_ms, backlogs.uplink_wait_ms = device_ms, uplink_ms
    backlogs.edge_wait_ms, backlogs.rate_bits_per_ms = [edge_ms], rate


def test_any_number_of_deadlines_is_decided_as_if_planned_with_each():
    deadlines = [float(deadline) for deadline in np.random.default_rng(1).permutation(np.arange(20, 400, 12))]
    asked, shown = adapter_of(100.0)
    rng, kinds = np.random.default_rng(2), set()
    for deadline_ms in [*deadlines, *deadlines]:
        planned, its = adapter_of(deadline_ms)
        for _ in range(4):
            seen = (*rng.uniform(0, 0.6 * deadline_ms, 3), 10 ** rng.uniform(2.5, 5))
            show(shown, *seen)
            show(its, *seen)
            got, wanted = asked.decide(0.0, deadline_ms), planned.decide(0.0, deadline_ms)
            assert got == wanted
            kinds.add(None if got is None else (got.exit, got.partition))
    assert len(kinds) > 5 and len(asked._by_deadline._others) == MOST_DEADLINES - 1
    assert asked.limit_ms(50.0) == planned.limit_ms(50.0) == pytest.approx(50.0)


def test_every_deadline_is_a_plan_of_its_own_in_the_log():
    adapter, backlogs = adapter_of(100.0)
    show(backlogs, 0.0, 0.0, 0.0, 1e4)
    plans = {}
    for deadline_ms in [100.0, *range(30, 50), 100.0, 30.0]:
        adapter.decide(5.0, float(deadline_ms))
        plans.setdefault(adapter.facts.plan, set()).add(deadline_ms)
    assert all(len(deadlines) == 1 for deadlines in plans.values())
    assert {100.0} in plans.values() and {30} in plans.values()


def test_new_facts_reach_every_copy():
    adapter, backlogs = adapter_of(100.0)
    show(backlogs, 0.0, 0.0, 0.0, 1e4)
    adapter.decide(0.0, 200.0)
    adapter.plan(0, 2.0, 3)
    show(backlogs, 0.0, 0.0, 0.0, 1e4)
    backlogs.edge_wait_ms = [0.0, 0.0, 0.0]
    adapter.decide(1.0, 200.0)
    assert (adapter.facts.workers, adapter.facts.edge_slowdown, adapter.planned_for_ms) == (3, 2.0, 200.0)
    other = Fussy()
    adapter.take_over(other)
    adapter.decide(2.0, 200.0)
    assert adapter._own.host.scheduler is other and isinstance(adapter._asked.host.scheduler, Fussy)


@pytest.mark.parametrize("scheduler", [Fussy, Alone])
def test_a_scheduler_that_refuses_or_cannot_be_copied_is_shown_the_difference(scheduler):
    adapter, backlogs = adapter_of(100.0, scheduler)
    exact, its = adapter_of(40.0)
    for device_ms in (0.0, 10.0, 30.0, 50.0):
        show(backlogs, device_ms, 0.0, 0.0, 1e4)
        show(its, device_ms, 0.0, 0.0, 1e4)
        got, wanted = adapter.decide(0.0, 40.0), exact.decide(0.0, 40.0)
        assert got == wanted and adapter.planned_for_ms == 100.0
    show(backlogs, 0.0, 0.0, 0.0, 1e4)
    assert adapter.failure is None
    if scheduler is Alone:  # a longer deadline is decided as the device's own
        adapter.decide(0.0, 300.0)
        assert adapter.planned_for_ms == 100.0


def test_outcomes_reach_whoever_decided():
    class Learner(Greedy):
        def reset(self, context):
            super().reset(context)
            self.heard = ()

        def observe(self, outcomes):
            self.heard = (*self.heard, *outcomes.latency_ms.tolist())

    adapter, backlogs = adapter_of(100.0, type("Observing", (Learner, Observer), {}))
    show(backlogs, 0.0, 0.0, 0.0, 1e4)
    for deadline_ms in (100.0, 60.0):
        choice = adapter.decide(0.0, deadline_ms)
        task = Task(0, None, 0.0, deadline_ms, deadline_ms, adapter.planned_for_ms, option=choice.option)
        adapter.learn(replace(task, finish_ms=deadline_ms / 2))
        adapter.decide(0.0, deadline_ms)
        assert adapter._asked.host.scheduler.heard == (deadline_ms / 2,)
