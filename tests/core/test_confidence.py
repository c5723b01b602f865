"""Early stop by confidence: what a profile says of it, and what options then need and are worth."""

from __future__ import annotations

import numpy as np
import pytest
from stopping import LOSS, RIGHT_EARLY, RIGHT_LATE, confidence, stopping_profile

from hasten.core.confidence import draw_ease
from hasten.core.errors import InputError
from hasten.core.options import StreamCosts, option_table
from hasten.core.profile import Profile


def test_a_profile_reckons_with_stops_only_where_they_are_asked_for():
    profile = stopping_profile()
    plain = profile.stopping(None)
    assert plain.confidence is None and plain.accuracy(3, 4) == 0.9
    assert profile.stopping(LOSS) is profile and profile.stopping(0.5) is profile
    with pytest.raises(InputError, match=r"max_accuracy_loss.*at least 0\.01"):
        profile.stopping(0.005)
    with pytest.raises(InputError, match="not built with --max-accuracy-loss"):
        plain.stopping(LOSS)
    assert Profile.model_validate_json(profile.to_json()) == profile
    assert "confidence" not in plain.to_json()


def test_the_exits_on_the_way_are_those_behind_its_begin_up_to_its_end():
    profile = stopping_profile()
    assert profile.passed(0, 4, 3) == [1, 2]
    assert profile.passed(1, 4, 3) == [2]  # what the device has passed the edge does not look at again
    assert profile.passed(0, 2, 3) == [1]
    assert profile.passed(0, 3, 2) == [1]  # its own head is no stop
    assert stopping_profile(confidence=confidence([1, 3, 4], [None, 0.8, None])).passed(0, 4, 3) == [2]


def test_accuracy_is_that_of_all_tasks_and_of_an_answer_that_of_those_which_stop_there():
    profile = stopping_profile()
    assert profile.accuracy(3, 2) == pytest.approx(0.7 * RIGHT_EARLY + 0.3 * RIGHT_LATE)
    assert profile.answered_accuracy((3, 2), (1, 1)) == RIGHT_EARLY  # stopped on the device
    assert profile.answered_accuracy((3, 2), (2, 2)) == RIGHT_EARLY  # stopped at the edge
    assert profile.answered_accuracy((3, 2), (3, 2)) == RIGHT_LATE
    assert profile.answered_accuracy((3, 2), (2, 3)) == 0.8  # finished otherwise, on the device
    assert profile.answered_accuracy((3, 2), (0, 0)) == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"thresholds": [0.9, 0.8, 0.7]},
        {"thresholds": [0.9, None]},
        {"outcomes": confidence([1, 3], [0.9, None])["outcomes"]},
        {"max_accuracy_loss": 0.0},
    ],
)
def test_stops_of_another_network_are_refused(wrong):
    with pytest.raises(ValueError, match="confidence"):
        stopping_profile(confidence=confidence([1, 3, 4], [0.9, 0.8, None]) | wrong)


def test_an_option_needs_what_a_task_needs_that_goes_all_the_way_and_a_stop_what_its_exit_needs():
    table = option_table([StreamCosts(stopping_profile(), 2.0, 3.0)])
    stops = table.stops
    j = table.index(0, 3, 2)  # exit 1 is passed on the device, exit 2 at the edge
    assert table.device_ms[0, j] == pytest.approx(2 * (20 + 2) + 0.5)
    assert table.edge_ms[0, j] == pytest.approx(3 * (2 + 0.3 + 0.4))
    assert stops.until[0, j].tolist() == pytest.approx([0.4, 0.7, 1.0])
    assert stops.device_ms[0, j].tolist() == pytest.approx([2 * (10 + 2), 2 * (20 + 2) + 0.5, 2 * (20 + 2) + 0.5])
    assert stops.payload_bits[0, j].tolist() == [0, 8000, 8000]
    assert stops.edge_ms[0, j].tolist() == pytest.approx([0, 3 * (1 + 0.3), 3 * (2 + 0.3 + 0.4)])
    assert stops.accuracy[0, j].tolist() == [RIGHT_EARLY, RIGHT_EARLY, RIGHT_LATE]
    local = table.index(0, 3, 4)
    assert table.device_ms[0, local] == pytest.approx(2 * (40 + 2 + 3 + 4))
    assert stops.device_ms[0, local].tolist() == pytest.approx([2 * 12, 2 * (30 + 2 + 3), 2 * 49])
    first = table.index(0, 1, 0)  # behind its own exit nothing more is needed
    assert (np.ptp(stops.device_ms[0, first]), np.ptp(stops.edge_ms[0, first])) == (0, 0)


def test_without_stops_nothing_is_other_than_it_was():
    with_stops, without = (
        option_table([StreamCosts(p)]) for p in (stopping_profile(), stopping_profile().stopping(None))
    )
    assert without.stops is None
    assert without.device_ms[0, without.index(0, 3, 4)] == 40 + 4
    np.testing.assert_array_equal(with_stops.payload_bits, without.payload_bits)


def test_fewer_options_keep_their_stops():
    table = option_table([StreamCosts(stopping_profile()), StreamCosts(stopping_profile().stopping(None))])
    some, column = table.undominated()
    for m in range(2):
        for j in range(some.count[m]):
            np.testing.assert_array_equal(some.stops.edge_ms[m, j], table.stops.edge_ms[m, column[m, j]])
    assert table.stops.until[1, 0].tolist() == [1, 1, 1]  # a stream without stops beside one with
    np.testing.assert_array_equal(table.worth[1], table.accuracy[1])


def test_how_easy_tasks_are_is_drawn_for_each_stream_by_itself():
    one, two = draw_ease([5, 4], 3), draw_ease([5, 9], 3)
    np.testing.assert_array_equal(one, two[:9])
    assert len(set(two.tolist())) == 14 and two.min() >= 0 and two.max() < 1
