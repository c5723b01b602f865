"""Schedulers that need long, or fail, beside a stream that goes on."""

from __future__ import annotations

import time

import numpy as np
import pytest
from virtual_cases import offloaded, profile, run, worth

from hasten.core.decision import Decision, Observer
from hasten.core.errors import InputError
from hasten.runtime.device.scheduler_host import FAILED, PLANNING
from hasten.schedulers import make_scheduler


class Plain:
    """Always the same option."""

    name = "plain"

    def __init__(self, option=0):
        self.option, self.views, self.resets = option, 0, 0

    def reset(self, context):
        self.resets += 1

    def decide(self, view):
        self.views += 1
        return Decision(np.array([self.option]))


def helper_of(world):
    return world.agent._machine.helper


def test_greedy_decides_until_a_slow_scheduler_is_ready():
    scheduler = Plain()

    def setting(world):
        helper_of(world).slow_ms = [12_000.0, 15_000.0]  # planning with the edge as it is, then a first decision

    records, world = run(setting, scheduler=scheduler, tasks=300)
    assert [r["note"] for r in records[:200]] == [PLANNING] * 200
    assert all(r["option"] == 0 and r["note"] is None for r in records[250:])
    assert offloaded(records[:200]) == 1.0  # Greedy's own choice
    assert sum("plans beside" in note for note in world.notes) == 1
    assert world.agent.failure is None


def test_a_scheduler_that_becomes_slow_is_asked_beside_from_then_on():
    class Sleepy(Plain):
        def decide(self, view):
            if self.views == 20:
                time.sleep(0.06)
            return super().decide(view)

    def setting(world):
        world.at(4000, lambda: setattr(helper_of(world), "slow_ms", [3000.0]))

    scheduler = Sleepy()
    records, _ = run(setting, scheduler=scheduler, tasks=100)
    planning = [r["task"] for r in records if r["note"] == PLANNING]
    assert planning == [] or all(r["outcome"] == "on_time" for r in records)
    assert scheduler.views == 100 - len(planning) or scheduler.views > 60


@pytest.mark.parametrize("how", ["raises", "answers outside its table", "answers nothing", "raises when it learns"])
def test_a_scheduler_that_fails_is_named_and_greedy_goes_on(how):
    class Broken(Plain, Observer):
        def decide(self, view):
            super().decide(view)
            if self.views < 10 or how == "raises when it learns":
                return Decision(np.array([0]))
            if how == "raises":
                raise ZeroDivisionError("by zero")
            return Decision(np.array([99])) if how.endswith("table") else None

        def observe(self, outcomes):
            if how == "raises when it learns" and self.views == 10:
                raise ZeroDivisionError("while learning")

    records, world = run(scheduler=Broken(), tasks=60)
    assert all(r["outcome"] == "on_time" for r in records)
    failed = [r["task"] for r in records if r["note"] == FAILED]
    assert failed == list(range(failed[0], 60)) and failed[0] in (9, 10)
    assert worth(records[10:]) == pytest.approx(max(e.accuracy for e in profile().exits))
    told = [note for note in world.notes if "plain" in note]
    assert len(told) == 1 and "greedy decides from now on" in told[0]
    assert world.agent.failure is not None and "scheduler plain failed" in world.agent.failure
    if how.endswith("table"):
        assert "option: got 99, expected 0..13" in told[0]


def test_a_scheduler_that_refuses_the_network_is_refused():
    class Choosy(Plain):
        def reset(self, context):
            raise InputError("policy", "network", "another", "this one")

    with pytest.raises(InputError, match="policy: network"):
        run(scheduler=Choosy())


def test_a_scheduler_that_is_refused_later_changes_nothing():
    class Choosy(Plain):
        def reset(self, context):
            raise InputError("policy", "network", "another", "this one")

    def setting(world):
        def take():
            with pytest.raises(InputError, match="policy: network"):
                world.agent.take_over(Choosy())
            taken.append(True)

        world.at(500, take)

    taken = []
    first = Plain()
    records, world = run(setting, scheduler=first, tasks=20)
    assert taken and world.agent.failure is None
    assert all(r["option"] == 0 for r in records) and first.views == 20


def test_slow_planning_for_a_new_round_trip_goes_on_beside():
    def setting(world):
        def changes():
            world.link.rtt(60.0)
            helper_of(world).slow_ms = [2000.0]

        world.at(3000, changes)

    records, _ = run(setting, scheduler=make_scheduler("greedy"), tasks=100, deadline_ms=150)
    assert any(r["note"] == PLANNING for r in records)
    assert all(r["outcome"] == "on_time" for r in records)
    assert records[-1]["note"] is None and records[-1]["facts"]["rtt_ms"] == pytest.approx(60.4, abs=1.0)
