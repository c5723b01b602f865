"""Train what of a network has to be trained, and nothing else; calibrate what was trained; say what it did.

``none``: the exits are trained already. ``heads``: the backbone is frozen, its statistics included, and the heads
learn, by labels or to answer as the deepest exit does. ``all``: everything learns; from given weights it starts gently:
heads first, then the backbone at a twentieth of their rate, and the weights that were best on validation data are kept.
Left to choose (``auto``), hasten trains what does not know anything yet, which it finds out by measuring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import nn

from hasten.core.errors import HastenError, InputError
from hasten.networks.attach import trial_run
from hasten.networks.calibrate import Calibrated, exit_logits, fit_temperature
from hasten.networks.data import Dataset
from hasten.networks.train import Array, Labels, Progress, TrainSettings, train_exits
from hasten.split.inputs import Inputs, count_of, first_of, joined

What = Literal["none", "heads", "all"]
TRAIN = ("auto", "none", "heads", "all")

GENTLY = 20.0
"""A backbone with given weights learns at the heads' rate divided by this."""

PROBED = 1_000
"""On so many inputs at most is measured whether a network knows something."""
TIMES_GUESSING, OF_ERRORS, DEVIATIONS = 3.0, 2 / 3, 4.0
"""An exit knows something that is right so many times more often than guessing, or has so much of guessing's errors
at most, and by so many standard deviations more than chance."""


@dataclass(frozen=True)
class Fitted:
    """A network ready to be packed, and what was done to it."""

    module: Calibrated
    trained: What
    why: str
    before: float | None
    """Share of validation inputs that the final exit got right before training; None without labels."""
    after: float | None
    """The same after it; equal where the backbone was not trained."""


