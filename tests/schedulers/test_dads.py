"""DADS against its definition, written out slowly."""

from __future__ import annotations

import numpy as np
import pytest

from hasten.core.decision import View
from hasten.core.errors import InputError
from hasten.core.scenario import Scenario, scenario_from
from hasten.schedulers import make_scheduler

BATCH = 300


def scenario(rate_hz: float, topology: str = "shared", workers: int = 1) -> Scenario:
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [
                {"name": "cam", "count": 2, "profile": "alexnet-pi", "deadline_ms": 80,
                 "arrivals": {"kind": "poisson", "rate_hz": rate_hz}},
                {"name": "phone", "profile": "efficientnet-b0", "deadline_ms": 150, "slowdown": 0.33,
                 "arrivals": {"kind": "poisson", "rate_hz": rate_hz / 2}},
            ],
            "uplink": {"topology": topology, "rtt_ms": 4, "rate": {"kind": "constant", "mbps": 10}},
            "edge": {"slowdown": 4, "workers": workers},
            "tasks_per_stream": 10,
        }
    )  # fmt: skip


def random_view(workers: int) -> View:
    rng = np.random.default_rng(0)
    return View(
        row=np.arange(BATCH),
        now_ms=np.zeros(BATCH),
        stream=rng.integers(0, 3, BATCH),
        device_wait_ms=rng.exponential(20, BATCH),
        uplink_wait_ms=rng.exponential(20, BATCH),
        edge_wait_ms=rng.exponential(10, (BATCH, workers)),
        rate_bits_per_ms=rng.uniform(2_000, 60_000, BATCH),
        others_wait_ms=np.zeros((BATCH, 3)),
    )


def stage_times(s: Scenario, m: int, j: int, rate: float) -> tuple[float, float, float]:
    o = s.options
    return float(o.device_ms[m, j]), float(o.payload_bits[m, j] / rate), float(o.edge_ms[m, j])


@pytest.mark.parametrize(("topology", "workers"), [("shared", 1), ("shared", 2), ("dedicated", 1)])
def test_takes_the_fastest_cut_while_it_keeps_up_and_else_the_cut_of_highest_throughput(
    topology: str, workers: int
) -> None:
    heavy = 0
    for rate_hz in (1.0, 8.0, 16.0):
        s = scenario(rate_hz, topology, workers)
        view = random_view(workers)
        scheduler = make_scheduler("dads")
        scheduler.reset(s.context(np.arange(BATCH)))
        uplink_sharers = 3 if topology == "shared" else 1
        for b, chosen in enumerate(scheduler.decide(view).option):
            m, rate = int(view.stream[b]), float(view.rate_bits_per_ms[b])
            final = [j for j in range(s.options.count[m]) if s.options.exit[m, j] == s.options.exit[m].max()]
            stages = {j: stage_times(s, m, j, rate) for j in final}
            total = {j: sum(times) + (4.0 if times[1] > 0 else 0.0) for j, times in stages.items()}
            busiest = {
                j: max(device, uplink_sharers * transfer, 3 * edge / workers)
                for j, (device, transfer, edge) in stages.items()
            }
            fastest = min(final, key=total.__getitem__)
            interval_ms = 1000.0 / (rate_hz if m < 2 else rate_hz / 2)
            if busiest[fastest] < interval_ms:
                assert total[int(chosen)] == pytest.approx(total[fastest])
            else:
                heavy += 1
                assert busiest[int(chosen)] == pytest.approx(min(busiest.values()))
            assert chosen in final
    assert 0 < heavy < 3 * BATCH


def test_takes_no_argument() -> None:
    with pytest.raises(InputError):
        make_scheduler("dads:1")
