"""Pictures of decisions: their shape, and that what they show is what there is."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import hasten as hs
from hasten.core.errors import InputError
from hasten.features.layout import ActionLayout, StateFeature
from hasten.sim.env import OffloadVectorEnv
from hasten.sim.env_arguments import DEFAULT_SCENARIO
from hasten.sim.picture import BACKLOG_WIDTH, DEVICE, EDGE, RIGHT, Decided, Scene, draw

SCENARIO = hs.scenario_from(DEFAULT_SCENARIO)
SHORT = {**DEFAULT_SCENARIO, "tasks_per_stream": 4}
OPTIONS, _ = SCENARIO.options.undominated()
LAYOUT = ActionLayout(OPTIONS.exit.shape[1])


def scene(allowed=0, **observed):
    observation = np.zeros(LAYOUT.size, dtype=np.float32)
    observation[LAYOUT.latencies] = 1.0
    for name, value in observed.items():
        observation[StateFeature[name.upper()]] = value
    mask = np.zeros(LAYOUT.options + 1, dtype=np.int8)
    mask[:allowed] = 1
    return Scene(4, 1, observation, mask, OPTIONS)


def pixels(picture, colour, columns=slice(None)):
    return int((picture[:, columns] == np.array(colour)).all(axis=2).sum())


def test_backlogs_are_bars_as_long_as_they_are():
    backlogs = slice(RIGHT, RIGHT + BACKLOG_WIDTH)
    assert pixels(draw(scene(), None), EDGE, backlogs) == 0
    half, whole = (draw(scene(edge_wait=wait), None) for wait in (0.9, 2.0))
    assert half.shape == (360, 640, 3) and half.dtype == np.uint8
    line = 2 * 20  # of the deadline, over the bar of two deadlines
    assert pixels(half, EDGE, backlogs) == 20 * round(0.45 * BACKLOG_WIDTH)
    assert pixels(whole, EDGE, backlogs) == 20 * BACKLOG_WIDTH - line


def test_allowed_options_and_the_last_decision_show():
    options = slice(330, 640)
    some, more = (pixels(draw(scene(allowed), None), DEVICE, options) for allowed in (1, 3))
    assert some > 0 and more == 3 * some
    told = draw(scene(), Decided(0, 3, 2, 0.79))[330:]
    assert not np.array_equal(told, draw(scene(), Decided(0, 0, 0, 0.0))[330:])
    assert not np.array_equal(told, draw(scene(), Decided(0, 3, 1, 0.79))[330:])


def test_the_environment_draws_what_it_shows():
    env = gymnasium.make("hasten/Offload-v0", scenario=SCENARIO, render_mode="rgb_array")
    check_env(env.unwrapped)
    _, info = env.reset(options={"seed": 3})
    first = env.render()
    assert first.shape == (360, 640, 3) and first.dtype == np.uint8 and np.array_equal(first, env.render())
    env.step(int(info["action_mask"].argmax()))
    assert not np.array_equal(first, env.render())
    ended = False
    while not ended:
        _, _, _, ended, _ = env.step(0)
    assert env.render().shape == first.shape


@pytest.mark.parametrize("mode", ["vector_entry_point", "sync"])
def test_a_vector_environment_draws_every_row(mode):
    """Each row's picture is that of the single environment in the same episode, also after its next one has begun."""
    seeds = [3, 4, 5]
    many = gymnasium.make_vec(
        "hasten/Offload-v0", num_envs=3, vectorization_mode=mode, scenario=SHORT, render_mode="rgb_array"
    )
    single = [gymnasium.make("hasten/Offload-v0", scenario=SHORT, render_mode="rgb_array") for _ in seeds]
    many.reset(seed=seeds)
    for env, seed in zip(single, seeds, strict=True):
        env.reset(seed=seed)
    tasks = SHORT["tasks_per_stream"] * len(hs.scenario_from(SHORT).devices)
    for step in range(tasks + 3):
        pictures = many.render()
        assert isinstance(pictures, tuple) and len(pictures) == 3
        assert all(np.array_equal(picture, env.render()) for picture, env in zip(pictures, single, strict=True))
        assert step != 2 or not np.array_equal(pictures[0], pictures[1])
        actions = np.array([step % 3, 1, single[2].action_space.n - 1])
        *_, ended, _ = many.step(actions)
        for env, action in zip(single, actions, strict=True):
            if mode == "sync" and step == tasks:  # Gymnasium's own begins the next episode one step later
                env.reset()
                continue
            env.step(action)
            if mode != "sync" and ended[0]:
                env.reset()


def test_a_vector_environment_refuses_other_modes_and_pictures_before_reset():
    with pytest.raises(InputError, match="rgb_array"):
        OffloadVectorEnv(2, SHORT, render_mode="human")
    assert OffloadVectorEnv(2, SHORT).render() is None
    env = OffloadVectorEnv(2, SHORT, render_mode="rgb_array")
    with pytest.raises(gymnasium.error.ResetNeeded, match="render"):
        env.render()


def test_without_a_mode_there_is_no_picture_and_other_modes_are_refused():
    env = gymnasium.make("hasten/Offload-v0", scenario=SCENARIO).unwrapped
    env.reset(seed=0)
    assert env.render() is None
    with pytest.raises(InputError, match="rgb_array"):
        type(env)(SCENARIO, render_mode="human")
