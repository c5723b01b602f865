"""Recordings that begin at another moment in every realization."""

from pathlib import Path

import numpy as np
import pytest

from hasten.core.scenario import Scenario, scenario_from

LENGTH_MS = 1000.0


def scenario(folder: Path, start: str) -> Scenario:
    (folder / "rate.csv").write_text("time_ms,mbps\n0,1\n250,2\n500,3\n750,4\n1000,4\n")
    (folder / "arrivals.txt").write_text("\n".join(str(t) for t in (0, 100, 150, 400, 900)) + "\n")
    trace = {"kind": "trace", "start": start}
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [
                {
                    "name": "cam",
                    "profile": "alexnet-pi",
                    "deadline_ms": 80,
                    "arrivals": trace | {"file": "arrivals.txt"},
                }
            ],
            "uplink": {"rate": trace | {"file": "rate.csv"}},
            "tasks_per_stream": 20,
        },
        folder / "scenario.yaml",
    )


def test_beginning_is_the_same_for_every_seed(tmp_path: Path) -> None:
    first, second = (scenario(tmp_path, "beginning").realize(seed) for seed in (0, 1))
    assert np.array_equal(first.arrival_ms, second.arrival_ms)
    assert np.array_equal(first.rates[0].bits_per_ms, second.rates[0].bits_per_ms)


@pytest.mark.parametrize("seed", range(5))
def test_random_start_is_the_recording_shifted(tmp_path: Path, seed: int) -> None:
    whole = scenario(tmp_path, "beginning").realize(0).rates[0]
    shifted = scenario(tmp_path, "random").realize(seed)
    period_ms = whole.period_ms
    assert shifted.rates[0].period_ms == pytest.approx(period_ms)
    begin_ms = np.random.default_rng([seed, 1, 0]).uniform(0.0, period_ms)
    for time_ms in np.linspace(0.5, 2.5 * period_ms, 91):
        assert shifted.rates[0].at(time_ms) == whole.at((time_ms + begin_ms) % period_ms)


def test_random_start_of_arrivals_keeps_the_recorded_gaps(tmp_path: Path) -> None:
    gaps = [np.diff(scenario(tmp_path, "random").realize(seed).arrival_ms) for seed in range(6)]
    recorded = np.diff(scenario(tmp_path, "beginning").realize(0).arrival_ms)
    assert len({tuple(g.round(6)) for g in gaps}) > 1
    for found in gaps:
        assert sorted(found[:5].round(6)) == pytest.approx(sorted(recorded[:5].round(6)))
