"""What a scheduler may choose among where a device has several edges: one more axis of options and views."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hasten.core.decision import Context, EdgeView, View, predicted_latency
from hasten.core.options import DROP, OptionTable, StreamCosts, of_several_edges, option_table
from hasten.core.profile_names import load_profile
from hasten.schedulers import make_scheduler

RATE = 10_000.0


def at_edges(*slowdowns: float) -> OptionTable:
    profile = load_profile("alexnet-pi")
    return of_several_edges([option_table([StreamCosts(profile, 1.0, slowdown)]) for slowdown in slowdowns])


def seen(uplink_ms: tuple[float, float], edge_ms: tuple[float, float], rtt_ms: float) -> View:
    """An idle device before two edges."""
    one = np.zeros(1, np.int64)
    further = EdgeView(np.array([uplink_ms[1]]), np.array([[edge_ms[1]]]), np.array([RATE]), np.array([rtt_ms]))
    return View(
        row=one,
        now_ms=np.zeros(1),
        stream=one,
        device_wait_ms=np.zeros(1),
        uplink_wait_ms=np.array([uplink_ms[0]]),
        edge_wait_ms=np.array([[edge_ms[0]]]),
        rate_bits_per_ms=np.array([RATE]),
        others_wait_ms=np.zeros((1, 1)),
        further_edges=(further,),
    )


def test_options_at_each_edge_once_and_local_ones_once():
    single, both = at_edges(1.0), at_edges(1.0, 3.0)
    local = int((single.payload_bits[0] == 0).sum())
    sent = single.exit.shape[1] - local
    assert both.count.tolist() == [local + 2 * sent] == [both.exit.shape[1]]
    assert (both.edge == 1).sum() == sent and not both.edge[both.payload_bits == 0].any()
    there = both.edge[0] == 1
    np.testing.assert_allclose(both.edge_ms[0, there], 3.0 * single.edge_ms[single.payload_bits > 0])


def test_each_option_waits_at_its_own_edge():
    table = at_edges(1.0, 3.0)
    context = Context(table, np.array([100.0]), np.array([10.0]))
    latency = predicted_latency(context, seen((5.0, 0.0), (7.0, 0.0), 4.0))[0]
    sending = table.payload_bits[0] / RATE
    ready = np.maximum(table.device_ms[0], np.where(table.edge[0] == 0, 5.0, 0.0))
    arrived = ready + sending + np.where(table.edge[0] == 0, 0.0, 2.0)
    ends = np.maximum(arrived, np.where(table.edge[0] == 0, 7.0, 0.0)) + table.edge_ms[0]
    expected = np.where(table.payload_bits[0] > 0, ends + np.where(table.edge[0] == 0, 0.0, 2.0), table.device_ms[0])
    np.testing.assert_allclose(latency, expected)


@pytest.mark.parametrize("busy", [0, 1])
def test_greedy_goes_to_the_edge_that_is_free(busy: int):
    table = at_edges(1.0, 1.0)
    greedy = make_scheduler("greedy")
    greedy.reset(Context(table, np.array([60.0]), np.array([10.0])))
    waits = (500.0, 0.0) if busy == 0 else (0.0, 500.0)
    option = greedy.decide(seen((0.0, 0.0), waits, 0.0)).option[0]
    assert option != DROP and table.payload_bits[0, option] > 0
    assert table.edge[0, option] == 1 - busy


def test_an_option_of_another_edge_dominates_none():
    both = at_edges(1.0, 3.0)
    kept, _ = both.undominated()
    assert set(kept.edge[0].tolist()) == {0, 1}
    merged, _ = replace(both, edge=np.zeros_like(both.edge)).undominated()
    assert merged.count[0] < kept.count[0]  # at one edge, three times the time is worse


def test_work_of_others_that_no_backlog_holds_yet_delays_what_is_sent():
    """Edge 0 has others, edge 1 has none that this device knows of."""
    table = at_edges(1.0, 3.0)
    context = Context(table, np.array([100.0]), np.array([10.0]))
    view = seen((0.0, 0.0), (0.0, 0.0), 4.0)
    latency = predicted_latency(context, view)[0]
    expected = latency + np.where((table.payload_bits[0] > 0) & (table.edge[0] == 0), 12.5, 0.0)
    np.testing.assert_allclose(predicted_latency(context, replace(view, unseen_wait_ms=np.array([12.5])))[0], expected)


@pytest.mark.parametrize("name", ["greedy", "greedy:point"])
def test_greedy_keeps_clear_of_an_edge_where_others_are_foreseen(name):
    """A decision alone and one of two are the same: the ways to make them differ."""
    context = Context(at_edges(1.0), np.array([60.0]), np.array([10.0]))
    alone = replace(seen((0.0, 0.0), (0.0, 0.0), 4.0), further_edges=())
    chosen = []
    for wait_ms in (0.0, 1000.0):
        view = replace(alone, unseen_wait_ms=np.array([wait_ms]))
        both = replace(
            view,
            **{
                part: np.repeat(value, 2, axis=0) for part, value in vars(view).items() if isinstance(value, np.ndarray)
            },
        )
        scheduler = make_scheduler(name)
        scheduler.reset(context)
        option = scheduler.decide(view).option
        assert scheduler.decide(both).option.tolist() == [option[0]] * 2
        chosen.append(option[0])
    sends = [chosen_one != DROP and context.options.payload_bits[0, chosen_one] > 0 for chosen_one in chosen]
    assert sends == [True, False]
