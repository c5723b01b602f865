"""What is observed where a device chooses among several edges: the same in a batch and alone, whatever the edges' order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_policies import among_edges, cameras

from hasten.core.decision import EdgeView, View, predicted_latency
from hasten.core.options import OptionTable
from hasten.features.afterstates import AfterstateFeatures
from hasten.features.among_edges import AmongEdges, afterstate_features
from hasten.features.layout import (
    AfterstateLayout,
    ContextFeature,
    FurtherContextFeature,
    FurtherOptionFeature,
    OptionFeature,
)

ROWS = 7


def told(scenario, rows=1):
    context = scenario.context(np.zeros(rows, np.int64))
    return context, context.options.undominated()[0]


def seen(rng, scenario, rows, now_ms):
    streams = len(scenario.devices)
    ways = scenario.every_edge

    def waits(workers):
        return np.sort(rng.exponential(30.0, (rows, workers)) * rng.integers(2, size=(rows, 1)), axis=1)

    return View(
        row=np.arange(rows),
        now_ms=now_ms,
        stream=rng.integers(streams, size=rows),
        device_wait_ms=rng.exponential(20.0, rows),
        uplink_wait_ms=rng.exponential(20.0, rows),
        edge_wait_ms=waits(ways[0].edge.workers),
        rate_bits_per_ms=rng.exponential(1e4, rows),
        others_wait_ms=rng.exponential(20.0, (rows, streams)),
        unseen_wait_ms=rng.exponential(2.0, rows),
        further_edges=tuple(
            EdgeView(
                rng.exponential(20.0, rows),
                waits(way.edge.workers),
                rng.exponential(1e4, rows),
                np.full(rows, way.uplink.rtt_ms),
            )
            for way in ways[1:]
        ),
    )


@pytest.mark.parametrize("edges", [2, 3, 5])
@pytest.mark.parametrize("order", ["grant", "ready"])
def test_a_batch_is_observed_as_each_decision_alone_bit_for_bit(edges, order):
    scenario = among_edges(edges, count=3, order=order)
    many = afterstate_features(*told(scenario, ROWS))
    alone = [afterstate_features(*told(scenario)) for _ in range(ROWS)]
    assert isinstance(many, AmongEdges)
    rng, now_ms = np.random.default_rng(edges), np.zeros(ROWS)
    for _ in range(4):
        now_ms = now_ms + rng.exponential(40.0, ROWS)
        view = seen(rng, scenario, ROWS, now_ms)
        observation, mask, _ = many.observe(view)
        assert np.isfinite(observation).all() and observation.shape[1] == many.layout.size
        for row, features in enumerate(alone):
            one = replace(view.of(np.array([row])), row=np.zeros(1, np.int64))
            single, single_mask, _ = features.observe(one)
            assert np.array_equal(single[0], observation[row]) and np.array_equal(single_mask[0], mask[row])
        again, again_mask, _ = many.imagine(view, observation)
        assert np.array_equal(again, observation) and np.array_equal(again_mask, mask)


def test_with_one_edge_it_is_the_observation_of_one_edge():
    assert type(afterstate_features(*told(cameras()))) is AfterstateFeatures


def listed_otherwise(scenario, view, table):
    """The same world with its two edges in the other order, and the column that each option has there."""
    other = scenario.model_copy(update={"edges": scenario.edges[::-1]})
    for name in ("options", "devices"):
        other.__dict__.pop(name, None)
    first, second = view, view.further_edges[0]
    swapped = replace(
        view,
        uplink_wait_ms=second.uplink_wait_ms,
        edge_wait_ms=second.edge_wait_ms,
        rate_bits_per_ms=second.rate_bits_per_ms,
        rtt_ms=np.full(len(view.row), second.rtt_ms),
        further_edges=(
            EdgeView(first.uplink_wait_ms, first.edge_wait_ms, first.rate_bits_per_ms, np.zeros(len(first.row))),
        ),
    )
    context, there = told(other, len(view.row))
    column = [there.index(0, int(e), int(p), 1 - int(at) if bits else 0) for e, p, at, bits in options_of(table)]
    return context, there, swapped, [*column, len(column)]


def options_of(table: OptionTable):
    return zip(table.exit[0], table.partition[0], table.edge[0], table.payload_bits[0], strict=True)


def test_the_order_in_which_edges_are_listed_does_not_matter():
    scenario = among_edges(2, count=1)
    context, table = told(scenario, ROWS)
    view = replace(seen(np.random.default_rng(0), scenario, ROWS, np.full(ROWS, 9.0)), unseen_wait_ms=None)
    other_context, there, swapped, column = listed_otherwise(scenario, view, table)
    one, _, _ = afterstate_features(context, table).observe(view)
    other, _, _ = afterstate_features(other_context, there).observe(swapped)
    layout = AfterstateLayout.of_size(one.shape[1])
    np.testing.assert_allclose(one[:, layout.context], other[:, layout.context], rtol=1e-6)
    for feature in (*OptionFeature, *FurtherOptionFeature):
        block = layout.block(feature)
        np.testing.assert_allclose(one[:, block], other[:, block][:, column], rtol=1e-5, err_msg=feature.name)


def test_columns_hold_what_they_say():
    """Written out for each option of three edges, of which the second one is nearest."""
    scenario = among_edges(3, count=1)
    context, table = told(scenario)
    view = seen(np.random.default_rng(3), scenario, 1, np.full(1, 50.0))
    fast = replace(view.further_edges[0], rate_bits_per_ms=np.full(1, 5e4))
    slow = replace(view.further_edges[1], rate_bits_per_ms=np.full(1, 0.0))
    view = replace(view, rate_bits_per_ms=np.full(1, 4e3), further_edges=(fast, slow), unseen_wait_ms=None)
    observation, mask, _ = afterstate_features(context, table).observe(view)
    layout, deadline_ms = AfterstateLayout.of_size(observation.shape[1]), context.deadline_ms[0]
    context_features, near = observation[0, layout.context], 1

    def cut(time_ms):
        return min(time_ms / deadline_ms, 2.0)

    unit = max(table.payload_bits[0]) / deadline_ms
    shares = [rate / (rate + unit) for rate in (4e3, 5e4, 0.0)]
    assert context_features[ContextFeature.RATE] == pytest.approx(shares[near])
    assert context_features[FurtherContextFeature.FURTHER_RATE] == pytest.approx((shares[0] + shares[2]) / 2)
    assert context_features[FurtherContextFeature.ROUND_TRIP] == pytest.approx(3.0 / (3.0 + deadline_ms))
    waits = [edge.uplink_wait_ms[0] for edge in view.edges]
    assert context_features[ContextFeature.UPLINK_WAIT] == pytest.approx(cut(waits[near]))
    further = (cut(waits[0]) + cut(waits[2])) / 2
    assert context_features[FurtherContextFeature.FURTHER_UPLINK_WAIT] == pytest.approx(further)
    latency_ms = predicted_latency(context, view, table)[0]
    for j in range(table.exit.shape[1]):
        block = {f: observation[0, layout.block(f).start + j] for f in (*OptionFeature, *FurtherOptionFeature)}
        assert block[OptionFeature.LATENCY] == pytest.approx(cut(latency_ms[j]))
        assert mask[0, j] == (latency_ms[j] <= deadline_ms)
        done_ms = view.device_wait_ms[0] + table.device_ms[0, j]
        left = list(waits)
        if table.payload_bits[0, j] > 0:
            edge = int(table.edge[0, j])
            rate = max(view.edges[edge].rate_bits_per_ms[0], 1e-9)
            left[edge] = max(done_ms, waits[edge]) + table.payload_bits[0, j] / rate
        assert block[OptionFeature.DEVICE_WAIT] == pytest.approx(cut(done_ms))
        assert block[OptionFeature.UPLINK_WAIT] == pytest.approx(cut(left[near]))
        further = (cut(left[0]) + cut(left[2])) / 2
        assert block[FurtherOptionFeature.FURTHER_UPLINK_WAIT] == pytest.approx(further)
