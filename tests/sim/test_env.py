"""The Gymnasium environments: the API's rules, the same model as the simulator, single and vector alike."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from sim_cases import COMBINATIONS, Scripted, random_scenario

import hasten.sim
from hasten.api import simulate
from hasten.core.decision import EdgeChoosing, predicted_latency, useful_limit_ms
from hasten.core.errors import HastenError, InputError
from hasten.core.gain import task_gain
from hasten.core.options import DROP
from hasten.core.scenario import scenario_from
from hasten.features.layout import ActionLayout, StateFeature
from hasten.features.observation_batch import Features
from hasten.sim import OffloadEnv, OffloadVectorEnv
from hasten.sim.env_arguments import DEFAULT_SCENARIO

ID = "hasten/Offload-v0"


VIEWS = [{}, {"view": {"kind": "device"}}]
"""As the case has it, and as devices see."""


def some_allowed(mask, rng):
    """One allowed action for each row, now and then any action at all."""
    wish = rng.random(mask.shape) * np.where(rng.random((len(mask), 1)) < 0.1, 1, mask)
    return wish.argmax(axis=1)


def test_registering_again_changes_nothing():
    spec = gymnasium.spec(ID)
    hasten.sim.register()
    assert gymnasium.spec(ID) is spec
    assert gymnasium.make(f"hasten.sim:{ID}").unwrapped.scenario.name == "scenario"


@pytest.mark.parametrize(("topology", "order"), COMBINATIONS)
def test_the_checker_has_no_complaint(tmp_path, topology, order):
    scenario = random_scenario(tmp_path, 2, topology, order)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(ID, scenario=scenario).unwrapped)


@pytest.mark.filterwarnings("ignore:noise")
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("topology", "order"), COMBINATIONS)
@pytest.mark.parametrize("given", VIEWS)
def test_an_episode_is_the_simulated_run_of_the_same_decisions(tmp_path, topology, order, seed, given):
    noise = "profile" if seed % 2 else "none"
    scenario = random_scenario(tmp_path, seed + 300, topology, order, tasks=30, noise=noise, **given)
    env = OffloadEnv(scenario)
    rng = np.random.default_rng(seed)
    observation, info = env.reset(options={"seed": seed})
    stream = scenario.realize(seed).stream
    option, rewards, observations, masks, truncated = [], [], [observation], [info["action_mask"]], False
    while not truncated:
        action = int(some_allowed(info["action_mask"][None], rng)[0])
        option.append(env.option_index(action, stream[len(option)]))
        observation, reward, terminated, truncated, info = env.step(action)
        assert not terminated
        assert env.observation_space.contains(observation)
        rewards.append(reward)
        observations.append(observation)
        masks.append(info["action_mask"])
    scheduler = Watching([option])
    result = simulate(scenario, scheduler, seed)
    assert len(rewards) == result.tasks
    assert sum(rewards) == pytest.approx(result.gain.sum(), abs=1e-9)
    if scenario.uplink.order == "grant":
        np.testing.assert_allclose(rewards, result.gain, atol=1e-12)
    np.testing.assert_array_equal(observations[:-1], scheduler.observations)
    np.testing.assert_array_equal(masks[:-1], scheduler.masks)


class Watching(Scripted):
    """Also computes what a learned scheduler would see."""

    def reset(self, context):
        super().reset(context)
        self.features = Features(context, context.options.undominated()[0])
        self.observations, self.masks = [], []

    def decide(self, view):
        observation, mask = self.features.observe(view)
        self.observations.append(observation[0])
        self.masks.append(mask[0])
        return super().decide(view)


def among_edges(folder, seed, topology, order, view, **given):
    """A random scenario with one more edge, farther away and with two workers, that serves by deadline where it may."""
    data = random_scenario(folder, seed, topology, order, view=view, **given).model_dump(by_alias=True)
    first = {"name": "a", "uplink": data.pop("uplink"), "edge": data.pop("edge")}
    queue = "deadline" if order == "ready" else "fifo"
    second = {"name": "b", "uplink": first["uplink"] | {"rtt_ms": 9.0}, "edge": {"workers": 2, "queue": queue}}
    return scenario_from(data | {"edges": [first, second]})


class WatchingEdges(EdgeChoosing, Scripted):
    """Also works out slowly what an environment should show: an observation's parts and a mask."""

    def reset(self, context):
        super().reset(context)
        self.table = context.options.undominated()[0]
        self.observations, self.masks, self.average = [], [], {}

    def decide(self, view):
        m, deadline_ms = view.stream[0], self.context.deadline_ms[view.stream[0]]
        latency_ms = predicted_latency(self.context, view, self.table)[0]
        gain = task_gain(self.table.worth[m], latency_ms, deadline_ms, *self.context.gain_terms)
        far, largest = view.further_edges[0], max(self.table.payload_bits[m].max(), 1.0) / deadline_ms
        rate = far.rate_bits_per_ms[0] / (far.rate_bits_per_ms[0] + largest)
        self.average[m] = self.average.get(m, rate) + 0.125 * (rate - self.average.get(m, rate))
        waits_ms = [far.uplink_wait_ms[0], far.edge_wait_ms[0, 0], far.edge_wait_ms[0].mean()]
        first = [view.device_wait_ms[0], view.uplink_wait_ms[0], view.edge_wait_ms[0, 0], view.edge_wait_ms[0].mean()]
        shares = [np.minimum(np.array(times) / deadline_ms, 2.0) for times in (first, latency_ms, waits_ms)]
        self.observations.append(
            np.concatenate([shares[0], shares[1], np.clip(gain, -2, 2), shares[2], [rate, self.average[m]]])
        )
        useful = latency_ms <= useful_limit_ms(self.context)[m]
        self.masks.append(np.append(useful, not useful.any()))
        return super().decide(view)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("topology", "order"), COMBINATIONS)
