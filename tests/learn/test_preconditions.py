"""What can teach nothing is refused at once, in one line; loops that wait for experience end."""

import numpy as np
import pytest
from learn_scenarios import cameras

import hasten as hs
from hasten.core.errors import HastenError, InputError
from hasten.learn.change import Change, changed
from hasten.learn.collect import Collected
from hasten.learn.demonstrations import demonstrate
from hasten.learn.domain import FIXED, Domain
from hasten.learn.preconditions import check_trainable
from hasten.learn.settings import Settings
from hasten.learn.trainer import Trainer
from hasten.learn.transitions import Transitions

pytestmark = pytest.mark.usefixtures("quick_training")

NOTHING = Transitions(
    np.zeros((0, 4), np.float32),
    np.zeros((0, 3), np.int8),
    np.zeros(0, np.int64),
    np.zeros(0, np.float32),
    np.zeros((0, 4), np.float32),
    np.zeros((0, 3), np.int8),
    np.zeros(0, np.float32),
)

LONG = {"tasks_per_stream": None, "horizon_ms": 1000.0}


def altered(scenario, **parts):
    data = scenario.model_dump(mode="json", by_alias=True)
    data["streams"][0] |= parts.pop("stream", {})
    return hs.scenario_from(data | parts, "given")


@pytest.mark.parametrize("values", ["backlogs", "actions"])
def test_a_deadline_that_nothing_can_meet_is_refused_before_the_training(values):
    with pytest.raises(InputError, match=r"deadline_ms: got 1.0, expected a longer one: with at most 2 ms in training"):
        hs.train(cameras(deadline_ms=1), values=values)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"tasks_per_stream": None, "horizon_ms": 0.5},
            "horizon_ms: got 0.5, expected a horizon in which tasks arrive",
        ),
        ({"tasks_per_stream": 0}, "tasks_per_stream: got 0, expected at least 1 task"),
        (LONG | {"stream": {"arrivals": {"kind": "explicit", "times_ms": []}}}, "streams.arrivals: got '0 tasks'"),
        (
            LONG | {"stream": {"count": 1, "arrivals": {"kind": "explicit", "times_ms": [5.0]}}},
            "got '1 tasks', expected at least",
        ),
        (
            {"gain": {"kind": "tradeoff", "lambda": 50.0}},
            "gain: got 'tradeoff', expected one by which some option gains",
        ),
    ],
)
def test_scenarios_without_tasks_or_gain_are_refused(parts, message):
    scenario = altered(cameras(), **parts)
    with pytest.raises(InputError, match=message):
        check_trainable(scenario, FIXED)


def test_what_only_the_best_case_of_the_domain_allows_is_not_refused():
    with pytest.raises(InputError, match="deadline_ms"):
        check_trainable(cameras(deadline_ms=8), FIXED)
    check_trainable(cameras(deadline_ms=8), Domain(deadline=(1.0, 10.0)))
    check_trainable(cameras(deadline_ms=8), Domain(deadline=(1.0, 1.0), uplink_rate=(1.0, 100.0)))


def test_recording_demonstrations_ends_however_few_there_are():
    asked = []

    def record(runs, actor, rng):
        asked.append(sum(run.tasks for run in runs.realizations))
        return Collected(NOTHING, np.zeros(0, np.bool_), [])

    found = demonstrate(cameras(), FIXED, "greedy", 100, record, seed=0)
    assert len(found.experience) == 0 and 1 < len(asked) < 40


def test_a_training_without_experience_ends_with_a_reason(monkeypatch):
    trainer = Trainer(cameras(2), FIXED, Settings.usual("actions", init="none", hidden=(4,)))
    nothing = trainer._replay.at(np.zeros(0, np.int64))
    monkeypatch.setattr(Trainer, "_experience", lambda self, rng: iter([nothing]))
    with pytest.raises(HastenError, match="nothing to learn from: a run needs at least two tasks"):
        trainer.run(None, None)


def test_runs_too_short_for_rollouts_go_on_without():
    times = {"kind": "explicit", "times_ms": [1.0, 30.0, 60.0]}
    scenario = altered(cameras(2), stream={"arrivals": times}, **LONG)
    small = {"updates": 4, "round_updates": 2, "validate_every": 1, "batches": 1, "demonstrations": 50}
    found = hs.train(scenario, rollouts_from=0.0, hidden=(4, 8), **small).training
    assert found.notes == (
        "runs are too short for paired rollouts: what another option leads to is told by the timing law alone",
    )
    assert found.curve[-1].updates == 4 and "to greedy" in str(found.best)


def test_a_run_of_rare_tasks_has_a_bounded_number_of_link_rates():
    rare = changed(cameras(rate_hz=1e-6), Change(link_variation=0.5), 3, 100)
    assert rare.uplink.rate.step_ms == pytest.approx(1000 * 100 / 1e-6 / 20_000)
    assert changed(cameras(), Change(link_variation=0.5), 3, 100).uplink.rate.step_ms == 100


def test_runs_of_explicit_times_have_as_many_tasks_as_there_are_times():
    explicit = altered(cameras(2), stream={"arrivals": {"kind": "explicit", "times_ms": [1.0, 30.0, 60.0]}}, **LONG)
    assert changed(explicit, Change(arrival_rate=2.0), 2, 100).realize(0).arrival_ms.tolist() == [
        0.5,
        0.5,
        15,
        15,
        30,
        30,
    ]
    assert changed(explicit, Change(), 2, 2).realize(0).tasks == 4

    streams = explicit.model_dump(mode="json", by_alias=True)["streams"]
    regular = streams[0] | {"name": "regular", "count": 1, "arrivals": {"kind": "periodic", "rate_hz": 50}}
    mixed = altered(explicit, streams=[streams[0] | {"count": 1}, regular])
    run = changed(mixed, Change(arrival_rate=2.0), 2, 100).realize(0)
    assert np.bincount(run.stream).tolist() == [3, 100] and run.arrival_ms.max() < 1000
