"""Pairs: what another option would have led to is what it does lead to; and what is learned from them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from learn_scenarios import cameras
from random_policies import among_edges

import hasten as hs
from hasten.core.decision import Decision, EdgeChoosing, View, predicted_latency
from hasten.features.afterstates import afterstates, afterstates_of, gains_of
from hasten.features.among_edges import afterstate_features
from hasten.features.layout import BACKLOGS, CONTEXT_FEATURES, AfterstateLayout
from hasten.learn.afterstate_network import AfterstateNetwork
from hasten.learn.change import Change, changed
from hasten.learn.collect import Scheduled, UniformActor
from hasten.learn.domain import FIXED, draw_runs
from hasten.learn.paired import PairedDqn
from hasten.learn.pairs import ALTERNATIVE, CHOSEN, PairRecorder, Pairs, afterstates_after, collect_pairs
from hasten.learn.transitions import UNKNOWN
from hasten.policies.afterstate_policy import AfterstateWeights
from hasten.sim import simulate_realizations


class Scripted(EdgeChoosing):
    """Decides what a script says, option by option; keeps the observations."""

    name = "scripted"

    def __init__(self, options):
        self.options = options

    def reset(self, context):
        table, column = context.options.undominated()
        self.column = np.concatenate([column, np.full((len(column), 1), -1)], axis=1)
        self.features = afterstate_features(context, table)
        self.seen, self.mask = [], []

    def decide(self, view):
        seen, mask, _ = self.features.observe(view)
        self.seen.append(seen[0])
        self.mask.append(mask[0])
        action = self.options[len(self.seen) - 1]
        return Decision(self.column[view.stream, [action]])


@settings(max_examples=12, deadline=None)
@given(
    count=st.integers(1, 4),
    topology=st.sampled_from(["shared", "dedicated"]),
    workers=st.sampled_from([1, 3]),
    rtt_ms=st.sampled_from([0.0, 6.0]),
    variation=st.sampled_from([0.0, 0.7]),
    seed=st.integers(0, 1000),
)
def test_what_is_imagined_happens_when_it_is_done(count, topology, workers, rtt_ms, variation, seed):
    """In grant order: play the same run again, with the other option at one decision."""
    scenario = cameras(count, topology=topology, workers=workers, rtt_ms=rtt_ms)
    check_imagined(changed(scenario, Change(link_variation=variation), count, 60), seed)


@settings(max_examples=6, deadline=None)
@given(edges=st.integers(2, 3), count=st.integers(1, 3), seed=st.integers(0, 1000))
def test_what_is_imagined_among_several_edges_happens_when_it_is_done(edges, count, seed):
    """Each with a link that varies, shared or not, and workers of its own."""
    check_imagined(among_edges(edges, count, 60, order="grant"), seed)


def check_imagined(scenario, seed):
    run = scenario.realize(seed)
    rng = np.random.default_rng(seed)
    recorder = PairRecorder(UniformActor(np.random.default_rng(seed)), run.tasks, rng, [run.rates], scenario.links)
    simulate_realizations(scenario, recorder, [run])
    taken = recorder.action[0, :, CHOSEN]
    for k in range(0, run.tasks - 1, 29):
        script = taken.copy()
        script[k] = recorder.action[0, k, ALTERNATIVE]
        again = Scripted(script)
        simulate_realizations(scenario, again, [run])
        np.testing.assert_allclose(recorder.seen[0, k + 1, ALTERNATIVE], again.seen[k + 1], atol=1e-5)
        np.testing.assert_array_equal(recorder.mask[0, k + 1, ALTERNATIVE], again.mask[k + 1])


@pytest.mark.parametrize("order", ["grant", "ready"])
def test_recording_changes_nothing_and_every_pair_is_of_two_allowed_options(order):
    runs = draw_runs(cameras(order=order), FIXED, np.random.default_rng(0), 4, 120)
    found = collect_pairs(runs, Scheduled(hs.make_scheduler("greedy")), np.random.default_rng(1))
    plain = simulate_realizations(runs.scenario, hs.make_scheduler("greedy"), runs.realizations)
    for one, other in zip(found.results, plain, strict=True):
        np.testing.assert_array_equal(one.decisions, other.decisions)
    pairs = found.experience
    assert isinstance(pairs, Pairs) and len(found.expert) == len(pairs) and found.expert.all()
    assert len(pairs) <= sum(result.tasks - 1 for result in plain)
    assert (
        (pairs.between == 0.0).all()
        and (pairs.discount == 1.0).all()
        and np.isnan(pairs.shortfall[:, ALTERNATIVE]).all()
    )
    np.testing.assert_array_equal(pairs.context[:, CHOSEN], pairs.context[:, ALTERNATIVE])
    recorder = PairRecorder(Scheduled(hs.make_scheduler("greedy")), 120, np.random.default_rng(1))
    simulate_realizations(runs.scenario, recorder, runs.realizations)
    action, seen = recorder.action[:, :-1].reshape(-1, 2), recorder.seen[:, :-1, CHOSEN]
    two = (action[:, CHOSEN] != action[:, ALTERNATIVE]) & (action != UNKNOWN).all(axis=1)
    np.testing.assert_array_equal(pairs.afterstate, afterstates_after(seen.reshape(len(action), -1), action)[two])
    lost = pairs.shortfall[:, CHOSEN]
    if order == "grant":
        assert lost.max() < 1e-6  # what the timing law says is what happens
    else:
        assert 0.0 < lost.mean() < 0.5 and lost.max() == 1.0


def test_other_options_are_of_all_kinds_and_good_ones_are_likelier():
    run = draw_runs(cameras(1, rate_hz=5), FIXED, np.random.default_rng(0), 1, 1600)
    recorder = PairRecorder(Scheduled(hs.make_scheduler("min-latency")), 1600, np.random.default_rng(1))
    simulate_realizations(run.scenario, recorder, run.realizations)
    action, seen = recorder.action[0], recorder.seen[0, :, CHOSEN]
    assert (action != UNKNOWN).all()
    rows, other = np.arange(len(action)), action[:, ALTERNATIVE]
    gain = gains_of(seen)
    rest = gain > 0
    rest[:, -1] = True  # dropping is always allowed
    rest[rows, action[:, CHOSEN]] = False
    assert rest[rows, other].all() and set(other) == set(np.flatnonzero(rest.mean(axis=0) > 0.02))
    assert gain[rows, other].mean() > 1.05 * (np.where(rest, gain, 0).sum(axis=1) / rest.sum(axis=1)).mean()


def test_backlogs_left_are_those_of_the_timing_law():
    """Written out once more for each option."""
    scenario = cameras(2, workers=2, rtt_ms=8.0)
    context = scenario.context(np.zeros(1, np.int64))
    rng = np.random.default_rng(0)
    view = View(
        row=np.arange(5),
        now_ms=np.zeros(5),
        stream=rng.integers(2, size=5),
        device_wait_ms=rng.exponential(20, 5),
        uplink_wait_ms=rng.exponential(20, 5),
        edge_wait_ms=np.sort(rng.exponential(20, (5, 2)), axis=1),
        rate_bits_per_ms=rng.uniform(5e3, 2e4, 5),
        others_wait_ms=np.zeros((5, 2)),
    )
    options = context.options
    left = afterstates(context, view, options)
    np.testing.assert_array_equal(left.latency_ms, predicted_latency(context, view, options))
    for b in range(5):
        m = view.stream[b]
        for j in range(int(options.count[m])):
            device = view.device_wait_ms[b] + options.device_ms[m, j]
            uplink, edge = view.uplink_wait_ms[b], view.edge_wait_ms[b].tolist()
            if options.payload_bits[m, j] > 0:
                uplink = max(device, uplink) + options.payload_bits[m, j] / view.rate_bits_per_ms[b]
                edge = sorted([max(uplink + 4.0, edge[0]) + options.edge_ms[m, j], edge[1]])
            np.testing.assert_allclose(left.device_ms[b, j], device)
            np.testing.assert_allclose(left.uplink_ms[b, j], uplink)
            np.testing.assert_allclose(left.edge_ms[b, j], edge)
        np.testing.assert_allclose(left.edge_ms[b, -1], view.edge_wait_ms[b])


def random_observations(shape, options=5, seed=0):
    return np.random.default_rng(seed).random((*shape, AfterstateLayout(options + 1).size)).astype(np.float32)


def random_pairs(count, options=5, seed=0):
    rng = np.random.default_rng(seed)
    mask = (rng.random((count, 2, options + 1)) < 0.7).astype(np.int8)
    mask[:, :, -1] = 1
    lost = rng.random((count, 2)).astype(np.float32)
    lost[::3, ALTERNATIVE] = np.nan
    return Pairs(
        context=rng.random((count, 2, CONTEXT_FEATURES)).astype(np.float32),
        afterstate=rng.random((count, 2, BACKLOGS)).astype(np.float32),
        shortfall=lost,
        between=rng.normal(size=count).astype(np.float32),
        discount=rng.random(count).astype(np.float32),
        next_obs=random_observations((count, 2), options, seed + 1),
        next_mask=mask,
    )


def slow_heads(network, context, left):
    """Value and share lost, straight from the definition."""
    return slow_layers([torch.tensor(part) for part in network.weights], *map(torch.tensor, (context, left))).numpy()


def slow_layers(weights, context, left):
    weights = AfterstateWeights(*weights)
    first = torch.relu(context @ weights.context + weights.context_bias)
    unit = torch.relu(left @ weights.left + first @ weights.bias_of + weights.bias)
    return unit @ weights.head + weights.head_bias


def test_values_and_gradient_equal_plain_ones():
    network = AfterstateNetwork(AfterstateLayout(6), (7, 9), 0.9, seed=1)
    obs = random_observations((11,))
    found = afterstates_after(obs, np.tile(np.arange(6), (11, 1)))
    assert found.shape == (11, 6, BACKLOGS)
    np.testing.assert_array_equal(found[2, 3], afterstates_of(obs)[2, :, 3])
    context, left = np.repeat(obs[:, :CONTEXT_FEATURES], 6, axis=0), found.reshape(-1, BACKLOGS)
    heads, layers = network.heads(context, left)
    both = heads.reshape(11, 6, 2)
    expected = gains_of(obs) * (1 - both[:, :, 1].clip(0, 1)) + 0.9 * both[:, :, 0]
    np.testing.assert_allclose(network.values(obs), expected, rtol=1e-5, atol=1e-6)
    slope = np.random.default_rng(0).standard_normal((66, 2)).astype(np.float32)
    network.backward(slope, layers)
    weights = [torch.tensor(part, requires_grad=True) for part in network.weights]
    automatic = slow_layers(weights, torch.tensor(context), torch.tensor(left))
    (automatic * torch.tensor(slope)).sum().backward()
    np.testing.assert_allclose(heads, automatic.detach().numpy(), rtol=1e-5, atol=1e-6)
    for gradient, weight in zip(network.gradients, weights, strict=True):
        np.testing.assert_allclose(gradient, weight.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_targets_follow_a_hand_written_loop():
    pairs, rng = random_pairs(9), np.random.default_rng(3)
    learner = PairedDqn(AfterstateNetwork(AfterstateLayout(6), (7, 9), 0.9, seed=1), learning_rate=0.0)
    learner.target.parameters[:] = AfterstateNetwork(AfterstateLayout(6), (7, 9), 0.9, seed=2).parameters
    weight, network = rng.random(9), learner.network
    step = learner.update(pairs, weight)
    loss = 0.0
    for i in range(9):
        best = []
        for side in (CHOSEN, ALTERNATIVE):
            seen = pairs.next_obs[i, side][None]
            allowed = pairs.next_mask[i, side] == 1
            chosen = np.where(allowed, learner.network.values(seen)[0], -np.inf).argmax()
            best.append(learner.target.values(seen)[0, chosen])
        heads = slow_heads(network, pairs.context[i], pairs.afterstate[i])
        goal = pairs.between[i] + pairs.discount[i] * (best[CHOSEN] - best[ALTERNATIVE])
        error = abs(heads[CHOSEN, 0] - heads[ALTERNATIVE, 0] - goal)
        lost = [
            heads[k, 1] - pairs.shortfall[i, k] for k in (CHOSEN, ALTERNATIVE) if not np.isnan(pairs.shortfall[i, k])
        ]
        np.testing.assert_allclose(step.error[i], error + np.abs(lost).sum(), rtol=1e-4, atol=1e-5)
        loss += weight[i] * ((0.5 * error**2 if error <= 1 else error - 0.5) + 0.5 * np.square(lost).sum()) / 9
    assert step.loss == pytest.approx(loss, rel=1e-4)


def test_the_price_of_a_backlog_is_learned():
    """Every other decision finds what the one before left: only with less than half a deadline is a gain of 1 there."""
    rng = np.random.default_rng(0)
    count, options = 4000, 1
    left = np.zeros((count, 2, BACKLOGS), np.float32)
    left[:, :, 0] = rng.random((count, 2))
    following = np.zeros((count, 2, AfterstateLayout(options + 1).size), np.float32)
    gains_of(following)[:, :, 0] = left[:, :, 0] < 0.5
    pairs = Pairs(
        context=np.zeros((count, 2, CONTEXT_FEATURES), np.float32),
        afterstate=left,
        shortfall=np.where(left[:, :, 0] > 0.8, 0.5, 0.0).astype(np.float32),
        between=np.zeros(count, np.float32),
        discount=np.ones(count, np.float32),
        next_obs=following,
        next_mask=np.ones((count, 2, 2), np.int8),
    )
    learner = PairedDqn(
        AfterstateNetwork(AfterstateLayout(options + 1), (8, 32), 0.0), learning_rate=3e-3, average_rate=5e-3
    )
    for i in range(2500):
        learner.update(pairs.take(rng.integers(count, size=64)), np.ones(64), 1 - i / 2500)
    probe = np.zeros((3, BACKLOGS), np.float32)
    probe[:, 0] = 0.1, 0.3, 0.95
    heads, _ = learner.average.heads(np.zeros((3, CONTEXT_FEATURES), np.float32), probe)
    value, lost = heads[:, 0], heads[:, 1]
    assert value[0] - value[1] == pytest.approx(0.0, abs=0.1)
    assert value[0] - value[2] == pytest.approx(1.0, abs=0.1)
    assert lost[0] == pytest.approx(0.0, abs=0.1) and lost[2] == pytest.approx(0.5, abs=0.1)
