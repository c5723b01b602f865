"""Ctrl-C and SIGTERM: the best policy so far is kept, at once, wherever the training is."""

import signal
import time

import numpy as np
import pytest
from learn_scenarios import SMALL as QUICK
from learn_scenarios import cameras

import hasten as hs
from hasten.learn import improvement_margin, interruption, trainer
from hasten.learn.command import train_to_file
from hasten.learn.curve import Interrupted
from hasten.learn.domain import FIXED
from hasten.learn.interruption import check_interrupt, interruptible
from hasten.policies.policy import load_policy

pytestmark = pytest.mark.usefixtures("quick_training")

SMALL = {name: value for name, value in QUICK.items() if name != "values"} | {"updates": 600, "hidden": (4, 8)}


def raise_at(number, updates):
    def on_point(point):
        if point.updates == updates:
            signal.raise_signal(number)

    return on_point


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_best_policy_so_far_is_written(tmp_path, number):
    def progress(what, done):
        if "6 steps" in what:
            signal.raise_signal(number)

    output, before = tmp_path / "policy.onnx", [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    training, interrupted = train_to_file(cameras(1), output, FIXED, progress, [], None, values="backlogs", **SMALL)
    assert interrupted and training.stopped == "interrupted after 6 steps" and len(training.curve) == 2
    assert any("the best policy so far is kept: interrupted" in text for text in training.warnings())
    assert load_policy(output).manifest.training["kept_after"] == training.best.updates
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_interrupt_carries_the_training_and_ends_loops_around_it():
    with pytest.raises(KeyboardInterrupt) as caught:
        hs.train(cameras(1), domain=FIXED, on_point=raise_at(signal.SIGINT, 3), **SMALL)
    assert isinstance(caught.value, Interrupted)
    best = caught.value.training.policy
    assert best.manifest.margins.margin == ((0.02,),) and np.isfinite(best.head).all()


@pytest.mark.parametrize("stage", ["demonstrate", "Validation"])
def test_before_the_first_look_there_is_nothing_to_keep(monkeypatch, stage):
    module = "hasten.learn.initial_replay" if stage == "demonstrate" else "hasten.learn.trainer"
    whole = getattr(__import__(module, fromlist=[stage]), stage)

    def interrupted(*args, **options):
        signal.raise_signal(signal.SIGINT)
        return whole(*args, **options)

    monkeypatch.setattr(f"{module}.{stage}", interrupted)
    with pytest.raises(Interrupted, match="before any policy was judged: nothing is kept") as caught:
        hs.train(cameras(1), domain=FIXED, **SMALL)
    assert caught.value.training is None


def test_the_choice_of_leads_can_be_interrupted(monkeypatch):
    gains, asked = improvement_margin._gains, []

    def slow(*args):
        asked.append(args)
        if len(asked) == 2:
            signal.raise_signal(signal.SIGINT)
        return gains(*args)

    monkeypatch.setattr(improvement_margin, "_gains", slow)
    with pytest.raises(Interrupted) as caught:
        hs.train(cameras(1), domain=FIXED, **(SMALL | {"updates": 3}))
    assert len(asked) == 2 and caught.value.training.best.updates == 3


def test_what_does_not_ask_is_interrupted_after_a_while(monkeypatch):
    monkeypatch.setattr(interruption, "GRACE_S", 0.01)
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGINT)
        time.sleep(10)


def test_a_second_signal_does_not_wait():
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    check_interrupt()
    assert trainer.check_interrupt is check_interrupt


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
            check_interrupt()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