def fit(
    network: nn.Module,
    dataset: Dataset,
    train: str = "auto",
    settings: TrainSettings | None = None,
    progress: Progress | None = None,
    *,
    given: bool = False,
    distill: bool = False,
) -> Fitted:
    """Train ``network`` (a tuple of logits, deepest last) in place as ``train`` says, and calibrate what was trained.

    Args:
        network: as :func:`hasten.networks.train.train_exits` takes it.
        dataset: what to train, validate and calibrate with; without labels only ``none`` and ``heads`` are possible.
        train: ``none``, ``heads``, ``all`` or ``auto``.
        settings: how to train; its ``parts`` and ``backbone_lr`` are set here.
        progress: told what is being done.
        given: the weights are known to be trained ones, so ``auto`` need not find out.
        distill: heads learn from the deepest exit's answers though there are labels.

    Raises:
        InputError: settings, data or network do not fit each other.
        HastenError: training diverged, or changed a frozen backbone.
    """
    if train not in TRAIN:
        raise InputError("build", "train", train, f"one of {', '.join(TRAIN)}")
    if dataset.train_y is not None and not dataset.classes:
        if train not in ("auto", "none") or distill:
            expected = "classes (N,), which hasten can train exits for; exits for other targets come trained (none)"
            raise InputError("training data", "labels", f"{dataset.train_y.dtype} {dataset.train_y.shape}", expected)
        exits = len(trial_run(network, dataset.test_x))  # type: ignore[arg-type]
        return Fitted(Calibrated(network, [1.0] * exits).eval(), "none", "targets are no classes", None, None)
    settings = settings or TrainSettings()
    settings = replace(settings, batch=max(2, min(settings.batch, count_of(dataset.train_x))))
    known = known_exits(network, dataset)
    what, why = _chosen(train, known, dataset, given)
    if distill and what != "heads":
        raise InputError("build", "distill", what, "heads to be trained (--train heads)")
    validation = (dataset.val_x, None if distill else dataset.val_y)
    before = exit_logits(network, dataset.val_x)[-1]
    labels = None if distill else dataset.train_y
    known_final = given or known[-1]
    if what == "heads" or (what == "all" and known_final):
        epochs = settings.epochs if what == "heads" else max(1, settings.epochs // 3)
        first = replace(settings, parts="heads", epochs=epochs)
        train_exits(network, dataset.train_x, labels, first, progress, validation)
    if what == "all":
        if known_final:
            settings = replace(
                settings,
                epochs=max(1, settings.epochs - settings.epochs // 3),
                backbone_lr=settings.backbone_lr or settings.peak_lr / GENTLY,
            )
        judged = known_final or settings.patience is not None
        train_exits(network, dataset.train_x, labels, settings, progress, validation if judged else None)
    logits = exit_logits(network, dataset.val_x)
    if what != "all" and not np.array_equal(logits[-1], before, equal_nan=True):
        raise HastenError("the final exit no longer gives what the model gave, though only heads were to be trained")
    accuracy = [None if dataset.val_y is None else _right(found, dataset.val_y) for found in (before, logits[-1])]
    temperatures = _temperatures(logits, dataset.val_y, what)
    return Fitted(Calibrated(network, temperatures).eval(), what, why, accuracy[0], accuracy[1])


def known_exits(network: nn.Module, dataset: Dataset) -> list[bool]:
    """Whether each exit of ``network`` answers clearly better than guessing; nothing is known without labels."""
    inputs, labels = _probe(dataset)
    logits = exit_logits(network, inputs)
    if labels is None:
        return [False] * len(logits)
    return [knows(found, labels) for found in logits]


def knows(logits: Array, labels: Array) -> bool:
    """Whether ``logits`` (N, classes) answer clearly better than guessing the most frequent of ``labels`` (N,)."""
    guessing = float(np.bincount(labels).max()) / len(labels)
    chance = DEVIATIONS * np.sqrt(guessing * (1 - guessing) / len(labels))
    right = _right(logits, labels)
    better = right >= TIMES_GUESSING * guessing or 1 - right <= OF_ERRORS * (1 - guessing)
    return bool(better and right > guessing + chance)


def _probe(dataset: Dataset) -> tuple[Inputs, Labels]:
    """Validation inputs, and training inputs where those are few."""
    more = max(0, PROBED - count_of(dataset.val_x))
    inputs = joined([first_of(dataset.val_x, PROBED), first_of(dataset.train_x, more)])
    if dataset.val_y is None or dataset.train_y is None:
        return inputs, None
    return inputs, np.concatenate([dataset.val_y[:PROBED], dataset.train_y[:more]])


def _chosen(train: str, known: Sequence[bool], dataset: Dataset, given: bool) -> tuple[What, str]:
    if train == "none":
        return "none", "asked for"
    if train == "heads":
        return "heads", "asked for"
    if train == "all":
        return "all", "asked for"
    if dataset.train_y is None:
        return "heads", "the data have no labels, so the heads learn to answer as the final exit does"
    if all(known):
        return "none", "every exit answers better than guessing already"
    if given or known[-1]:
        why = "the weights are given" if given else "the model answers better than guessing already"
        return "heads", f"{why}; --train all would train it, too"
    return "all", "the model does not answer better than guessing yet"


def _right(logits: Array, labels: Array) -> float:
    return float(np.mean(logits.argmax(axis=1) == labels))


def _temperatures(logits: Sequence[Array], labels: Labels, what: What) -> list[float]:
    """One per exit, fitted where hasten trained the exit; exits that are given stay as they are, to the bit."""
    if what == "none":
        return [1.0] * len(logits)
    targets = logits[-1].argmax(axis=1) if labels is None else labels
    fitted = [fit_temperature(found.astype(np.float64), targets) for found in logits]
    return fitted if what == "all" else [*fitted[:-1], 1.0]


def load_weights(module: nn.Module, path: str) -> None:
    """Give ``module`` the weights that ``torch.save(model.state_dict(), path)`` wrote; nothing in the file is run.

    Raises:
        InputError: no such file, or weights of another network; names what is missing or too much.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        expected = f"a state_dict saved by torch.save ({reason})"
        raise InputError(path, "weights", path, expected) from None
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict):
        raise InputError(path, "weights", type(state).__name__, "a state_dict saved by torch.save")
    if state and all(isinstance(name, str) and name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}  # saved from DataParallel
    try:
        missing, unexpected = module.load_state_dict(state, strict=False)
    except (RuntimeError, TypeError, AttributeError) as error:
        expected = f"the shapes of the network's ({' '.join(str(error).split())[:200]})"
        raise InputError(path, "weights", "other shapes", expected) from None
    if missing or unexpected:
        found = {"missing": missing[:4], "unexpected": unexpected[:4]}
        raise InputError(path, "weights", found, "the weights of this network")
