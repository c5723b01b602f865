"""Machines that do not keep to their profile, in virtual time: they are noticed, planned with, told of and written."""

from __future__ import annotations

import numpy as np
import pytest
from stopping import confidence
from virtual_cases import Cycle, between, profile, run

from hasten.core.profile import Profile, read_profile
from hasten.runtime.virtual.stand_in import StandIn

LEARNING_S = 2.0


def on_time(records) -> float:
    return float(np.mean([record["outcome"] == "on_time" for record in records]))


class Throttle:
    """A processor ``factor`` times slower than profiled, for work of at least a millisecond."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def __call__(self, planned_ms: float) -> float:
        return self.factor * planned_ms if planned_ms >= 1.0 else planned_ms


def told(world) -> list[str]:
    return [note for note in world.notes if "its profile" in note]


def predicted_well(records) -> bool:
    return all(r["latency_ms"] == pytest.approx(r["predicted_ms"], abs=1.0) for r in records if r["latency_ms"])


def test_a_device_that_is_throttled_halfway_is_planned_with_as_it_is():
    law = Throttle()

    def setting(world):
        world.at(10_000, lambda: setattr(law, "factor", 1.5))

    records, world = run(setting, edges=0, law=law, deadline_ms=100.0, rate_hz=8.0, tasks=160)
    before, after = between(records, 0, 10), between(records, 10 + LEARNING_S)
    assert {r["exit"] for r in before} == {3} and {r["exit"] for r in after} == {2}  # 78 ms; 79.5 of what were 53
    assert on_time(before) == on_time(after) == 1.0 and predicted_well(after)
    assert told(world) == [
        "device: exit 3 from partition 0 takes 117.00 ms, 78.00 ms by its profile (1.50 times); planned with what is "
        "measured"
    ]


def test_a_throttled_device_that_recovers_is_used_again_as_profiled():
    law = Throttle(1.5)

    def setting(world):
        world.at(10_000, lambda: setattr(law, "factor", 1.0))

    records, _ = run(setting, edges=0, law=law, deadline_ms=100.0, rate_hz=8.0, tasks=200)
    assert {r["exit"] for r in between(records, LEARNING_S, 10)} == {2}
    assert {r["exit"] for r in between(records, 15)} == {3}


def test_a_device_that_is_too_slow_for_everything_is_tried_again():
    law = Throttle(5.0)  # the first exit would take 140 ms of 100

    def setting(world):
        world.at(10_000, lambda: setattr(law, "factor", 1.0))

    records, _ = run(setting, edges=0, law=law, deadline_ms=100.0, rate_hz=8.0, tasks=200)
    lost = between(records, LEARNING_S, 10)
    assert np.mean([r["outcome"] == "dropped" for r in lost]) > 0.5
    assert on_time(between(records, 15)) == 1.0


@pytest.mark.parametrize("scheduler", ["fixed:4,0", "greedy"])
def test_an_edge_slower_than_profiled_is_told_of_once(scheduler):
    def setting(world):
        world.edge.service = lambda n, profiled_ms: 3.0 * profiled_ms

    records, world = run(setting, scheduler=scheduler, deadline_ms=100.0, tasks=100)
    assert on_time(between(records, LEARNING_S)) == 1.0 and predicted_well(between(records, LEARNING_S))
    assert told(world) == [
        "edge: exit 4 from partition 0 takes 30.90 ms, 10.30 ms by its profile (3.00 times); planned with what is "
        "measured"
    ]


def test_a_scheduler_that_only_offloads_goes_back_to_an_edge_that_was_slow():
    """Its tasks are refused as expired meanwhile: what the edge takes now has to be tried without them."""
    slow = {"factor": 20.0}

    def setting(world):
        world.edge.service = lambda n, profiled_ms: slow["factor"] * profiled_ms
        world.at(5_000, lambda: slow.update(factor=1.0))

    records, _ = run(setting, scheduler="fixed:4,0", deadline_ms=150.0, rate_hz=5.0, tasks=200)
    answered_there = [r["outcome"] == "on_time" and r["fallback"] is None for r in records]
    assert not any(answered_there[10:25])
    assert all(answered_there[100:])


def test_one_slower_segment_changes_that_segment_only():
    """Exits 3 and 4 in turns on the device; only the deepest one's kernel is slow here."""

    def law(planned_ms: float) -> float:
        return planned_ms + 40.0 if planned_ms > 100.0 else planned_ms

    records, world = run(
        edges=0,
        law=law,
        scheduler=Cycle([(3, 3), (4, 4)]),
        deadline_ms=200.0,
        rate_hz=4.0,
        tasks=60,
        network=profile(),
    )
    after = between(records, 5)
    assert predicted_well(after)
    for exit_, latency_ms in ((3, 78.0), (4, 143.0)):
        assert {round(r["latency_ms"]) for r in after if r["exit"] == exit_} == {round(latency_ms)}
    device = world.agent.learnt_profile()
    whole = [sum(b.device_ms for b in device.blocks[: e.after_block]) + e.device_ms for e in device.exits]
    assert whole[2] == pytest.approx(78.0, rel=0.03) and whole[3] == pytest.approx(143.0, rel=0.05)


