"""Gradient updates per second: hasten's learner beside Stable-Baselines3's DQN and Tianshou's with prioritized replay.

    python benchmarks/learner.py [--quick]

Two hidden layers of 128, a batch of 256, observations and actions of the alexnet-pi scenario, 100,000 transitions in
memory, one thread; the same in every row. An update is everything from drawing the batch to the new weights and
priorities. Stable-Baselines3 has plain DQN only (one network, uniform replay), which does less. Rows take turns, so
that a slow spell of the computer hits all alike; the median of the turns counts.

The peers are not dependencies and not wanted in hasten's own environment. To have them measured, make another one:

    python -m venv peers
    peers/bin/pip install -c constraints.txt -e '.[learn]'
    peers/bin/pip install -c constraints.txt stable-baselines3==2.9.2
    peers/bin/pip install --no-deps tianshou==2.0.1 deepdiff h5py overrides pettingzoo sensai-utils tqdm orderly-set
    peers/bin/pip install --no-deps absl-py cachebox tensorboard virtualenv
    peers/bin/pip install matplotlib pandas
    peers/bin/python benchmarks/learner.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from hasten.learn.dqn import DoubleDqn
from hasten.learn.network import DuelingNetwork
from hasten.learn.replay import PrioritizedReplay, UniformReplay
from hasten.learn.transitions import Transitions

FEATURES, ACTIONS, HIDDEN, BATCH, MEMORY, DISCOUNT = 31, 10, (128, 128), 256, 100_000, 0.95

Update = Callable[[], object]


def experience() -> Transitions:
    """Random transitions; what they say does not matter to the time they take."""
    rng = np.random.default_rng(0)
    return Transitions(
        obs=rng.random((MEMORY, FEATURES), dtype=np.float32),
        mask=np.ones((MEMORY, ACTIONS), np.int8),
        action=rng.integers(ACTIONS, size=MEMORY),
        reward=rng.random(MEMORY, dtype=np.float32),
        next_obs=rng.random((MEMORY, FEATURES), dtype=np.float32),
        next_mask=np.ones((MEMORY, ACTIONS), np.int8),
        discount=np.full(MEMORY, DISCOUNT, np.float32),
    )


def own(given: Transitions, prioritized: bool) -> Update:
    """Double dueling DQN."""
    empty = given.take(slice(0, 0))
    replay = PrioritizedReplay(empty, MEMORY) if prioritized else UniformReplay(empty, MEMORY)
    replay.add(given)
    learner = DoubleDqn(DuelingNetwork(FEATURES, HIDDEN, ACTIONS))
    rng = np.random.default_rng(1)

    def update() -> None:
        place, weight = replay.sample(BATCH, rng)
        step = learner.update(replay.at(place), weight)
        if isinstance(replay, PrioritizedReplay):
            replay.set_errors(place, step.error)

    return update


def stable_baselines(given: Transitions) -> Update:
    """Plain DQN."""
    import gymnasium
    from stable_baselines3 import DQN

    class Still(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(0, 1, (FEATURES,), np.float32)
        action_space = gymnasium.spaces.Discrete(ACTIONS)

        def reset(self, *, seed=None, options=None):
            return given.obs[0], {}

        def step(self, action):
            return given.obs[0], 0.0, False, False, {}

    model = DQN(
        "MlpPolicy",
        Still(),
        batch_size=BATCH,
        buffer_size=MEMORY,
        gamma=DISCOUNT,
        learning_starts=0,
        policy_kwargs={"net_arch": list(HIDDEN)},
        device="cpu",
    )
    model.learn(1)
    buffer = model.replay_buffer
    buffer.observations[:, 0], buffer.next_observations[:, 0] = given.obs, given.next_obs
    buffer.actions[:, 0, 0], buffer.rewards[:, 0] = given.action, given.reward
    buffer.full = True
    return lambda: model.train(1, BATCH)


def tianshou(given: Transitions) -> Update:
    """Double dueling DQN with prioritized replay."""
    import gymnasium
    from tianshou.algorithm.modelfree.dqn import DQN, DiscreteQLearningPolicy
    from tianshou.algorithm.optim import AdamOptimizerFactory
    from tianshou.data import Batch, PrioritizedReplayBuffer
    from tianshou.utils.net.common import Net
    from tianshou.utils.torch_utils import policy_within_training_step

    net = Net(state_shape=FEATURES, action_shape=ACTIONS, hidden_sizes=HIDDEN, dueling_param=({}, {}))
    policy = DiscreteQLearningPolicy(model=net, action_space=gymnasium.spaces.Discrete(ACTIONS))
    algorithm = DQN(
        policy=policy,
        optim=AdamOptimizerFactory(lr=5e-4),
        gamma=DISCOUNT,
        target_update_freq=500,
        is_double=True,
    )
    buffer = PrioritizedReplayBuffer(MEMORY, alpha=0.6, beta=0.4)
    buffer.set_batch(
        Batch(
            obs=given.obs,
            act=given.action,
            rew=given.reward.astype(np.float64),
            terminated=np.zeros(MEMORY, bool),
            truncated=np.zeros(MEMORY, bool),
            done=np.zeros(MEMORY, bool),
            obs_next=given.next_obs,
            info=Batch(),
        )
    )
    buffer._size = MEMORY
    buffer.weight[np.arange(MEMORY)] = 1.0

    def update() -> None:
        with policy_within_training_step(policy):
            algorithm.update(buffer=buffer, sample_size=BATCH)

    return update


def rate(update: Update, seconds: float) -> float:
    """Updates per second."""
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        update()
        count += 1
    return count / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter turns")
    given = parser.parse_args()
    seconds, turns = (0.3, 3) if given.quick else (2.0, 7)
    threadpool_limits(1)  # of numpy's matrix products and of torch's
    transitions = experience()
    makers: dict[str, Callable[[], Update]] = {
        "hasten, double dueling, prioritized": lambda: own(transitions, True),
        "hasten, double dueling, uniform": lambda: own(transitions, False),
        "Stable-Baselines3, plain DQN": lambda: stable_baselines(transitions),
        "Tianshou, double dueling, prioritized": lambda: tianshou(transitions),
    }
    updates: dict[str, Update] = {}
    for name, make in makers.items():
        try:
            updates[name] = make()
            rate(updates[name], 0.3)
        except ImportError as error:
            print(f"{name}: not measured, {error.name} is not installed (see --help)")
    found: dict[str, list[float]] = {name: [] for name in updates}
    for _ in range(turns):
        for name, update in updates.items():
            found[name].append(rate(update, seconds))
    first = statistics.median(found["hasten, double dueling, prioritized"])
    print(f"{'':40}{'updates/s':>10}{'hasten is':>12}")
    for name, rates in found.items():
        middle = statistics.median(rates)
        print(f"{name:40}{middle:>10.0f}{first / middle:>11.2f}x")


if __name__ == "__main__":
    main()
