"""Spreads of profiles: read and refused by name, drawn from as they say, and the stated one told of once."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from hasten.core.errors import InputError
from hasten.core.files import validated
from hasten.core.noise import SHARES, NoisySource, TimeSpread, draw_noise, played, quantiles
from hasten.core.profile import Profile, read_profile
from hasten.core.profile_names import load_profile
from hasten.core.scenario import scenario_from

MEASURED = (0.9, 0.95, 0.98, 1.0, 1.02, 1.1, 1.3, 2.0, 4.0)
WHOLE = TimeSpread(device_ratio=MEASURED, edge_ratio=MEASURED, local_extra_ms=range(9), offload_extra_ms=range(9))


def spread_of(**given):
    return validated(TimeSpread, given, "here")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"device_ratio": MEASURED[:8]}, "9 numbers, the quantiles at 0, 0.1"),
        ({"edge_ratio": MEASURED[::-1]}, "numbers that do not fall"),
        ({"edge_ratio": (0.0, *MEASURED[1:])}, "edge_ratio"),
        ({"local_extra_ms": (-1.0, *MEASURED[1:])}, "local_extra_ms"),
        ({"offload_extra_ms": (*MEASURED[:8], float("nan"))}, "offload_extra_ms"),
        ({"offload_extra_ms": (*MEASURED[:8], float("inf"))}, "offload_extra_ms"),
        ({"jitter": 1.0}, "jitter"),
    ],
)
def test_what_is_no_spread_is_refused_by_name(given, words):
    with pytest.raises(InputError, match=words):
        spread_of(**given)


def test_a_spread_is_written_and_read_with_its_profile(tmp_path):
    known = load_profile("alexnet-pi", None).model_copy(update={"spread": TimeSpread(edge_ratio=MEASURED)})
    path = tmp_path / "known.json"
    path.write_text(known.to_json())
    assert read_profile(path) == known
    assert "spread" not in known.model_copy(update={"spread": None}).to_json()
    assert Profile.model_validate_json(known.to_json()).spread.device_ratio is None


def test_draws_have_the_quantiles_of_the_spread():
    noise = draw_noise([NoisySource(WHOLE, 1.0, 200_000), NoisySource(None, 1.0, 10)], [1.0], seed=4)
    found = np.quantile(noise.device_factor[:200_000], SHARES[1:-1])
    np.testing.assert_allclose(found, MEASURED[1:-1], rtol=0.02)
    assert noise.device_factor[:200_000].max() <= MEASURED[-1]
    assert noise.edge_factor.shape == (200_010, 1)
    extra_ms = np.quantile(noise.offload_extra_ms[:200_000], [0.5, 0.97])
    np.testing.assert_allclose(extra_ms, [3.0, 6.0], rtol=0.02)
    correlation = np.corrcoef(noise.device_factor[:200_000], noise.edge_factor[:200_000, 0])[0, 1]
    assert abs(correlation) < 0.01


def test_a_stream_is_drawn_alike_whatever_the_others_are():
    first, second = NoisySource(WHOLE, 1.0, 50), NoisySource(WHOLE, 1.0, 70)
    alone, beside = draw_noise([first], [1.0], seed=1), draw_noise([first, second], [1.0], seed=1)
    np.testing.assert_array_equal(alone.device_factor, beside.device_factor[:50])
    assert not np.array_equal(beside.device_factor[50:100], beside.device_factor[:50])


def test_what_is_played_slower_takes_its_multiple_or_what_the_measured_machine_takes():
    ratio = np.array([0.9, 1.0, 3.0, 8.0])
    np.testing.assert_array_equal(played(ratio, 1.0), ratio)
    np.testing.assert_array_equal(played(ratio, 4.0), [1.0, 1.0, 1.0, 2.0])
    measured = draw_noise([NoisySource(WHOLE, 1.0, 500)], [1.0], seed=2)
    slower = draw_noise([NoisySource(WHOLE, 2.0, 500)], [1.0, 3.0], seed=2)
    np.testing.assert_array_equal(slower.device_factor, np.maximum(1.0, measured.device_factor / 2.0))
    np.testing.assert_array_equal(slower.edge_factor[:, 0], measured.edge_factor[:, 0])
    np.testing.assert_array_equal(slower.edge_factor[:, 1], np.maximum(1.0, measured.edge_factor[:, 0] / 3.0))
    np.testing.assert_array_equal(slower.local_extra_ms, measured.local_extra_ms)  # of the host, whatever it plays


def test_quantiles_of_what_was_measured():
    assert quantiles(np.linspace(0.0, 1000.0, 1001).tolist()) == (0, 100, 250, 500, 750, 900, 970, 995, 1000)


def test_the_stated_spread_is_told_of_once_where_noise_is_asked(tmp_path):
    for name, spread in (("untold", None), ("half-told", TimeSpread(edge_ratio=MEASURED)), ("told", WHOLE)):
        profile = load_profile("alexnet-pi", None).model_copy(update={"name": name, "spread": spread})
        (tmp_path / f"{name}.json").write_text(profile.to_json())

    def scenario(*names, noise="profile"):
        stream = {"deadline_ms": 80, "arrivals": {"kind": "poisson", "rate_hz": 15}}
        return scenario_from(
            {
                "schema": "hasten.scenario/1",
                "streams": [{"name": name, "profile": str(tmp_path / f"{name}.json")} | stream for name in names],
                "uplink": {"rate": {"kind": "constant", "mbps": 10}},
                "tasks_per_stream": 4,
                "noise": noise,
            }
        )

    with pytest.warns(UserWarning, match="no measured spread from half-told, untold; the stated one is taken"):
        scenario("untold", "half-told", "told")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scenario("untold", "half-told", "told")
        scenario("told")
        scenario("untold", noise="none")
    with pytest.raises(InputError, match="noise"):
        scenario("told", noise="some")