def test_a_processor_that_clocks_down_between_rare_tasks_is_known_at_either_pace():
    """Once in two seconds each task takes 1.3 times as long; when they come often it does not."""
    law = Throttle(1.3)

    def setting(world):
        world.at(40_000, lambda: setattr(law, "factor", 1.0))

    rare = [2000.0 * i for i in range(20)]
    often = [40_000.0 + 125.0 * i for i in range(80)]
    records, _ = run(setting, edges=0, law=law, deadline_ms=100.0, times_ms=rare + often)
    assert {r["exit"] for r in between(records, 10, 40)} == {2}  # 69 ms; the third exit would take 101
    assert on_time(between(records, 10, 40)) == 1.0 and predicted_well(between(records, 10, 40))
    assert on_time(between(records, 42)) == 1.0 and {r["exit"] for r in between(records, 45)} == {3}


def test_what_a_task_costs_beyond_its_work_is_followed():
    """The profile says 0.5 ms; the alarm goes off 4 ms late."""

    def setting(world):
        world.agent._machine.alarm.late_ms = 4.0

    records, world = run(setting, edges=0, deadline_ms=100.0, tasks=60)
    assert world.agent.learnt_profile().task_ms == pytest.approx(4.0, abs=0.01)
    assert predicted_well(between(records, LEARNING_S))


@pytest.mark.parametrize("stops", [False, True])
def test_the_learnt_profile_is_a_profile_with_the_times_that_were_met(tmp_path, stops):
    """Also where each task runs the heads on its way, though none stops at them."""

    def setting(world):
        world.edge.service = lambda n, profiled_ms: 2.0 * profiled_ms

    options = [(e, p) for e in (2, 3, 4) for p in range(e + 1)]
    network = profile(confidence=confidence([1, 2, 3, 4], [0.9, 0.9, None, None])) if stops else profile()
    _, world = run(
        setting,
        law=Throttle(1.25),
        scheduler=Cycle(options),
        deadline_ms=400.0,
        rate_hz=2.0,
        tasks=160,
        network=network,
        runner=StandIn(network, np.array([0.99])),
    )
    path = tmp_path / "learnt.json"
    path.write_text(world.agent.learnt_profile().to_json())
    learnt = read_profile(path)
    assert learnt.source.startswith("learnt while running: device (") and learnt.source.endswith("before: made up")
    assert device_ms(learnt) == pytest.approx(1.25 * np.array(device_ms(network)), rel=0.03)
    assert edge_ms(learnt) == pytest.approx(2.0 * np.array(edge_ms(network)), rel=0.05)


def test_a_machine_that_keeps_to_its_profile_changes_and_tells_nothing():
    records, world = run(tasks=100, law=lambda planned_ms: 1.03 * planned_ms)
    assert told(world) == []
    learnt, network = world.agent.learnt_profile(), profile()
    for found, made in zip([*learnt.blocks, *learnt.exits], [*network.blocks, *network.exits], strict=True):
        assert (found.device_ms, found.edge_ms) == pytest.approx((made.device_ms, made.edge_ms), rel=1e-6)
    assert len({r["facts"]["plan"] for r in records}) == 1


def device_ms(network: Profile) -> list[float]:
    """Of every prefix, and of the whole network to each exit."""
    prefixes = np.cumsum([block.device_ms for block in network.blocks])
    return [*prefixes, *(prefixes[e.after_block - 1] + e.device_ms for e in network.exits)]


def edge_ms(network: Profile) -> list[float]:
    """Of the whole network to each exit but the first."""
    return [sum(b.edge_ms for b in network.blocks[: e.after_block]) + e.edge_ms for e in network.exits[1:]]
