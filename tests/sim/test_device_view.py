"""What simulated devices see is what the runtime's own agents see in virtual time."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from virtual_cases import profile
from virtual_scenarios import scenario

from hasten.core import ping_schedule
from hasten.core.decision import Decision, predicted_latency
from hasten.core.errors import InputError
from hasten.core.options import DROP
from hasten.core.scenario import scenario_from
from hasten.runtime.virtual.cluster import run_virtual_scenario
from hasten.runtime.wire.frames import HEADER
from hasten.runtime.wire.load import pong_bytes
from hasten.schedulers import make_scheduler
from hasten.sim import simulate_realizations

DEVICE = {"kind": "device"}
WAIT_MS, RATE_SHARE = 0.1, 0.003
"""Agreement of waits and rates: how long before the first task a device measured its link is its own affair."""


class Watched:
    """Decides as greedy, one task at a time, and keeps what it sees."""

    name = "watched"

    def __init__(self):
        self.greedy, self.seen = make_scheduler("greedy"), []

    def reset(self, context):
        self.context = context
        self.greedy.reset(context)

    def decide(self, view):
        decision = self.greedy.decide(view)
        m, j = view.stream.item(), decision.option.item()
        chosen = (0, 0) if j == DROP else (self.context.options.exit[m, j], self.context.options.partition[m, j])
        waits = [view.device_wait_ms[0], view.uplink_wait_ms[0], *view.edge_wait_ms[0], view.unseen_wait_ms[0]]
        self.seen.append((view.now_ms[0], m, chosen, waits, view.rate_bits_per_ms[0]))
        return decision


def both_see(case, folder, seed=0):
    """(simulated, virtual) views in order of arrival, up to the first task that a device finishes otherwise."""
    watched = Watched()
    simulated = simulate_realizations(case, watched, [case.realize(seed)])[0]
    outcome = run_virtual_scenario(case, ["greedy"], [seed], folder)
    records = []
    for m, stream in enumerate(case.devices):
        lines = (folder / f"greedy-{seed}-{stream.name}.jsonl").read_text().splitlines()
        records += [(record["arrival_ms"], m, record) for record in map(json.loads, lines)]
    records.sort(key=lambda found: found[:2])
    virtual, upset_ms = [], np.inf
    for arrival_ms, m, record in records:
        seen = record["seen"]
        waits = [seen["device_wait_ms"], seen["uplink_wait_ms"], *seen["edge_wait_ms"], seen["unseen_wait_ms"]]
        virtual.append((arrival_ms, m, (record["exit"], record["partition"]), waits, seen["rate_bits_per_ms"]))
        if record["fallback"] is not None or record["reason"].startswith("cancelled"):
            upset_ms = min(upset_ms, arrival_ms)
    calm = sum(seen[0] < upset_ms for seen in virtual)
    return watched.seen[:calm], virtual[:calm], simulated, outcome.results[0]


CASES = [
    {"streams": 1, "rtt_ms": 10},
    {"streams": 1, "rtt_ms": 0},
    {"streams": 1, "workers": 2, "varying": True},
    {"streams": 3, "topology": "dedicated", "deadline_ms": 600},
    {"streams": 3, "workers": 2},
]


def case_of(folder, streams=1, rtt_ms=10, varying=False, deadline_ms=400, topology="shared", workers=1):
    rate = {"kind": "constant", "mbps": 2}
    if varying:
        rate = {"kind": "gauss_markov", "mean_mbps": 2, "sigma_mbps": 0.4, "memory": 0.95, "step_ms": 250}
    stream = {"name": "cam", "count": streams, "profile": str(folder / "played.json"), "deadline_ms": deadline_ms}
    return scenario(
        folder,
        network=profile(task_ms=0.0, offload_ms=0.0),
        streams=[stream | {"arrivals": {"kind": "poisson", "rate_hz": 8}}],
        view=DEVICE,
        uplink={"topology": topology, "order": "ready", "rtt_ms": rtt_ms, "rate": rate},
        edge={"workers": workers},
    )


@pytest.mark.parametrize("given", CASES)
def test_devices_see_in_the_simulator_what_they_see_in_virtual_time(tmp_path, given):
    simulated, virtual, _, _ = both_see(case_of(tmp_path, **given), tmp_path)
    assert len(virtual) > 20
    for expected, found in zip(virtual, simulated, strict=True):
        assert found[0] == pytest.approx(expected[0], abs=1e-3) and found[1:3] == expected[1:3]
        assert found[3] == pytest.approx(expected[3], abs=WAIT_MS)
        assert found[4] == pytest.approx(expected[4], rel=RATE_SHARE)


def test_no_rate_is_believed_that_a_failing_link_never_had(tmp_path):
    """Rates fall to a hundredth of the mean and rise again, while frames wait at the edge and are overtaken by probes."""
    rate = {"kind": "gauss_markov", "mean_mbps": 1, "sigma_mbps": 1, "memory": 0.95, "step_ms": 250}
    case = case_of(tmp_path, streams=3, topology="dedicated", deadline_ms=90)
    uplink = case.uplink.model_dump(by_alias=True) | {"rate": rate}
    case = scenario_from(case.model_dump(by_alias=True) | {"uplink": uplink}, tmp_path / "failing.yaml")
    for seed in range(3):
        realization = case.realize(seed)
        highest = [trace.bits_per_ms.max() for trace in realization.rates]
        watched = Watched()
        simulate_realizations(case, watched, [realization])
        believed = [(m, rate) for _, m, *_, rate in watched.seen]
        run_virtual_scenario(case, ["greedy"], [seed], tmp_path)
        for m, stream in enumerate(case.devices):
            lines = (tmp_path / f"greedy-{seed}-{stream.name}.jsonl").read_text().splitlines()
            believed += [(m, record["seen"]["rate_bits_per_ms"]) for record in map(json.loads, lines)]
        assert len(believed) == 2 * case.streams[0].count * case.tasks_per_stream
        assert all(rate <= 1.02 * highest[m] for m, rate in believed)


@pytest.mark.parametrize("seed", range(4))
def test_alone_on_a_constant_link_greedy_is_as_often_on_time_as_in_virtual_time(tmp_path, seed):
    _, _, simulated, virtual = both_see(case_of(tmp_path), tmp_path, seed)
    assert simulated.on_time_accuracy == pytest.approx(virtual.on_time_accuracy, abs=0.005)


def test_what_others_may_bring_to_the_edge_expires_no_task(tmp_path):
    class Sends:
        """Sends everything, and keeps what that is predicted to take, also without what others may bring."""

        name = "sends"

        def __init__(self):
            self.latency_ms = []

        def reset(self, context):
            self.context, self.option = context, context.options.index(0, 4, 0)

        def decide(self, view):
            views = view, replace(view, unseen_wait_ms=None)
            self.latency_ms.append([predicted_latency(self.context, each)[0, self.option] for each in views])
            return Decision(np.array([self.option]))

    case, sends = case_of(tmp_path, streams=9, deadline_ms=40, topology="dedicated"), Sends()
    result = simulate_realizations(case, sends, [case.realize(0)])[0]
    with_others_ms, latency_ms = np.array(sends.latency_ms).T
    assert ((latency_ms <= 40) & (with_others_ms > 40)).sum() > 10
    np.testing.assert_array_equal(result.dropped, latency_ms > 40)


def test_what_was_handed_to_the_link_is_carried_also_if_it_is_late(tmp_path):
    """Each frame takes 14 ms of the link, and nobody sees the others'."""
    case = case_of(tmp_path, streams=8, deadline_ms=60)
    result = simulate_realizations(case, make_scheduler("fixed:4,0"), [case.realize(0)])[0]
    in_vain = result.uplink_bytes / 3500 - (result.on_time & (result.answered_exit == 4)).sum()
    assert in_vain > 100


def test_nobody_sees_another_device(tmp_path):
    class Others(Watched):
        def decide(self, view):
            others = np.delete(view.others_wait_ms[0], view.stream.item())
            assert not others.any()
            self.seen.append(view.others_wait_ms[0, view.stream.item()] - view.device_wait_ms[0])
            return self.greedy.decide(view)

    case = case_of(tmp_path, streams=3)
    others = Others()
    simulate_realizations(case, others, [case.realize(0)])
    assert set(others.seen) == {0.0}


@pytest.mark.parametrize("field", ["age_ms", "rate_error"])
def test_a_view_of_devices_has_no_made_up_staleness(tmp_path, field):
    with pytest.raises(InputError, match=f"no {field} with kind device"):
        scenario(tmp_path, view=DEVICE | {field: 0.5})


def test_pings_have_the_sizes_of_their_frames():
    assert HEADER.size == ping_schedule.PING_BYTES
    assert [ping_schedule.pong_bytes(n) for n in (1, 4)] == [pong_bytes(n) for n in (1, 4)]
