"""The learned scheduler: one rule for one decision and for many, nothing that is masked, no network but its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_policies import among_edges, cameras, random_policy

import hasten as hs
from hasten.api import simulate, simulate_batch
from hasten.core.decision import Decision, View
from hasten.core.errors import InputError
from hasten.core.options import DROP
from hasten.features.observation_batch import Features
from hasten.policies.policy import save_policy
from hasten.schedulers import make_scheduler
from hasten.schedulers.greedy import Greedy
from hasten.schedulers.learned import Learned

MIXED = {
    "streams": [
        {
            "name": name,
            "count": 2,
            "profile": profile,
            "deadline_ms": deadline_ms,
            "arrivals": {"kind": "poisson", "rate_hz": 12},
        }
        for name, profile, deadline_ms in (("a", "alexnet-pi", 80.0), ("b", "efficientnet-b0", 160.0))
    ]
}
SCENARIOS = [
    cameras(1),
    cameras(8, edge={"slowdown": 4}),
    cameras(view={"age_ms": 30, "rate_error": 0.3}),
    cameras(
        uplink={"rate": {"kind": "gauss_markov", "mean_mbps": 8, "sigma_mbps": 6}, "order": "ready"},
        edge={"workers": 2},
        gain={"kind": "tradeoff", "lambda": 0.3},
    ),
    cameras(**MIXED),
]


@pytest.mark.parametrize("values", ["actions", "backlogs"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_one_decision_at_a_time_is_decided_like_many(scenario, values):
    scheduler = Learned(random_policy(scenario, values=values))
    batch = simulate_batch(scenario, scheduler, [3, 4, 5])
    for seed, together in zip([3, 4, 5], batch, strict=True):
        alone = simulate(scenario, scheduler, seed)
        assert np.array_equal(alone.decisions, together.decisions)
        assert len(np.unique(alone.decisions, axis=0)) > 2


@pytest.mark.parametrize(("trained", "told"), [("fresh", 1), (None, 1), ("device", 0)])
def test_a_policy_for_fresh_views_says_so_where_devices_see_by_themselves(recwarn, trained, told):
    scenario = cameras(1, view={"kind": "device"})
    policy = random_policy(scenario)
    scheduler = Learned(replace(policy, manifest=policy.manifest.model_copy(update={"view": trained})))
    assert simulate(scenario, scheduler, 0).tasks > 0
    assert len([w for w in recwarn if "trained on fresh views" in str(w.message)]) == told


def test_a_policy_sees_what_it_saw_in_training_whatever_the_order_of_the_run():
    ready = cameras(1, uplink={"rate": {"kind": "constant", "mbps": 10}, "order": "ready"})
    found = {}
    for order in ("grant", "ready", None):
        policy = random_policy(cameras(1), values="backlogs")
        scheduler = Learned(replace(policy, manifest=policy.manifest.model_copy(update={"order": order})))
        for scenario in (cameras(1), ready):  # of one stream, so that nothing but what is seen can differ
            batch = simulate_batch(scenario, scheduler, [3, 4])[0].decisions
            assert np.array_equal(simulate(scenario, scheduler, 3).decisions, batch)
            found[order, scenario.uplink.order] = batch.tolist()
    assert found["grant", "grant"] == found["grant", "ready"] == found[None, "grant"]
    assert found["ready", "grant"] == found["ready", "ready"] == found[None, "ready"]
    assert found["grant", "grant"] != found["ready", "ready"]


class Checked:
    """Looks over a scheduler's shoulder: each option must be allowed, and DROP comes only where nothing is."""

    name = "checked"

    def __init__(self, inner: Learned) -> None:
        self.inner = inner

    def reset(self, context):
        table, column = context.options.undominated()
        self.features, self.column = Features(context, table), column
        self.inner.reset(context)

    def decide(self, view: View) -> Decision:
        decision = self.inner.decide(view)
        _, mask = self.features.observe(view)
        for b, option in enumerate(decision.option.tolist()):
            allowed = self.column[view.stream[b]][mask[b, :-1] == 1]
            assert option == DROP or option in allowed
        return decision


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]])
@pytest.mark.parametrize("values", ["actions", "backlogs"])
def test_a_masked_action_is_never_chosen(scenario, seeds, values):
    simulate_batch(scenario, Checked(Learned(random_policy(scenario, seed=9, values=values))), seeds)


