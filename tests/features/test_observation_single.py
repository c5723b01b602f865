"""The lean observations of one decision are those of the batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hasten.core.decision import View
from hasten.core.scenario import scenario_from
from hasten.features.afterstates import AfterstateFeatures, afterstates_of, gains_of
from hasten.features.afterstates_single import SingleAfterstates
from hasten.features.layout import BACKLOGS, ContextFeature, OptionFeature
from hasten.features.observation import CLIP
from hasten.features.observation_batch import Features
from hasten.features.observation_single import SingleFeatures

GAINS = [{"kind": "on_time_accuracy"}, {"kind": "tradeoff", "lambda": 0.3, "rho": 0.1}, {"kind": "soft", "kappa": 0.5}]


@pytest.fixture(scope="module")
def contexts():
    """Streams of two networks and deadlines, for each gain."""
    found = []
    for gain in GAINS:
        streams = [
            {
                "name": f"s{i}",
                "count": 1,
                "profile": ("alexnet-pi", "efficientnet-b0")[i % 2],
                "deadline_ms": 60.0 + 35 * i,
                "arrivals": {"kind": "poisson", "rate_hz": 5 + i},
                "slowdown": 1 + 0.1 * i,
            }
            for i in range(10)
        ]
        scenario = scenario_from(
            {
                "schema": "hasten.scenario/1",
                "streams": streams,
                "uplink": {"rate": {"kind": "constant", "mbps": 10}},
                "gain": gain,
                "tasks_per_stream": 1,
            }
        )
        found.append((scenario.context(np.zeros(1, np.int64)), scenario.options.undominated()[0]))
    return found


@settings(max_examples=80)
@given(
    gain=st.integers(0, 2),
    streams=st.sampled_from([1, 2, 5, 7, 8, 10]),
    workers=st.sampled_from([1, 2, 7, 8, 9, 17]),
    rtt_ms=st.sampled_from([0.0, 7.3]),
    ready_order=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_lean_features_are_those_of_the_batch(contexts, gain, streams, workers, rtt_ms, ready_order, seed):
    everything, table = contexts[gain]
    context = replace(
        everything,
        deadline_ms=everything.deadline_ms[:streams],
        rate_hz=everything.rate_hz[:streams],
        workers=workers,
        rtt_ms=rtt_ms,
        streams=streams,
        ready_order=ready_order,
    )
    options = type(table)(
        **{name: None if values is None else values[:streams] for name, values in vars(table).items()}
    )
    rng = np.random.default_rng(seed)
    batch, single = Features(context, options), SingleFeatures(context, options)
    many, one = AfterstateFeatures(context, options), SingleAfterstates(context, options)
    out = np.empty(batch.layout.size, dtype=np.float32)
    now_ms = 0.0
    for _ in range(5):
        now_ms += rng.exponential(40.0)
        scale = 10.0 ** rng.uniform(-1, 3)
        view = View(
            row=np.zeros(1, np.int64),
            now_ms=np.array([now_ms]),
            stream=rng.integers(streams, size=1),
            device_wait_ms=rng.exponential(scale, 1) * rng.integers(2),
            uplink_wait_ms=rng.exponential(scale, 1),
            edge_wait_ms=np.sort(rng.exponential(scale, (1, workers))),
            rate_bits_per_ms=rng.exponential(1e4, 1) * (rng.random() < 0.9),
            others_wait_ms=rng.exponential(scale, (1, streams)),
            unseen_wait_ms=rng.exponential(scale, 1) if rng.random() < 0.5 else None,
        )
        expected, mask = batch.observe(view)
        single.observe(view, out)
        assert np.array_equal(out, expected[0])
        assert np.array_equal(single.feasible, mask[0, :-1] == 1)
        seen, allowed, _ = many.observe(view)
        stream = one.observe(view)
        order, deadline_ms = stream.order, stream.deadline_ms
        useful = ~one.useless
        assert np.array_equal(useful, allowed[0, order] == 1) and useful[-1]
        layout = many.layout
        gain, latency = gains_of(seen)[0], seen[0, layout.block(OptionFeature.LATENCY)]
        before_ms = [view.device_wait_ms[0], view.uplink_wait_ms[0], view.edge_wait_ms[0, 0]]
        known = np.minimum(np.array(before_ms) / deadline_ms, CLIP) if ready_order else np.zeros(3)
        np.testing.assert_allclose(
            seen[0, [ContextFeature.DEVICE_WAIT, ContextFeature.UPLINK_WAIT, ContextFeature.EDGE_WAIT]],
            known,
            rtol=1e-6,
        )
        near = {"rtol": 1e-6, "atol": 1e-7}
        np.testing.assert_allclose(one.context, [*seen[0, layout.context], 1.0], **near)
        np.testing.assert_allclose(stream.gain(one.latency_ms)[useful], gain[order][useful], **near)
        np.testing.assert_allclose(np.minimum(one.latency_ms / deadline_ms, CLIP), latency[order[:-1]], **near)
        by_option = afterstates_of(seen)[0].T[order]
        np.testing.assert_allclose(one.left_ms[:, :BACKLOGS] / deadline_ms, by_option, **near)
        assert (one.left_ms[:, BACKLOGS] == 1).all()


def test_links_and_gaps_that_vary_are_told_from_even_ones():
    context = scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [
                {
                    "name": "cam",
                    "profile": "alexnet-pi",
                    "deadline_ms": 80,
                    "arrivals": {"kind": "poisson", "rate_hz": 10},
                }
            ],
            "uplink": {"rate": {"kind": "constant", "mbps": 10}},
            "tasks_per_stream": 10,
        }
    ).context(np.zeros(1, np.int64))
    table, _ = context.options.undominated()
    rng = np.random.default_rng(0)

    def deviations(gaps_ms, rates):
        features, now_ms = AfterstateFeatures(context, table), 0.0
        for gap_ms, rate in zip(gaps_ms, rates, strict=True):
            now_ms += gap_ms
            nothing = np.zeros((1, 1))
            view = View(
                row=np.zeros(1, np.int64),
                now_ms=np.array([now_ms]),
                stream=np.zeros(1, np.int64),
                device_wait_ms=np.zeros(1),
                uplink_wait_ms=np.zeros(1),
                edge_wait_ms=nothing,
                rate_bits_per_ms=np.array([rate]),
                others_wait_ms=nothing,
            )
            seen, _, _ = features.observe(view)
        return seen[0, ContextFeature.RATE_VARIABILITY], seen[0, ContextFeature.GAP_VARIABILITY]

    many, steady = 600, np.full(600, 1e4)
    rates, gaps = deviations(rng.exponential(100, many), steady)
    assert rates == 0.0 and gaps == pytest.approx(2 / np.e, abs=0.2)
    rates, gaps = deviations(np.full(many, 100.0), 1e4 * np.exp(0.8 * rng.standard_normal(many)))
    assert rates > 0.1 and gaps == pytest.approx(0.0, abs=0.02)
    bursts = np.where(np.arange(many) % 10, 10.0, 910.0)
    assert deviations(bursts, steady)[1] > 1.3
