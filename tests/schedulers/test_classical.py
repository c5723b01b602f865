"""Each classical scheduler against its definition, written out slowly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hasten.core.decision import View, predicted_latency
from hasten.core.errors import HastenError, InputError
from hasten.core.options import DROP
from hasten.core.scenario import Scenario, scenario_from
from hasten.schedulers import make_scheduler, make_schedulers, scheduler_names, split_specs


def scenario(**changes: object) -> Scenario:
    base: dict[str, object] = {
        "schema": "hasten.scenario/1",
        "streams": [
            {"name": "cam", "count": 2, "profile": "alexnet-pi", "deadline_ms": 80,
             "arrivals": {"kind": "poisson", "rate_hz": 15}},
            {"name": "phone", "profile": "efficientnet-b0", "deadline_ms": 150, "slowdown": 0.33,
             "arrivals": {"kind": "poisson", "rate_hz": 6}},
        ],
        "uplink": {"rtt_ms": 4, "rate": {"kind": "constant", "mbps": 10}},
        "tasks_per_stream": 50,
    }  # fmt: skip
    return scenario_from(base | changes)


def random_view(batch: int, streams: int, seed: int) -> View:
    rng = np.random.default_rng(seed)
    return View(
        row=np.arange(batch),
        now_ms=rng.uniform(0, 1000, batch),
        stream=rng.integers(0, streams, batch),
        device_wait_ms=rng.exponential(20, batch),
        uplink_wait_ms=rng.exponential(20, batch),
        edge_wait_ms=rng.exponential(10, (batch, 1)),
        rate_bits_per_ms=rng.uniform(0, 30_000, batch),
        others_wait_ms=np.zeros((batch, streams)),
    )


def slow_latency(s: Scenario, view: View, b: int, j: int, idle: bool = False) -> float:
    o, m = s.options, view.stream[b]
    device, uplink, edge = (
        (0.0, 0.0, 0.0) if idle else (view.device_wait_ms[b], view.uplink_wait_ms[b], view.edge_wait_ms[b, 0])
    )
    done = device + o.device_ms[m, j]
    if o.payload_bits[m, j] == 0:
        return float(done)
    sent = max(done, uplink) + o.payload_bits[m, j] / view.rate_bits_per_ms[b]
    return float(max(sent + s.uplink.rtt_ms / 2, edge) + o.edge_ms[m, j] + s.uplink.rtt_ms / 2)


BATCH = 400
PATIENT_STREAMS = [
    {"name": "cam", "profile": "alexnet-pi", "deadline_ms": 200, "arrivals": {"kind": "poisson", "rate_hz": 15}},
    {"name": "phone", "profile": "efficientnet-b0", "deadline_ms": 400, "slowdown": 0.33,
     "arrivals": {"kind": "poisson", "rate_hz": 6}},
]  # fmt: skip


def decide(name: str, s: Scenario, view: View) -> np.ndarray:
    scheduler = make_scheduler(name)
    scheduler.reset(s.context(np.arange(BATCH)))
    return scheduler.decide(view).option


@pytest.mark.parametrize("gain", [{"kind": "on_time_accuracy"}, {"kind": "tradeoff"}, {"kind": "soft", "kappa": 0.5}])
def test_greedy_takes_the_largest_gain_then_the_earliest_finish_then_the_fewest_bytes(gain: dict[str, object]) -> None:
    s = scenario(gain=gain)
    view = random_view(BATCH, 3, 1)
    chosen = decide("greedy", s, view)
    time_weight, _, fade = s.gain.terms()
    for b in range(BATCH):
        m = view.stream[b]
        deadline = s.deadlines_ms[m]
        ranked = []
        for j in range(s.options.count[m]):
            latency = slow_latency(s, view, b, j)
            if latency > deadline * (1 + fade):
                continue
            share = latency / deadline
            worth = s.options.worth[m, j]
            if fade and share > 1:
                worth *= (1 + fade - share) / fade
            ranked.append((-(worth - time_weight * min(share, 1)), latency, s.options.payload_bits[m, j], j))
        if not ranked:
            assert chosen[b] == DROP
            continue
        best = min(ranked)
        mine = next(entry for entry in ranked if entry[3] == chosen[b])
        assert mine[:2] == pytest.approx(best[:2], abs=1e-9)
        assert mine[2] == best[2]
    assert (chosen == DROP).any()
    assert (chosen != DROP).mean() > 0.3


def test_min_latency_finishes_first() -> None:
    s = scenario()
    view = random_view(BATCH, 3, 2)
    for b, j in enumerate(decide("min-latency", s, view)):
        fastest = min(slow_latency(s, view, b, i) for i in range(s.options.count[view.stream[b]]))
        if j == DROP:
            assert fastest > s.deadlines_ms[view.stream[b]]
        else:
            assert slow_latency(s, view, b, int(j)) == pytest.approx(fastest)


def test_neurosurgeon_cuts_the_final_exit_where_the_unloaded_latency_is_least() -> None:
    s = scenario()
    view = random_view(BATCH, 3, 3)
    for b, j in enumerate(decide("neurosurgeon", s, view)):
        m = view.stream[b]
        final = [i for i in range(s.options.count[m]) if s.options.exit[m, i] == s.options.exit[m].max()]
        assert s.options.exit[m, j] == s.options.exit[m].max()
        assert slow_latency(s, view, b, int(j), idle=True) == pytest.approx(
            min(slow_latency(s, view, b, i, idle=True) for i in final)
        )


@pytest.mark.parametrize("name", ["edgent", "edgent:slack"])
def test_edgent_takes_the_deepest_exit_in_time_at_its_fastest_cut(name: str) -> None:
    s = scenario()
    view = random_view(BATCH, 3, 4)
    idle = name == "edgent"
    for b, j in enumerate(decide(name, s, view)):
        m = view.stream[b]
        latency = {i: slow_latency(s, view, b, i, idle) for i in range(s.options.count[m])}
        in_time = [i for i in latency if latency[i] <= s.deadlines_ms[m]]
        if in_time:
            depth = max(s.options.exit[m, i] for i in in_time)
            best = min(latency[i] for i in in_time if s.options.exit[m, i] == depth)
            assert s.options.exit[m, j] == depth
        else:
            best = min(latency.values())
        assert latency[int(j)] == pytest.approx(best)


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("device-only", lambda o, m, j: o.payload_bits[m, j] == 0 and o.exit[m, j] == o.exit[m].max()),
        ("device-only:deepest", lambda o, m, j: o.payload_bits[m, j] == 0),
        ("edge-only", lambda o, m, j: o.partition[m, j] == 0 and o.exit[m, j] == o.exit[m].max()),
        ("edge-only:deepest", lambda o, m, j: o.partition[m, j] == 0),
        ("fixed:2,1", lambda o, m, j: (o.exit[m, j], o.partition[m, j]) == (2, 1)),
        ("fixed-exit:2", lambda o, m, j: o.exit[m, j] == 2),
    ],
)
def test_restricted_schedulers_stay_inside_their_part(name: str, allowed: object) -> None:
    s = scenario(uplink={"rtt_ms": 4, "rate": {"kind": "constant", "mbps": 20}}, streams=PATIENT_STREAMS)
    view = random_view(BATCH, 2, 5)
    chosen = decide(name, s, view)
    assert (chosen != DROP).any()
    for b, j in enumerate(chosen):
        m = view.stream[b]
        part = [i for i in range(s.options.count[m]) if allowed(s.options, m, i)]  # type: ignore[operator]
        useful = [i for i in part if slow_latency(s, view, b, i) <= s.deadlines_ms[m]]
        if not useful:
            assert j == DROP
        else:
            assert j in useful
            assert s.options.exit[m, j] == max(s.options.exit[m, i] for i in useful)


def test_random_draws_every_option_and_repeats_with_its_seed() -> None:
    s = scenario()
    view = random_view(BATCH, 3, 6)
    first, again = decide("random", s, view), decide("random", s, view)
    assert np.array_equal(first, again)
    assert np.all(first < s.options.count[view.stream])
    assert len(np.unique(first)) == s.options.exit.shape[1]
    feasible = decide("random:feasible", s, view)
    for b, j in enumerate(feasible):
        useful = predicted_latency(s.context(np.arange(1)), view)[b] <= s.deadlines_ms[view.stream[b]]
        assert useful[j] if j != DROP else not useful.any()


def test_a_batch_decides_like_single_rows() -> None:
    s = scenario()
    view = random_view(8, 3, 7)
    for name in [
        "greedy", "random", "edgent", "neurosurgeon", "min-latency", "device-only:deepest", "edge-only",
    ]:  # fmt: skip
        scheduler = make_scheduler(name)
        scheduler.reset(s.context(np.arange(8)))
        together = scheduler.decide(view).option
        for b in range(8):
            scheduler.reset(s.context(np.array([b])))
            alone = replace(view.of(np.array([b])), row=np.zeros(1, dtype=np.int64))
            assert scheduler.decide(alone).option[0] == together[b], name


def test_greedy_has_one_argument() -> None:
    assert make_scheduler("greedy:point").name == "greedy:point"
    with pytest.raises(InputError, match="greedy or greedy:point"):
        make_scheduler("greedy:line")


def test_a_dead_link_keeps_tasks_on_the_device() -> None:
    s = scenario()
    view = random_view(BATCH, 3, 8)
    view.rate_bits_per_ms[:] = 0.0
    view.device_wait_ms[:] = 0.0
    chosen = decide("greedy", s, view)
    kept = chosen != DROP
    assert kept.any()
    assert np.all(s.options.payload_bits[view.stream[kept], chosen[kept]] == 0)


def test_names() -> None:
    assert "greedy" in scheduler_names()
    assert split_specs("greedy,fixed:2,1, random") == ["greedy", "fixed:2,1", "random"]
    assert [scheduler.name for scheduler in make_schedulers("greedy,fixed:2,1")] == ["greedy", "fixed:2,1"]
    for wrong in [
        "nope",
        "greedy:1",
        "fixed:x",
        "fixed",
        "fixed:2,1,0,0",
        "edgent:fast",
        "random:all",
        "fixed-exit:0",
        "",
    ]:
        with pytest.raises(InputError):
            make_schedulers(wrong)
    s = scenario()
    with pytest.raises(HastenError, match="no option"):
        decide("fixed:9,0", s, random_view(2, 3, 0))
