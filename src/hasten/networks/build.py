"""From a model and data to a package: attach exits, train them, calibrate them, cut and write.

``build`` does it for anyone's model; ``build_default`` does it for the network of the demo and remembers the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

import hasten.networks
import hasten.split
from hasten.core.errors import HastenError, InputError
from hasten.core.output import write_bytes
from hasten.networks.attach import MultiExit, OwnExits, attach_exits
from hasten.networks.backbone import cifar_resnet, digits_resnet
from hasten.networks.cache import cache_folder, cached_package, cached_weights, file_hash, keep_weights, recipe_hash
from hasten.networks.calibrate import Calibrated, calibrated, exit_accuracy
from hasten.networks.data import Dataset, cifar10, digits, load_dataset
from hasten.networks.factory import load_network
from hasten.networks.train import Progress, TrainSettings, train_exits
from hasten.split.build import build_package, check_path, rehearse, warn
from hasten.split.manifest import MAX_NAME
from hasten.split.package import Package, open_package

SHIPPED_WEIGHTS = Path(str(hasten.networks.__file__)).parent / "weights" / "digits.pt"

SAMPLES = 512
"""Test inputs that travel in a package: the tasks of a demo, so enough to measure accuracy to 2 points."""

KNOWS, WORSE = 1.5, 0.005
"""So many times better than guessing before training, a final exit knew something; a loss worth a warning."""

_LATE = (1.0, 1.0, 2.0, 3.0, 4.0, 8.0)
DEFAULT_SETTINGS = {
    "digits": TrainSettings(epochs=6, exit_weights=_LATE),
    "cifar10": TrainSettings(epochs=3, exit_weights=_LATE),
}
"""How the default networks are trained; the last exit, which has most to learn, weighs more than its number says."""

QUICK_TRAIN, QUICK_TEST = 4_096, 1_000
QUICK_SETTINGS = {data: replace(usual, epochs=3, peak_lr=8e-3) for data, usual in DEFAULT_SETTINGS.items()}
"""In few steps a larger learning rate gets further."""


def build(
    factory: str,
    exits: Sequence[str],
    data: str,
    path: Path,
    settings: TrainSettings | None = None,
    progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Package:
    """Build the network that ``factory`` (MODULE:FACTORY) makes into a package at ``path``.

    Args:
        factory: names a function without arguments that returns a ``torch.nn.Module``.
        exits: layers to attach exits to; empty when the module returns a tuple of logits by itself.
        data: ``digits``, ``cifar10`` or a folder with train.npz and test.npz.
        path: the ``.hasten`` file; written whole or not at all.
        settings: how to train; its seed also draws the data and the initial weights.
        progress: told what is being done and which fraction of that is done.
        on_note: told what is worth knowing of the result, as by :func:`hasten.split.build.build_package`, and how
            accurate a network that knew something already was before and after.

    Raises:
        InputError: names, data and module do not fit each other, or the network cannot be exported and cut; says which,
            before it is trained.
        HastenError: training diverged, or the package does not compute what the network computes. What was trained is
            then kept beside ``path`` and named.
    """
    check_path(path)
    settings = settings or TrainSettings()
    dataset = load_dataset(data, settings.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        module = load_network(factory)
        network = _with_exits(module, exits, dataset)
    names = [name[-MAX_NAME:] for name in network.exit_names]
    if progress:
        progress("checking export and cuts", 0.0)
    rehearse(network, dataset.test_x, names)
    before = exit_accuracy(network, dataset.val_x, dataset.val_y)[-1]
    module = _trained(network, dataset, settings, progress)
    _tell_before_and_after(before, exit_accuracy(module, dataset.val_x, dataset.val_y)[-1], dataset, on_note)
    with _kept_on_failure(network, path):
        return _pack(module, dataset, factory.partition(":")[2], names, path, progress, on_note)


def build_default(
    data: str = "digits",
    path: Path | None = None,
    quick: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Package:
    """Build the demo's network for ``digits`` or ``cifar10``, or take it from the cache if nothing has changed.

    The weights for ``digits`` with seed 0 ship with hasten (``scripts/train_digits.py`` trains them); all others are
    trained on first use and kept.

    Args:
        data: which data, and with it which network.
        path: where to put the package; None leaves it in the cache.
        quick: measure accuracy on fewer pictures and, where there is something to train, do it for seconds only.
        seed: of data, initial weights and training.
        progress: told what is being done and which fraction of that is done.
    """
    if data not in DEFAULT_SETTINGS:
        raise InputError("data", "name", data, f"one of {', '.join(DEFAULT_SETTINGS)}")
    settings = replace((QUICK_SETTINGS if quick else DEFAULT_SETTINGS)[data], seed=seed)
    shipped = data == "digits" and seed == 0 and SHIPPED_WEIGHTS.is_file()
    recipe = {"data": data, "quick": quick, **asdict(settings), "shipped": shipped and file_hash(SHIPPED_WEIGHTS)}
    kept = cache_folder() / f"{data}-{recipe_hash(recipe, (hasten.networks, hasten.split))}.hasten"
    package = cached_package(kept)
    if package is None:
        dataset = _default_data(data, quick, seed)
        trained = cache_folder() / f"{data}-{recipe_hash(recipe, (hasten.networks,))}.pt"
        weights = SHIPPED_WEIGHTS if shipped else trained
        network, module = _default_network(dataset, settings, weights, progress)
        package = _pack(module, dataset, f"{data}-resnet", network.exit_names, kept, progress)
    if path is None:
        return package
    write_bytes(path, kept.read_bytes())
    return open_package(path)


def train_default(data: str, seed: int = 0, progress: Progress | None = None) -> tuple[Dataset, MultiExit, Calibrated]:
    """Train a default network as :func:`build_default` does: its data, the network, and its calibrated form."""
    settings = replace(DEFAULT_SETTINGS[data], seed=seed)
    dataset = _default_data(data, False, seed)
    network = _untrained(dataset, settings)
    return dataset, network, _trained(network, dataset, settings, progress)


def settings_for(data: str, epochs: int | None = None, seed: int = 0) -> TrainSettings:
    """How :func:`build` trains on ``data``: as many epochs as the default network there, unless ``epochs`` says."""
    usual = DEFAULT_SETTINGS.get(data, TrainSettings()).epochs
    return TrainSettings(epochs=usual if epochs is None else epochs, seed=seed)


def _with_exits(module: nn.Module, exits: Sequence[str], dataset: Dataset) -> MultiExit | OwnExits:
    if isinstance(module, MultiExit) and not exits:
        return module
    if exits:
        return attach_exits(module, exits, dataset.classes, dataset.input_shape)
    return OwnExits(module, dataset.classes, dataset.input_shape)


def _tell_before_and_after(
    before: float, after: float, dataset: Dataset, on_note: Callable[[str], None] | None
) -> None:
    """What training did to a final exit that was better than guessing before: weights that were given."""
    guessing = float(np.bincount(dataset.val_y, minlength=dataset.classes).max()) / len(dataset.val_y)
    if before < KNOWS * guessing or before < guessing + 0.1:
        return
    note = f"final exit on validation data: {before:.3f} right before training, {after:.3f} after it"
    if after < before - WORSE:
        note += (
            ": training made it worse. A smaller peak_lr (1e-4), more epochs, or a frozen network, of which only the "
            "heads are trained (requires_grad_(False)), keeps what it knew"
        )
    (on_note or warn)(note)


@contextmanager
def _kept_on_failure(network: nn.Module, path: Path) -> Iterator[None]:
    """Keep the trained weights when what follows fails, and say where they are."""
    try:
        yield
    except Exception as error:
        kept = path.with_name(f"{path.stem}.weights.pt")
        try:
            keep_weights(kept, network.state_dict())
        except HastenError as second:
            raise HastenError(f"{error}; the trained weights could not be kept either: {second}") from error
        raise HastenError(f"{error}; the trained weights are kept in {kept}") from error


def _default_network(
    dataset: Dataset, settings: TrainSettings, weights: Path, progress: Progress | None
) -> tuple[MultiExit, Calibrated]:
    """The default network for ``dataset`` and its calibrated form, trained now or with the weights kept from before."""
    network = _untrained(dataset, settings)
    known = cached_weights(weights)
    if known is None:
        module = _trained(network, dataset, settings, progress)
        keep_weights(weights, module.state_dict())
    else:
        module = Calibrated(network, [1.0] * len(network.exit_names))
        module.load_state_dict(known)
    return network, module.eval()


def _untrained(dataset: Dataset, settings: TrainSettings) -> MultiExit:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return digits_resnet() if dataset.name == "digits" else cifar_resnet()


def _trained(
    network: MultiExit | OwnExits, dataset: Dataset, settings: TrainSettings, progress: Progress | None
) -> Calibrated:
    train_exits(network, dataset.train_x, dataset.train_y, settings, progress)
    return calibrated(network, dataset.val_x, dataset.val_y)


def _pack(
    module: Calibrated,
    dataset: Dataset,
    name: str,
    exit_names: Sequence[str],
    path: Path,
    progress: Progress | None,
    on_note: Callable[[str], None] | None = None,
) -> Package:
    return build_package(
        module,
        dataset.test_x,
        dataset.test_y,
        name=name,
        exit_names=exit_names,
        path=path,
        samples=min(SAMPLES, len(dataset.test_y)),
        progress=progress,
        on_note=on_note,
    )


def _default_data(data: str, quick: bool, seed: int) -> Dataset:
    if data == "digits":
        return digits(seed, QUICK_TRAIN, QUICK_TEST, QUICK_TEST) if quick else digits(seed)
    whole = cifar10(seed)
    return whole.first(QUICK_TRAIN, QUICK_TEST) if quick else whole