@pytest.mark.parametrize("edges", [2, 3])
@pytest.mark.parametrize("order", ["grant", "ready"])
def test_among_several_edges_one_decision_at_a_time_is_decided_like_many(edges, order):
    scenario = among_edges(edges, tasks=60, order=order)
    scheduler = Learned(random_policy(scenario, hidden=(16, 16), values="backlogs"))
    batch = simulate_batch(scenario, scheduler, [3, 4])
    for seed, together in zip([3, 4], batch, strict=True):
        alone = simulate(scenario, scheduler, seed)
        assert np.array_equal(alone.decisions, together.decisions) and np.array_equal(alone.edge, together.edge)
        assert len(np.unique(alone.decisions, axis=0)) > 2
    assert len(np.unique(np.concatenate([result.edge for result in batch]))) > 1


def test_a_policy_is_for_as_many_edges_as_it_was_trained_for():
    one, two = (random_policy(scenario, values="backlogs") for scenario in (cameras(2), among_edges(2)))
    with pytest.raises(InputError, match="expected one edge: scheduler policy knows no choice among several"):
        simulate(among_edges(2), Learned(one))
    for scenario, edges in ((cameras(2), 1), (among_edges(3), 3)):
        with pytest.raises(InputError, match=f"policy: edges: got 2, expected {edges}, as many as this run has"):
            simulate(scenario, Learned(two))


def test_a_policy_is_for_its_own_network_and_gain(tmp_path):
    save_policy(tmp_path / "p.onnx", random_policy(cameras()))
    scheduler = hs.make_scheduler(f"policy:{tmp_path / 'p.onnx'}")
    assert scheduler.name == f"policy:{tmp_path / 'p.onnx'}"
    assert make_scheduler(f"dqn:{tmp_path / 'p.onnx'}").name == f"dqn:{tmp_path / 'p.onnx'}"
    with pytest.raises(InputError, match=r"p\.onnx: networks: got 'alexnet-pi \(.*, expected the network of stream 0"):
        simulate(cameras(profile="efficientnet-b0"), scheduler)
    with pytest.raises(InputError, match=r"p\.onnx: gain_terms: got \(0.0"):
        simulate(cameras(gain={"kind": "soft"}), scheduler)
    with pytest.raises(InputError, match="policy:FILE"):
        make_scheduler("policy")


def test_a_policy_may_know_more_networks_than_a_run_has():
    both = Learned(random_policy(cameras(**MIXED)))
    for entry in MIXED["streams"]:
        assert simulate(cameras(streams=[entry]), both).on_time_accuracy > 0


def test_out_of_its_training_range_the_scheduler_is_greedy_and_says_so():
    scenario = cameras()
    policy = random_policy(scenario)
    training_range = policy.manifest.training_range.model_copy(update={"rate_mbps": (30.0, 40.0)})
    policy = replace(policy, manifest=policy.manifest.model_copy(update={"training_range": training_range}))
    scheduler = Learned(policy)
    for seeds in ([0], [0, 1]):
        results = simulate_batch(scenario, scheduler, seeds)
        greedy = simulate_batch(scenario, Greedy(), seeds)
        for row, (mine, its) in enumerate(zip(results, greedy, strict=True)):
            assert 0.98 * mine.tasks < scheduler.notes(row)["out_of_range_rate"] < mine.tasks  # not the first few
            assert np.mean(np.all(mine.decisions == its.decisions, axis=1)) > 0.9


@pytest.mark.parametrize("values", ["actions", "backlogs"])
def test_a_saved_scheduler_decides_the_same(tmp_path, values):
    scenario = cameras()
    scheduler = Learned(random_policy(scenario, values=values))
    scheduler.save(tmp_path / "p.onnx")
    again = simulate(scenario, make_scheduler(f"policy:{tmp_path / 'p.onnx'}"))
    assert np.array_equal(simulate(scenario, scheduler).decisions, again.decisions)
