"""The rule of the largest expected gain, against its definition written slowly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hasten.core.calibration import LOCAL, NODES, SENT, counted_share, share_at
from hasten.core.decision import Context, View, predicted_latency, useful_limit_ms
from hasten.core.expected_gain import ExpectedGain
from hasten.core.gain import task_gain
from hasten.core.options import DROP
from hasten.core.scenario import scenario_from

GAINS = [
    {"kind": "on_time_accuracy"},
    {"kind": "tradeoff", "lambda": 0.2, "rho": 0.3},
    {"kind": "tradeoff", "lambda": 0.0, "rho": 0.3},
    {"kind": "soft", "kappa": 0.5},
]
BATCH = 300


def context_of(gain: dict[str, object]) -> Context:
    streams = [
        {"name": "cam", "count": 2, "profile": "alexnet-pi", "deadline_ms": 80},
        {"name": "phone", "profile": "efficientnet-b0", "deadline_ms": 150, "slowdown": 0.33},
    ]
    scenario = scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [stream | {"arrivals": {"kind": "poisson", "rate_hz": 9}} for stream in streams],
            "uplink": {"order": "ready", "rtt_ms": 4, "rate": {"kind": "constant", "mbps": 10}},
            "gain": gain,
            "tasks_per_stream": 5,
        }
    )
    return scenario.context(np.arange(BATCH))


def random_view(seed: int) -> View:
    rng = np.random.default_rng(seed)
    return View(
        row=np.arange(BATCH),
        now_ms=rng.uniform(0, 1000, BATCH),
        stream=rng.integers(0, 3, BATCH),
        device_wait_ms=rng.exponential(20, BATCH),
        uplink_wait_ms=rng.exponential(20, BATCH),
        edge_wait_ms=rng.exponential(10, (BATCH, 1)),
        rate_bits_per_ms=rng.uniform(0, 30_000, BATCH),
        others_wait_ms=np.zeros((BATCH, 3)),
        kept_share=np.sort(rng.random((BATCH, 2, NODES)) ** 0.3, axis=2),
    )


def slowly(context: Context, view: View) -> list[int]:
    """Of the options in time the largest gain, times its share; then the earliest; then the first."""
    latency_ms, options = predicted_latency(context, view), context.options
    late_gain = context.gain_terms.late_gain
    decided = []
    for b, m in enumerate(view.stream):
        candidates = []
        for j in range(options.count[m]):
            slack = (useful_limit_ms(context)[m] - latency_ms[b, j]) / context.deadline_ms[m]
            if slack >= 0:
                kind = SENT if options.payload_bits[m, j] > 0 else LOCAL
                share = counted_share(share_at(slack, view.kept_share[b, kind]))
                gain = float(
                    task_gain(options.worth[m, j], latency_ms[b, j], context.deadline_ms[m], *context.gain_terms)
                )
                candidates.append((-(late_gain + share * (gain - late_gain)), latency_ms[b, j], j))
        decided.append(min(candidates)[2] if candidates else DROP)
    return decided


@pytest.mark.parametrize("gain", GAINS, ids=str)
def test_batch_and_single_decisions_are_those_of_the_definition(gain: dict[str, object]) -> None:
    context, view = context_of(gain), random_view(1)
    everything = context.options, np.tile(np.arange(context.options.exit.shape[1]), (3, 1))
    expected = slowly(context, view)
    assert len(set(expected)) > 5
    rule = ExpectedGain(context, *everything)
    np.testing.assert_array_equal(rule.decide(view).option, expected)
    for b in range(BATCH):
        assert rule.decide(view.of(np.array([b]))).option.tolist() == [expected[b]]


def test_without_curves_promises_count_in_full() -> None:
    context = context_of(GAINS[0])
    view = random_view(2)
    rule = ExpectedGain(context, *context.options.undominated())
    sure = replace(view, kept_share=np.ones((BATCH, 2, NODES)))
    none = replace(view, kept_share=None)
    np.testing.assert_array_equal(rule.decide(sure).option, rule.decide(none).option)
    for b in range(20):
        assert rule.decide(none.of(np.array([b]))).option[0] == rule.decide(sure).option[b]