@pytest.mark.parametrize("kind", ["fresh", "device"])
def test_with_several_edges_an_action_is_an_exit_a_partition_and_an_edge(tmp_path, topology, order, seed, kind):
    scenario = among_edges(tmp_path, seed + 40, topology, order, {"kind": kind}, tasks=20)
    env, rng = OffloadEnv(scenario, render_mode="rgb_array"), np.random.default_rng(seed)
    observation, info = env.reset(options={"seed": seed})
    layout, stream = ActionLayout(env.options.exit.shape[1], edges=2), scenario.realize(seed).stream
    option, total, observations, masks, truncated = [], 0.0, [observation], [info["action_mask"]], False
    while not truncated:
        action = int(some_allowed(info["action_mask"][None], rng)[0])
        option.append(env.option_index(action, stream[len(option)]))
        observation, reward, _, truncated, info = env.step(action)
        assert env.observation_space.contains(observation)
        total += reward
        observations.append(observation)
        masks.append(info["action_mask"])
    assert env.render().any()
    scheduler = WatchingEdges([option])
    result = simulate(scenario, scheduler, seed)
    assert total == pytest.approx(result.gain.sum(), abs=1e-9)
    assert seed > 0 or len(set(result.edge.tolist())) == 2
    waits = list(range(StateFeature.DEVICE_WAIT, StateFeature.EDGE_MEAN_WAIT + 1))
    seen = np.concatenate([waits, np.arange(layout.latencies.start, layout.size)])
    np.testing.assert_array_equal(masks[:-1], scheduler.masks)
    np.testing.assert_allclose(np.array(observations[:-1])[:, seen], scheduler.observations, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:noise")
@pytest.mark.parametrize(("topology", "order"), COMBINATIONS)
@pytest.mark.parametrize("given", [*VIEWS, {"edges": "fresh"}, {"edges": "device"}])
def test_vector_and_single_environments_give_the_same_transitions(tmp_path, topology, order, given):
    lasting = {"tasks_per_stream": None, "horizon_ms": 200.0, "noise": "profile"}
    if "edges" in given:
        scenario = among_edges(tmp_path, 17, topology, order, {"kind": given["edges"]}, streams=2, **lasting)
    else:
        scenario = random_scenario(tmp_path, 17, topology, order, streams=2, **lasting, **given)
    fast = OffloadVectorEnv(4, scenario, episodes=50)
    slow = SyncVectorEnv([lambda: OffloadEnv(scenario, episodes=50)] * 4, autoreset_mode=AutoresetMode.SAME_STEP)
    assert fast.metadata["autoreset_mode"] == slow.metadata["autoreset_mode"]
    assert fast.observation_space == slow.observation_space
    assert fast.action_space == slow.action_space
    rng = np.random.default_rng(0)
    same(fast.reset(seed=11), slow.reset(seed=11))
    mask = fast.reset(seed=12)[1]["action_mask"]
    slow.reset(seed=12)
    ended = 0
    for _ in range(150):
        action = some_allowed(mask, rng)
        ours, theirs = fast.step(action), slow.step(action)
        same(ours, theirs)
        mask, ended = ours[4]["action_mask"], ended + int(ours[3].sum())
    assert ended > 8


def same(ours, theirs):
    """Equal structures, arrays and all."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            same(ours[key], theirs[key])
    elif isinstance(theirs, tuple | list) or (isinstance(theirs, np.ndarray) and theirs.dtype == object):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            same(one, other)
    elif isinstance(theirs, np.ndarray):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(ours, theirs)
    else:
        assert ours == theirs


def test_returned_arrays_are_new_each_step():
    env = gymnasium.make_vec(ID, num_envs=3, vectorization_mode="vector_entry_point")
    first, info = env.reset(seed=0)
    kept, mask = first.copy(), info["action_mask"].copy()
    env.step(mask.argmax(axis=1))
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(info["action_mask"], mask)


def test_dropping_is_masked_exactly_where_an_option_is_feasible(tmp_path):
    env = OffloadVectorEnv(8, random_scenario(tmp_path, 30, "shared", "grant", tasks=50))
    _, info = env.reset(seed=1)
    for _ in range(60):
        mask = info["action_mask"]
        np.testing.assert_array_equal(mask[:, -1] == 1, ~mask[:, :-1].any(axis=1))
        info = env.step(mask.argmax(axis=1))[4]


def test_dropping_by_choice_earns_nothing():
    env = OffloadEnv()
    env.reset(seed=0)
    drop = int(env.action_space.n) - 1
    assert env.option_index(drop, 0) == DROP
    assert env.step(drop)[1] == 0.0


def test_realizations_are_drawn_from_as_many_as_asked_for():
    few = OffloadVectorEnv(64, episodes=2)
    assert len(np.unique(few.reset(seed=0)[0], axis=0)) == 2
    many = OffloadVectorEnv(64, episodes=None)
    assert len(np.unique(many.reset(seed=0)[0], axis=0)) == 64


def test_old_episodes_make_room_without_a_trace(tmp_path, monkeypatch):
    scenario = random_scenario(tmp_path, 40, "dedicated", "ready", tasks=10)
    played = []
    for room in (4_000_000, 100):
        monkeypatch.setattr("hasten.sim.episodes.ROOM_TASKS", room)
        env = OffloadVectorEnv(3, scenario, episodes=None)
        _, info = env.reset(seed=5)
        steps = []
        for _ in range(200):
            observation, reward, _, _, info = env.step(info["action_mask"].argmax(axis=1))
            steps.append((observation, reward))
        played.append(steps)
    same(played[0], played[1])


@pytest.mark.parametrize("order", ["grant", "ready"])
def test_an_episode_without_tasks_ends_at_once(tmp_path, order):
    env = OffloadEnv(random_scenario(tmp_path, 41, "shared", order, tasks=0))
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    observation, reward, terminated, truncated, _ = env.step(0)
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert env.observation_space.contains(observation)


def test_a_dead_link_still_gives_finite_observations(tmp_path):
    rate = {"kind": "constant", "mbps": 0}
    env = OffloadEnv(random_scenario(tmp_path, 42, "shared", "ready", uplink={"order": "ready", "rate": rate}))
    observation, info = env.reset(seed=0)
    truncated = False
    while not truncated:
        assert env.observation_space.contains(observation)
        observation, _, _, truncated, info = env.step(int(info["action_mask"].argmax()))


def test_mistakes_are_named(tmp_path):
    env = OffloadEnv()
    env.reset(seed=0)
    for bad in (-1, int(env.action_space.n)):
        with pytest.raises(HastenError, match="expected 1 whole numbers from 0 to"):
            env.step(bad)
    vector = OffloadVectorEnv(2)
    with pytest.raises(gymnasium.error.ResetNeeded):
        vector.step(np.zeros(2, dtype=np.int64))
    with pytest.raises(InputError, match="streams"):
        OffloadEnv({"schema": "hasten.scenario/1", "streams": [], "uplink": {}})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: OffloadVectorEnv(0), "num_envs: got 0"),
        (lambda: OffloadVectorEnv(-1), "num_envs"),
        (lambda: OffloadVectorEnv(2.0), "num_envs"),
        (lambda: OffloadVectorEnv(10**12), "num_envs"),
        (lambda: OffloadVectorEnv(2, episodes=0), "episodes: got 0"),
        (lambda: OffloadEnv(episodes=0), "episodes: got 0"),
        (lambda: OffloadEnv(episodes=-3), "episodes"),
        (lambda: OffloadEnv(episodes=1.5), "episodes"),
        (lambda: OffloadEnv().reset(seed=-1), "seed: got -1"),
        (lambda: OffloadEnv().reset(seed=1.5), "seed"),
        (lambda: OffloadEnv().reset(options={"seed": -1}), "options.seed"),
        (lambda: OffloadEnv().reset(options={"sed": 1}), "options.sed"),
        (lambda: OffloadVectorEnv(2).reset(seed=[1]), "2 seeds, one for each row, not 1"),
        (lambda: OffloadVectorEnv(2).reset(seed=[1, 2, 3]), "2 seeds, one for each row, not 3"),
        (lambda: OffloadVectorEnv(2).reset(seed=np.zeros((2, 1), dtype=int)), "seed"),
        (lambda: OffloadVectorEnv(2).reset(seed=[1, -2]), "seed: got -2"),
        (lambda: OffloadVectorEnv(2).reset(seed=2**63 - 1), "seed"),
        (lambda: OffloadVectorEnv(2).reset(seed="12"), "seed"),
        (lambda: OffloadVectorEnv(2).reset(options={"seed": [1, 2, 3]}), "2 seeds"),
        (lambda: OffloadVectorEnv(2).reset(options={"seed": 2**63}), "options.seed"),
        (lambda: OffloadVectorEnv(2).reset(options={"reset_mask": np.array([True, False])}), "options.reset_mask"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(make, words):
    with pytest.raises(InputError, match=words) as caught:
        make()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("action", [None, "a", 1.5, np.nan, [0, 0], np.zeros(2, dtype=np.int64), {}])
def test_what_is_no_action_is_refused(action):
    env = OffloadEnv()
    env.reset(seed=0)
    with pytest.raises(InputError, match="step: action"):
        env.step(action)
    vector = OffloadVectorEnv(3)
    vector.reset(seed=0)
    with pytest.raises(InputError, match="step: actions"):
        vector.step(action)


def test_numbers_of_numpy_are_seeds_and_actions():
    vector, again = OffloadVectorEnv(2), OffloadVectorEnv(2)
    expected, _ = vector.reset(seed=5)
    for seed in (np.int64(5), np.array([5, 6]), [np.int32(5), 6], (5, 6), np.array(5)):
        np.testing.assert_array_equal(again.reset(seed=seed)[0], expected)
    again.reset(seed=[None, 6])
    played = again.reset(options={"seed": np.array([3, 4])})[0]
    np.testing.assert_array_equal(played[0], OffloadEnv().reset(options={"seed": np.int64(3)})[0])
    steps = [again.step([0, 1])[0], again.reset(options={"seed": (3, 4)})[0], again.step(np.array([0, 1], np.uint8))[0]]
    np.testing.assert_array_equal(steps[0], steps[2])
    env = OffloadEnv()
    env.reset(seed=0)
    for action in (0, np.int64(0), np.array(0), np.array([0])):
        env.step(action)


def test_statistics_of_episodes_are_right():
    scenario = dict(DEFAULT_SCENARIO, tasks_per_stream=3)
    envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(OffloadVectorEnv(2, scenario))
    _, info = envs.reset(seed=0)
    returns, lengths, seen = np.zeros(2), np.zeros(2, dtype=int), 0
    for _ in range(40):
        _, reward, _, truncated, info = envs.step(info["action_mask"].argmax(axis=1))
        returns, lengths = returns + reward, lengths + 1
        for row in np.flatnonzero(truncated):
            assert info["episode"]["r"][row] == pytest.approx(returns[row])
            assert info["episode"]["l"][row] == lengths[row] == 9
            returns[row], lengths[row], seen = 0.0, 0, seen + 1
    assert seen == 8
