"""The default networks of the demo: built once, remembered with a hash of everything they depend on."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import torch

import hasten.networks
import hasten.split
from hasten.core.errors import InputError
from hasten.core.output import write_bytes
from hasten.networks.attach import MultiExit
from hasten.networks.backbone import cifar_resnet, digits_resnet
from hasten.networks.build import DEFAULT_SETTINGS, pack
from hasten.networks.cache import cache_folder, cached_package, cached_weights, file_hash, keep_weights, recipe_hash
from hasten.networks.calibrate import Calibrated, calibrated
from hasten.networks.data import Dataset, cifar10, digits
from hasten.networks.train import Progress, TrainSettings, train_exits
from hasten.split.package import Package, open_package

SHIPPED_WEIGHTS = Path(str(hasten.networks.__file__)).parent / "weights" / "digits.pt"

QUICK_TRAIN, QUICK_TEST = 4_096, 1_000
QUICK_SETTINGS = {data: replace(usual, epochs=3, peak_lr=8e-3) for data, usual in DEFAULT_SETTINGS.items()}
"""In few steps a larger learning rate gets further."""


def build_default(
    data: str = "digits",
    path: Path | None = None,
    quick: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
    max_accuracy_loss: float | None = None,
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
        max_accuracy_loss: tasks may stop early where that costs at most so much accuracy; None: never.
    """
    if data not in DEFAULT_SETTINGS:
        raise InputError("data", "name", data, f"one of {', '.join(DEFAULT_SETTINGS)}")
    settings = replace((QUICK_SETTINGS if quick else DEFAULT_SETTINGS)[data], seed=seed)
    shipped = data == "digits" and seed == 0 and SHIPPED_WEIGHTS.is_file()
    recipe = {"data": data, "quick": quick, **asdict(settings), "shipped": shipped and file_hash(SHIPPED_WEIGHTS)}
    whole = recipe if max_accuracy_loss is None else recipe | {"max_accuracy_loss": max_accuracy_loss}
    kept = cache_folder() / f"{data}-{recipe_hash(whole, (hasten.networks, hasten.split))}.hasten"
    package = cached_package(kept)
    if package is None:
        dataset = default_data(data, quick, seed)
        trained = cache_folder() / f"{data}-{recipe_hash(recipe, (hasten.networks,))}.pt"
        weights = SHIPPED_WEIGHTS if shipped else trained
        network, module = default_network(dataset, settings, weights, progress)
        names = network.exit_names
        package = pack(module, dataset, f"{data}-resnet", names, kept, max_accuracy_loss, progress=progress)
    if path is None:
        return package
    write_bytes(path, kept.read_bytes())
    return open_package(path)


def train_default(data: str, seed: int = 0, progress: Progress | None = None) -> tuple[Dataset, MultiExit, Calibrated]:
    """Train a default network as :func:`build_default` does: its data, the network, and its calibrated form."""
    settings = replace(DEFAULT_SETTINGS[data], seed=seed)
    dataset = default_data(data, False, seed)
    network = _untrained(dataset, settings)
    return dataset, network, _trained(network, dataset, settings, progress)


def default_network(
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


def _trained(network: MultiExit, dataset: Dataset, settings: TrainSettings, progress: Progress | None) -> Calibrated:
    assert dataset.val_y is not None  # the default data have labels
    train_exits(network, dataset.train_x, dataset.train_y, settings, progress)
    return calibrated(network, dataset.val_x, dataset.val_y)


def default_data(data: str, quick: bool, seed: int) -> Dataset:
    """The pictures that the default network is trained and judged on; with ``quick`` the first of them."""
    if data == "digits":
        return digits(seed, QUICK_TRAIN, QUICK_TEST, QUICK_TEST) if quick else digits(seed)
    whole = cifar10(seed)
    return whole.first(QUICK_TRAIN, QUICK_TEST) if quick else whole
