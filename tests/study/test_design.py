"""The study's grid: every point is a valid scenario of the conditions that it claims."""

import numpy as np
import pytest

from hasten.core.scenario import scenario_from
from hasten.study.design import BASES, SWEEPS, Conditions, Point, points_of, recordings_present

GENERATED = [point for sweep in SWEEPS.values() for point in points_of(sweep, ("generated",))]


def test_every_generated_point_is_a_scenario_with_its_number_of_streams() -> None:
    for conditions in {repr(point.conditions): point.conditions for point in GENERATED}.values():
        scenario = scenario_from(conditions.scenario())
        assert len(scenario.devices) == conditions.streams
        assert scenario.uplink.order == conditions.order
        assert scenario.context(np.zeros(1, dtype=np.int64)).rate_hz == pytest.approx(conditions.rate_hz)


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_changes_one_condition_only(name: str) -> None:
    panels: dict[object, list[Point]] = {}
    for point in points_of(SWEEPS[name], ("generated",)):
        panels.setdefault(point.panel, []).append(point)
    for points in panels.values():
        seen = [point.conditions for point in points]
        differing = {f for f in vars(seen[0]) if len({getattr(c, f) for c in seen}) > 1}
        assert differing == {SWEEPS[name].field}
        assert [point.x for point in points] == sorted({point.x for point in points})


def test_every_default_is_a_point_of_its_sweep() -> None:
    for profile, base in BASES.items():
        for sweep in SWEEPS.values():
            default = base.conditions(profile, 3, "grant", "generated")
            assert getattr(default, sweep.field) in sweep.points[profile]


def test_one_stream_has_one_order_and_quick_has_few_points() -> None:
    one = [point for point in GENERATED if point.panel.streams == 1]
    assert {point.conditions.order for point in one} == {"grant"}
    assert len(points_of(SWEEPS["deadline"], ("generated",), quick=True)) == 6


def test_bursts_keep_the_mean_rate() -> None:
    bursty = [c for c in (point.conditions for point in GENERATED) if c.burst > 1]
    assert {c.burst for c in bursty} == {2, 3, 4, 5}
    for conditions in bursty:
        low = conditions.scenario()["streams"][0]["arrivals"]["rates_hz"][1]
        assert low >= 0.0


@pytest.mark.skipif(not recordings_present(), reason="recordings are not part of the repository (set HASTEN_DATA)")
@pytest.mark.parametrize("profile", BASES)
def test_recordings_are_scaled_to_the_conditions(profile: str) -> None:
    conditions: Conditions = BASES[profile].conditions(profile, 3, "ready", "recorded")
    scenario = scenario_from(conditions.scenario())
    assert scenario.context(np.zeros(1, dtype=np.int64)).rate_hz == pytest.approx(conditions.rate_hz)
    trace = scenario.realize(3).rates[0]
    ends_ms = np.append(trace.from_ms[1:], trace.period_ms)
    mean = np.dot(ends_ms - trace.from_ms, trace.bits_per_ms) / trace.period_ms
    assert mean / 1000.0 == pytest.approx(conditions.mbps)
