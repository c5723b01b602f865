"""The learner on problems whose answers are known, and its formulas against plain ones."""

import numpy as np
import pytest
import torch

from hasten.features.layout import ActionLayout
from hasten.learn.dqn import Adam, DoubleDqn
from hasten.learn.network import DuelingNetwork
from hasten.learn.replay import PrioritizedReplay, UniformReplay
from hasten.learn.transitions import Transitions
from hasten.policies.manifest import NetworkOptions, PolicyManifest, TrainingRange


def random_batch(count, features=6, actions=4, seed=0):
    rng = np.random.default_rng(seed)
    mask = (rng.random((count, actions)) < 0.7).astype(np.int8)
    mask[np.arange(count), rng.integers(actions, size=count)] = 1
    action = (mask * rng.random(mask.shape)).argmax(axis=1)
    return Transitions(
        obs=rng.standard_normal((count, features)).astype(np.float32),
        mask=mask,
        action=action,
        reward=3 * rng.standard_normal(count).astype(np.float32),
        next_obs=rng.standard_normal((count, features)).astype(np.float32),
        next_mask=mask[::-1].copy(),
        discount=np.full(count, 0.9, np.float32),
    )


def test_gradient_equals_the_automatic_one():
    network, rng = DuelingNetwork(6, (16, 8), 4, seed=1), np.random.default_rng(0)
    observation, slope = (rng.standard_normal(shape).astype(np.float32) for shape in ((10, 6), (7, 4)))
    q = network.forward(observation)
    network.backward(slope)
    layers = [tuple(torch.tensor(part, requires_grad=True) for part in layer) for layer in network._layers]
    hidden = torch.from_numpy(observation)
    for weight, bias in layers[:-1]:
        hidden = torch.relu(hidden @ weight + bias)
    head = hidden @ layers[-1][0] + layers[-1][1]
    expected = head[:, :1] + head[:, 1:] - head[:, 1:].mean(dim=1, keepdim=True)
    (expected[:7] * torch.from_numpy(slope)).sum().backward()
    np.testing.assert_allclose(q, expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    for layer, gradients in zip(layers, network._gradients, strict=True):
        for part, gradient in zip(layer, gradients, strict=True):
            np.testing.assert_allclose(gradient, part.grad.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("hidden", [(16,), (16, 8), (8, 8, 8)])
@pytest.mark.parametrize("known", [None, 3])
def test_a_policy_has_the_networks_values_and_can_be_taken_back(hidden, known):
    rng, actions = np.random.default_rng(0), 4
    network = DuelingNetwork(ActionLayout(actions - 1).size, hidden, actions, seed=1, known=known)
    manifest = PolicyManifest(
        hasten="0",
        hidden=network.policy_hidden,
        networks=(NetworkOptions(profile="x", fingerprint="y", options=((1, 0), (2, 0), (3, 0))),),
        gain_terms=(0.0, 0.0, 0.0),
        training_range=TrainingRange(
            rate_mbps=(1, 1), rate_hz=(1, 1), deadline_ms=(1, 1), streams=(1, 1), device_ms=(1, 1), edge_ms=(1, 1)
        ),
    )
    observation = rng.uniform(-2, 2, (20, manifest.features)).astype(np.float32)
    policy = network.policy(manifest)
    np.testing.assert_allclose(policy.q(observation), network.values(observation), atol=1e-5)
    again = DuelingNetwork(ActionLayout(actions - 1).size, hidden, actions, seed=2, known=known)
    again.load(policy)
    np.testing.assert_allclose(again.parameters, network.parameters, rtol=1e-5, atol=1e-6)


def test_where_gains_are_known_an_untrained_network_all_but_follows_them():
    network = DuelingNetwork(9, (32,), 4, known=6)
    observation = np.random.default_rng(0).random((200, 9), dtype=np.float32)
    agree = network.forward(observation)[:, :3].argmax(axis=1) == observation[:, 6:].argmax(axis=1)
    assert agree.mean() > 0.9


def test_dueling_head_has_advantages_of_mean_zero():
    network = DuelingNetwork(6, (16,), 4)
    observation = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    q = network.forward(observation)
    hidden = np.maximum(0, observation @ network._layers[0][0] + network._layers[0][1])
    value = hidden @ network._layers[1][0][:, :1] + network._layers[1][1][:1]
    np.testing.assert_allclose(q.mean(axis=1, keepdims=True), value, rtol=1e-5, atol=1e-6)


def test_targets_and_weights_follow_a_hand_written_loop():
    batch, rng = random_batch(9), np.random.default_rng(3)
    learner = DoubleDqn(DuelingNetwork(6, (16,), 4, seed=1), learning_rate=0.0)
    learner.target.parameters[:] = DuelingNetwork(6, (16,), 4, seed=2).parameters
    weight = rng.random(9)
    online, target = learner.network.like(), learner.target.like()
    step = learner.update(batch, weight)
    loss = 0.0
    for i in range(9):
        q_next = online.values(batch.next_obs[i : i + 1])[0]
        best = max(np.flatnonzero(batch.next_mask[i]), key=lambda a: q_next[a])
        goal = batch.reward[i] + batch.discount[i] * target.values(batch.next_obs[i : i + 1])[0][best]
        error = online.values(batch.obs[i : i + 1])[0][batch.action[i]] - goal
        assert step.error[i] == pytest.approx(error, abs=1e-5)
        loss += weight[i] * (0.5 * error**2 if abs(error) <= 1 else abs(error) - 0.5) / 9
    assert step.loss == pytest.approx(loss, rel=1e-5)


def test_importance_weights_survive_the_huber_loss():
    """The gradient of a weighted batch is the weighted mean of the gradients of its transitions, large errors too."""
    batch, weight = random_batch(5), np.array([0.1, 1.0, 0.3, 0.7, 0.2])
    whole = DoubleDqn(DuelingNetwork(6, (16,), 4, seed=1), clip_norm=1e9)
    assert (np.abs(whole.update(batch, weight).error) > 1).any()
    total = np.zeros_like(whole.network.gradient)
    for i in range(5):
        single = DoubleDqn(DuelingNetwork(6, (16,), 4, seed=1), clip_norm=1e9)
        single.update(batch.take(slice(i, i + 1)), np.ones(1))
        total += float(weight[i]) * single.network.gradient / 5
    np.testing.assert_allclose(whole.network.gradient, total, rtol=1e-4, atol=1e-6)


def test_margin_loss_raises_the_expert_above_all_allowed_actions_and_ends_with_its_weight():
    batch = random_batch(64)
    same = Transitions(
        batch.obs, batch.mask, batch.action, batch.reward * 0, batch.next_obs, batch.next_mask, batch.discount * 0
    )
    learner = DoubleDqn(DuelingNetwork(6, (64,), 4, seed=1), learning_rate=3e-3)
    for _ in range(600):
        learner.update(same, np.full(64, 0.01), np.ones(64))
    q = learner.network.values(batch.obs)
    q = np.where(batch.mask == 1, q, -np.inf)
    assert (q.argmax(axis=1) == batch.action).mean() > 0.95
    without = DoubleDqn(DuelingNetwork(6, (64,), 4, seed=1))
    zero = DoubleDqn(DuelingNetwork(6, (64,), 4, seed=1))
    without.update(batch, np.ones(64))
    zero.update(batch, np.ones(64), np.zeros(64))
    np.testing.assert_allclose(without.network.parameters, zero.network.parameters)


def test_adam_takes_the_steps_of_the_library():
    own, gradient, rng = np.zeros(5, np.float32), np.zeros(5, np.float32), np.random.default_rng(0)
    adam = Adam(own, gradient)
    theirs = torch.nn.Parameter(torch.zeros(5))
    library = torch.optim.Adam([theirs], lr=1e-3)
    for _ in range(20):
        gradient[:] = rng.standard_normal(5)
        theirs.grad = torch.tensor(gradient)
        adam.step(1e-3), library.step()
    np.testing.assert_allclose(own, theirs.detach().numpy(), rtol=1e-5, atol=1e-8)


def test_target_network_follows_hard_or_softly():
    batch = random_batch(8)
    hard = DoubleDqn(DuelingNetwork(6, (16,), 4), target_every=3)
    first = hard.target.parameters.copy()
    hard.update(batch, np.ones(8)), hard.update(batch, np.ones(8))
    assert np.array_equal(hard.target.parameters, first)
    hard.update(batch, np.ones(8))
    assert np.array_equal(hard.target.parameters, hard.network.parameters)
    soft = DoubleDqn(DuelingNetwork(6, (16,), 4), target_rate=0.5)
    first = soft.target.parameters.copy()
    soft.update(batch, np.ones(8))
    np.testing.assert_allclose(soft.target.parameters, 0.5 * (first + soft.network.parameters), rtol=1e-5)


def test_restored_learner_goes_on_to_the_same_bits():
    one, other = (DoubleDqn(DuelingNetwork(6, (16,), 4, seed=s)) for s in (1, 2))
    for i in range(5):
        one.update(random_batch(8, seed=i), np.ones(8))
    other.restore(one.state())
    for i in range(5, 9):
        one.update(random_batch(8, seed=i), np.ones(8)), other.update(random_batch(8, seed=i), np.ones(8))
    for name, value in one.state().items():
        np.testing.assert_array_equal(value, other.state()[name])


def chain(discount):
    """Five states in a row, left and right, reward 1 for stepping right from the last; exploring both ways alike."""
    state, action = (grid.ravel() for grid in np.meshgrid(np.arange(5), np.arange(2)))
    following = np.clip(state + 2 * action - 1, 0, 4)
    reward = ((state == 4) & (action == 1)).astype(float)
    values = np.zeros((5, 2))
    for _ in range(500):  # value iteration
        values[state, action] = reward + discount * values.max(axis=1)[following]
    eye = np.eye(5, dtype=np.float32)
    mask = np.ones((10, 2), np.int8)
    return values, Transitions(
        eye[state], mask, action, reward.astype(np.float32), eye[following], mask, np.full(10, discount, np.float32)
    )


@pytest.mark.parametrize("prioritized", [False, True])
def test_chain_is_learned_to_within_a_hundredth(prioritized):
    values, transitions = chain(0.7)
    empty = transitions.take(slice(0, 0))
    replay = PrioritizedReplay(empty, 16) if prioritized else UniformReplay(empty, 16)
    replay.add(transitions)
    learner = DoubleDqn(DuelingNetwork(5, (32,), 2), learning_rate=3e-3, target_every=20)
    rng = np.random.default_rng(0)
    for i in range(2000):
        place, weight = replay.sample(16, rng)
        step = learner.update(replay.at(place), weight, learning_rate_share=1 - i / 2000)
        if isinstance(replay, PrioritizedReplay):
            replay.set_errors(place, step.error)
    np.testing.assert_allclose(learner.network.values(np.eye(5, dtype=np.float32)), values, atol=0.01)


def test_bandit_of_two_actions_learns_their_means():
    rng = np.random.default_rng(0)
    action = rng.integers(2, size=4000)
    reward = np.where(action == 0, rng.random(4000) < 0.3, rng.random(4000) < 0.6).astype(np.float32)
    ones, mask = np.ones((4000, 1), np.float32), np.ones((4000, 2), np.int8)
    transitions = Transitions(ones, mask, action, reward, ones, mask, np.zeros(4000, np.float32))
    replay = UniformReplay(transitions.take(slice(0, 0)), 4000)
    replay.add(transitions)
    learner = DoubleDqn(DuelingNetwork(1, (16,), 2), learning_rate=3e-3, average_rate=5e-3)
    for _ in range(1500):
        place, weight = replay.sample(64, rng)
        learner.update(replay.at(place), weight)
    means = [reward[action == a].mean() for a in (0, 1)]
    np.testing.assert_allclose(learner.average.values(np.ones((1, 1), np.float32))[0], means, atol=0.02)


def test_masked_actions_are_neither_chosen_nor_bootstrapped_from():
    """An action of a huge value that is never allowed changes nothing."""
    count, rng = 200, np.random.default_rng(0)
    mask = np.tile(np.array([1, 1, 0], np.int8), (count, 1))
    ones = np.ones((count, 1), np.float32)
    action = rng.integers(2, size=count)
    transitions = Transitions(
        ones, mask, action, action.astype(np.float32), ones, mask, np.full(count, 0.5, np.float32)
    )
    network = DuelingNetwork(1, (16,), 3)
    network._layers[-1][1][3] = 5.0  # the head's last column: the third action's advantage
    learner = DoubleDqn(network, learning_rate=3e-3, target_every=10, clip_norm=1e9)
    for _ in range(2000):
        learner.update(transitions.take(rng.integers(count, size=32)), np.ones(32))
    assert learner.network.values(ones[:1])[0, :2] == pytest.approx([1.0, 2.0], abs=0.05)
