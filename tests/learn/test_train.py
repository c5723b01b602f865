"""Whole trainings, small: determinism, going on after a kill, what is refused, and what is said when it goes wrong."""

from dataclasses import replace

import numpy as np
import pytest
from random_policies import among_edges, random_policy

import hasten as hs
from hasten.api import simulate_batch
from hasten.core.errors import HastenError, InputError
from hasten.learn.collect import action_observation
from hasten.learn.curve import FinishedTraining, TrainedScheduler
from hasten.learn.domain import FIXED
from hasten.learn.settings import Settings
from hasten.learn.validation import Validation
from hasten.policies.afterstate_policy import AfterstatePolicy, tensor_shapes

pytestmark = pytest.mark.usefixtures("quick_training_everywhere")

HIDDEN = {"actions": (16,), "backlogs": (8, 16)}
SIZE = {
    "updates": 120,
    "round_updates": 40,
    "validate_every": 1,
    "runs": 4,
    "tasks": 30,
    "batches": 1,
    "batch": 32,
    "demonstrations": 160,
    "capacity": 300,
    "rollouts_from": 0.3,
}
SMALL = SIZE | {"values": "actions", "hidden": HIDDEN["actions"]}


@pytest.fixture(scope="module", params=["actions", "backlogs"])
def small(request):
    return SIZE | {"values": request.param, "hidden": HIDDEN[request.param]}


@pytest.fixture(scope="module")
def scenario():
    return hs.scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [
                {
                    "name": "cam",
                    "count": 2,
                    "profile": "alexnet-pi",
                    "deadline_ms": 80,
                    "arrivals": {"kind": "poisson", "rate_hz": 25},
                }
            ],
            "uplink": {"rate": {"kind": "constant", "mbps": 10}},
            "edge": {"slowdown": 4},
            "tasks_per_stream": 80,
        }
    )


@pytest.fixture(scope="module")
def trained(scenario, small, quick_training_everywhere) -> TrainedScheduler:
    return hs.train(scenario, seed=3, **small)


def weights(scheduler):
    policy = scheduler.policy
    if isinstance(policy, AfterstatePolicy):
        return [getattr(policy, name) for name in tensor_shapes(policy.manifest.hidden)]
    return [array for layer in (*policy.trunk, policy.value, policy.advantage) for array in layer]


def assert_same(one, other):
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_same_seed_gives_the_same_policy_and_another_seed_another(scenario, small, trained):
    assert_same(trained, hs.train(scenario, seed=3, **small))
    other = hs.train(scenario, seed=4, **small)
    assert any((a != b).any() for a, b in zip(weights(trained), weights(other), strict=True))


@pytest.mark.parametrize("replay", ["prioritized", "uniform"])
def test_training_goes_on_to_the_same_bits_after_a_kill(scenario, small, trained, tmp_path, replay):
    class Killed(Exception):
        pass

    def kill(point):
        if point.updates == 80:
            raise Killed

    straight = trained if replay == "prioritized" else hs.train(scenario, replay=replay, seed=3, **small)
    path = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        hs.train(scenario, replay=replay, seed=3, checkpoint=path, on_point=kill, **small)
    resumed = hs.train(scenario, replay=replay, seed=3, checkpoint=path, **small)
    assert_same(straight, resumed)
    scores = [[point.score for point in run.training.curve] for run in (straight, resumed)]
    assert scores[0] == scores[1]


def test_a_checkpoint_of_another_training_is_refused(scenario, tmp_path):
    path = tmp_path / "checkpoint"
    hs.train(scenario, seed=3, checkpoint=path, **SMALL)
    with pytest.raises(InputError, match=r"checkpoint: mark: .*same scenario, ranges and settings"):
        hs.train(scenario, seed=4, checkpoint=path, **SMALL)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="a checkpoint of `hasten train`"):
        hs.train(scenario, seed=3, checkpoint=path, **SMALL)


def test_the_saved_policy_decides_as_the_trained_one(scenario, trained, tmp_path):
    trained.save(tmp_path / "policy.onnx")
    loaded = hs.make_scheduler(f"policy:{tmp_path / 'policy.onnx'}")
    for one, other in zip(
        simulate_batch(scenario, trained, range(2)), simulate_batch(scenario, loaded, range(2)), strict=True
    ):
        np.testing.assert_array_equal(one.decisions, other.decisions)


def test_the_manifest_says_what_the_policy_is_for(trained):
    manifest = trained.policy.manifest
    assert manifest.training_range.streams == (2, 2)
    assert manifest.training_range.rate_mbps == pytest.approx((0.05 * 5, 2.2 * 40))
    assert manifest.training_range.rate_hz == pytest.approx((0.25 * 25 / 3, 4 * 200 / 3))
    assert manifest.training["init"] == "mixed" and manifest.training["seed"] == 3


def test_exploding_values_end_training_with_the_last_good_policy(scenario, monkeypatch):
    def lower_the_limit(point):
        monkeypatch.setattr("hasten.learn.trainer.EXPLODED", 1e-6)

    found = hs.train(scenario, seed=3, on_point=lower_the_limit, **SMALL).training
    assert "action values reached" in found.stopped and "after 80 steps" in found.stopped
    assert found.warnings()[0].startswith("training stopped early, the best policy so far is kept")
    assert [point.updates for point in found.curve] == [40] and found.best.updates == 40


def test_training_that_diverges_at_once_is_an_error(scenario):
    with pytest.raises(HastenError, match="diverged before any policy was good enough to keep"):
        hs.train(scenario, **(SMALL | {"learning_rate": 1e9, "clip_norm": 1e9}))


