"""Drawing of realizations against their definitions, bit for bit: results are known by their seeds."""

from __future__ import annotations

import numpy as np
import pytest

from hasten.core.noise import SHARES, STATED
from hasten.core.scenario import scenario_from


def scenario_of(rate, **view):
    stream = {"profile": "alexnet-pi", "deadline_ms": 80, "arrivals": {"kind": "poisson", "rate_hz": 15}}
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [{"name": "cam", "count": 2} | stream],
            "uplink": {"topology": "dedicated", "rate": rate},
            "tasks_per_stream": 40,
            "view": view,
        }
    )


@pytest.mark.parametrize("memory", [0.0, 0.7])
def test_a_gauss_markov_rate_is_its_recurrence_step_by_step(memory):
    rate = {"kind": "gauss_markov", "mean_mbps": 10, "sigma_mbps": 6, "memory": memory, "step_ms": 20}
    drawn = scenario_of(rate).realize(3)
    for link, trace in enumerate(drawn.rates):
        noise = np.random.default_rng([3, 1, link]).standard_normal(round(trace.from_ms[-1] / 20) + 1)
        deviation = [noise[0]]
        for fresh in noise[1:]:
            deviation.append(memory * deviation[-1] + np.sqrt(1.0 - memory**2) * fresh)
        expected = np.maximum(10 + 6 * np.array(deviation), 0.1) * 1000.0
        found = [trace.at(20 * i) for i in range(len(expected))]  # neighbours of equal rate are one step of the trace
        np.testing.assert_array_equal(found, expected)


def test_what_is_not_random_is_not_drawn_and_errors_come_from_their_own_seed():
    sure = scenario_of({"kind": "constant", "mbps": 10})
    one, other = sure.realize(1), sure.realize(2)
    assert all(trace is one.rates[0] for trace in one.rates + other.rates)
    np.testing.assert_array_equal(one.rate_factor, 1.0)
    wrong = scenario_of({"kind": "constant", "mbps": 10}, rate_error=0.3).realize(1)
    noise = np.random.default_rng([1, 2]).standard_normal(80)
    np.testing.assert_array_equal(wrong.rate_factor, np.exp(0.3 * noise))
    np.testing.assert_array_equal(wrong.arrival_ms, one.arrival_ms)


def test_noise_has_a_random_stream_of_its_own_for_each_stream_of_tasks():
    quiet = scenario_of({"kind": "constant", "mbps": 10}, rate_error=0.3)
    noisy = quiet.model_copy(update={"noise": "profile"})
    one, other = quiet.realize(5), noisy.realize(5)
    assert one.noise is None
    np.testing.assert_array_equal(one.arrival_ms, other.arrival_ms)
    np.testing.assert_array_equal(one.rate_factor, other.rate_factor)
    for m in range(2):
        chances = np.random.default_rng([5, 3, m]).random((4, 40))
        own = other.noise.part(np.flatnonzero(other.stream == m))
        np.testing.assert_array_equal(own.device_factor, np.interp(chances[0], SHARES, STATED.device_ratio))
        np.testing.assert_array_equal(own.edge_factor[:, 0], np.interp(chances[1], SHARES, STATED.edge_ratio))
        np.testing.assert_array_equal(own.local_extra_ms, np.interp(chances[2], SHARES, STATED.local_extra_ms))
        np.testing.assert_array_equal(own.offload_extra_ms, np.interp(chances[3], SHARES, STATED.offload_extra_ms))


def test_a_part_of_a_realization_keeps_its_noise():
    noisy = scenario_of({"kind": "constant", "mbps": 10}).model_copy(update={"noise": "profile"}).realize(5)
    part = noisy.part(slice(10, 30))
    assert part.tasks == 20
    np.testing.assert_array_equal(part.noise.edge_factor, noisy.noise.edge_factor[10:30])
    np.testing.assert_array_equal(part.arrival_ms, noisy.arrival_ms[10:30])
