"""Load thresholds: the rule written out slowly, and tuning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hasten.api import simulate_batch
from hasten.core.decision import View
from hasten.core.errors import HastenError, InputError
from hasten.core.scenario import Scenario, scenario_from
from hasten.schedulers import make_scheduler
from hasten.schedulers.load_threshold import tune_load_threshold

CAM = {"name": "cam", "profile": "alexnet-pi", "deadline_ms": 80, "arrivals": {"kind": "poisson", "rate_hz": 15}}
PHONE = {
    "name": "phone",
    "profile": "efficientnet-b0",
    "deadline_ms": 150,
    "arrivals": {"kind": "poisson", "rate_hz": 6},
}


def scenario(streams: list[dict[str, Any]], tasks: int = 60) -> Scenario:
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": streams,
            "uplink": {"rate": {"kind": "constant", "mbps": 10}},
            "edge": {"slowdown": 4},
            "tasks_per_stream": tasks,
        }
    )


def random_view(batch: int, streams: int) -> View:
    rng = np.random.default_rng(0)
    return View(
        row=np.arange(batch),
        now_ms=np.zeros(batch),
        stream=rng.integers(0, streams, batch),
        device_wait_ms=rng.exponential(20, batch),
        uplink_wait_ms=rng.exponential(20, batch),
        edge_wait_ms=np.sort(rng.exponential(10, (batch, 2)), axis=1),
        rate_bits_per_ms=np.full(batch, 10_000.0),
        others_wait_ms=np.zeros((batch, streams)),
    )


def slow_latency(s: Scenario, view: View, b: int, j: int) -> float:
    o, m = s.options, view.stream[b]
    done = float(view.device_wait_ms[b] + o.device_ms[m, j])
    if o.payload_bits[m, j] == 0:
        return done
    sent = max(done, float(view.uplink_wait_ms[b])) + float(o.payload_bits[m, j]) / 10_000
    return max(sent, float(view.edge_wait_ms[b, 0])) + float(o.edge_ms[m, j])


@pytest.mark.parametrize(
    ("name", "streams", "thresholds"),
    [
        ("load-threshold:0.3,0.9", [CAM, CAM | {"name": "other"}], {0: (0.3, 0.9), 1: (0.3, 0.9)}),
        ("load-threshold", [CAM, PHONE], {0: (1 / 3, 2 / 3), 1: (0.2, 0.4, 0.6, 0.8)}),
    ],
)
def test_exit_by_load_at_the_earliest_cut(
    name: str, streams: list[dict[str, Any]], thresholds: dict[int, tuple[float, ...]]
) -> None:
    s = scenario(streams)
    view = random_view(400, 2)
    scheduler = make_scheduler(name)
    scheduler.reset(s.context(np.arange(400)))
    seen = set()
    for b, chosen in enumerate(scheduler.decide(view).option):
        m = int(view.stream[b])
        load = view.device_wait_ms[b] + view.uplink_wait_ms[b] + view.edge_wait_ms[b, 0]
        passed = [share for share in thresholds[m] if load >= share * s.deadlines_ms[m]]
        expected = len(thresholds[m]) + 1 - len(passed)
        assert s.options.exit[m, chosen] == expected
        cuts = [j for j in range(s.options.count[m]) if s.options.exit[m, j] == expected]
        assert slow_latency(s, view, b, int(chosen)) == pytest.approx(min(slow_latency(s, view, b, j) for j in cuts))
        seen.add((m, expected))
    assert len(seen) == sum(len(shares) + 1 for shares in thresholds.values())


def test_tuning_beats_the_defaults_and_names_its_thresholds() -> None:
    s = scenario([CAM | {"count": 3}])
    tuned = tune_load_threshold(s, seeds=range(500, 540))
    runs = {
        name: np.mean([result.mean_gain for result in simulate_batch(s, make_scheduler(name), range(40))])
        for name in (tuned.name, "load-threshold")
    }
    assert runs[tuned.name] > runs["load-threshold"] + 0.02


def test_tuning_rules_out_exits_that_are_never_in_time() -> None:
    slow = scenario([CAM | {"deadline_ms": 30}])  # only the first exit, on the device
    tuned = tune_load_threshold(slow, seeds=range(500, 504))
    assert tuned.name.startswith("load-threshold:0,0")
    result = simulate_batch(slow, tuned, [0])[0]
    assert set(result.decisions[:, 0]) <= {0, 1}
    assert result.mean_gain > 0.3


def test_tuning_needs_comparable_streams() -> None:
    with pytest.raises(HastenError, match="number of exits"):
        tune_load_threshold(scenario([CAM, PHONE]))


@pytest.mark.parametrize("argument", ["x", "0.5,0.2", "-1,2", "nan,1", "1,inf", ","])
def test_wrong_thresholds_are_refused(argument: str) -> None:
    with pytest.raises(InputError, match="ascending shares"):
        make_scheduler(f"load-threshold:{argument}")


def test_thresholds_that_do_not_fit_the_exits_are_refused() -> None:
    with pytest.raises(HastenError, match="expected 2"):
        make_scheduler("load-threshold:0.5").reset(scenario([CAM]).context(np.arange(1)))