def test_a_policy_that_always_does_the_same_is_reported(scenario, trained):
    def first_allowed(observation):
        return np.tile(-np.arange(trained.policy.manifest.width + 1.0), (len(observation), 1))

    assert not trained.training.best.score.collapsed
    score = Validation(scenario, FIXED, action_observation, runs=4, tasks=60).score(first_allowed)
    assert score.collapsed
    collapsed = FinishedTraining(trained.policy, (), replace(trained.training.best, score=score))
    assert any("the policy has collapsed: it takes one action in" in warning for warning in collapsed.warnings())


def test_training_goes_on_from_a_policy(scenario, small, trained):
    start = trained.policy
    found = hs.train(scenario, start=start, **(small | {"updates": 1, "round_updates": 1, "learning_rate": 1e-12}))
    for a, b in zip(weights(trained), weights(found), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    with pytest.raises(InputError, match="policy: layers"):
        hs.train(scenario, start=start, **(small | {"hidden": tuple(width + 1 for width in small["hidden"])}))


def test_event_files_hold_the_curve(scenario, tmp_path):
    hs.train(scenario, seed=3, tensorboard=tmp_path / "events", **SMALL)
    (file,) = (tmp_path / "events").iterdir()
    data = file.read_bytes()
    assert data.count(b"eval/gain_over_greedy") == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"init": "dqn"}, "train: init: got 'dqn', expected one of none, greedy, dp, mixed"),
        ({"replay": "prior"}, "uniform or prioritized"),
        ({"discount": 1.0}, "up to, not including, 1"),
        ({"updates": 0}, "at least 1"),
    ],
)
def test_bad_settings_are_refused(scenario, given, message):
    with pytest.raises(InputError, match=message):
        hs.train(scenario, **given)


def test_exploration_importance_and_margin_follow_their_schedules():
    settings = Settings.usual(
        "actions", updates=100, beta=0.4, margin=1.0, margin_updates=50, explore_updates=10, init="none"
    )
    assert settings.beta_at(0) == 0.4 and settings.beta_at(100) == 1.0 and settings.beta_at(250) == 1.0
    assert settings.margin_at(0) == 1.0 and settings.margin_at(50) == 0.0 and settings.margin_at(90) == 0.0
    assert settings.explore_at(0) == 1.0 and settings.explore_at(20) == settings.last_explore
    assert Settings(init="dp").explore_at(0) == 0.4 and Settings(init="dp", explore=1.0).explore_at(0) == 1.0


def test_what_is_for_values_of_actions_is_refused_for_those_of_backlogs(scenario):
    for given in ({"steps": 3}, {"margin": 0.5}):
        with pytest.raises(InputError, match=r"train: values: got 'backlogs', expected .*actions"):
            Settings(**given)
    with pytest.raises(InputError, match="train: values: got 'rewards'"):
        Settings(values="rewards")
    with pytest.raises(InputError, match=r"train: hidden: .*two widths"):
        hs.train(scenario, **(SIZE | {"hidden": (16,)}))
    start = hs.train(scenario, **(SMALL | {"updates": 1, "round_updates": 1})).policy
    with pytest.raises(InputError, match="policy: values: got 'actions', expected backlogs"):
        hs.train(scenario, start=start, **(SIZE | {"hidden": HIDDEN["backlogs"]}))
    assert Settings.usual("actions").updates > Settings.usual().updates == Settings().updates


@pytest.mark.filterwarnings("ignore:noise")
def test_a_policy_for_real_runs_is_trained_on_what_devices_see(scenario, small):
    seen = scenario.model_dump(by_alias=True) | {"view": {"kind": "device"}, "noise": "profile"}
    one_round = small | {"updates": 40}
    trained = hs.train(hs.scenario_from(seen), domain=FIXED, **one_round)
    assert trained.policy.manifest.view == "device"
    own = hs.train(scenario, domain=FIXED, **one_round)
    assert own.policy.manifest.view == "fresh"
    assert trained.training.best.score.greedy != own.training.best.score.greedy  # the runs are others


def test_a_policy_learns_to_choose_among_edges_and_decides_as_it_was_judged(tmp_path):
    scenario = among_edges(2, tasks=60)
    found = hs.train(scenario, seed=3, **(SIZE | {"values": "backlogs", "hidden": HIDDEN["backlogs"]}))
    assert found.policy.manifest.edges == 2 and found.training.best.score.gain > 0.9 * found.training.best.score.greedy
    found.save(tmp_path / "p.onnx")
    loaded = hs.make_scheduler(f"policy:{tmp_path / 'p.onnx'}")
    for mine, theirs in zip(*(simulate_batch(scenario, s, [0, 1]) for s in (found, loaded)), strict=True):
        np.testing.assert_array_equal(mine.decisions, theirs.decisions)
        np.testing.assert_array_equal(mine.edge, theirs.edge)
        assert len(np.unique(mine.edge)) == 2


def test_what_is_not_for_several_edges_is_refused(scenario):
    both = among_edges(2, tasks=60)
    with pytest.raises(InputError, match="values: got 'actions', expected backlogs: values of actions know no choice"):
        hs.train(both, **SMALL)
    one = random_policy(scenario, hidden=HIDDEN["backlogs"], values="backlogs")
    with pytest.raises(InputError, match="policy: edges: got 1, expected a policy for several edges"):
        hs.train(both, start=one, **(SIZE | {"values": "backlogs", "hidden": HIDDEN["backlogs"]}))
