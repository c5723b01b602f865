"""When a device pings: the rules at their edges."""

from __future__ import annotations

import pytest

from hasten.core import ping_schedule as schedule


def test_pings_are_the_fewer_the_longer_nothing_was_sent():
    assert schedule.pause_ms(30_000.0, 10_000.0, True) == 2000.0
    assert schedule.pause_ms(1e7, 0.0, True) == schedule.pause_ms(0.0, 0.0, False) == 60_000.0


@pytest.mark.parametrize(("frames_wait", "after_ms"), [(True, 100.0), (False, 1000.0)])
def test_a_ping_is_due_sooner_while_frames_wait(frames_wait, after_ms):
    assert not schedule.is_due(after_ms - 2.0 * schedule.SAME_MS, 0.0, 10.0, frames_wait)
    assert schedule.is_due(after_ms - 0.5 * schedule.SAME_MS, 0.0, 10.0, frames_wait)
    assert not schedule.is_due(after_ms, 0.0, after_ms + 2.0 * schedule.SAME_MS, frames_wait)


def test_idle_probing_saves_up_a_bounded_budget():
    assert schedule.saved_bytes(0.0, 1000.0, 3000.0) == 120.0
    assert schedule.saved_bytes(500.0, 0.0, 1e6) == 600.0


def test_a_probe_takes_five_milliseconds_within_bounds():
    assert schedule.probe_padding_bytes(0.0) == schedule.probe_padding_bytes(1.0) == 256
    assert schedule.probe_padding_bytes(8000.0) == 5000
    assert schedule.probe_padding_bytes(1e6) == 8192
