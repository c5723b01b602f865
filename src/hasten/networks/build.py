"""From anyone's model and data to a package: attach exits, train what has to be trained, calibrate, cut and write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hasten.core.errors import HastenError, InputError
from hasten.networks.attach import MultiExit, OwnExits, attach_exits, width_of
from hasten.networks.bottleneck import Narrowed, insert_bottleneck, parse_bottleneck, train_bottleneck
from hasten.networks.cache import keep_weights
from hasten.networks.calibrate import exit_logits
from hasten.networks.data import Dataset, load_dataset
from hasten.networks.factory import load_network
from hasten.networks.fit import Fitted, fit, load_weights
from hasten.networks.onnx_model import fit_heads, open_exits
from hasten.networks.pictures import Size
from hasten.networks.prepare import Prepare
from hasten.networks.probe import PROBED_INPUTS
from hasten.networks.propose import asked_count, propose_exits
from hasten.networks.thresholds import check_loss, chosen_rule
from hasten.networks.train import Progress, TrainSettings
from hasten.split.build import MAX_BLOCKS, build_package, rehearse, warn
from hasten.split.build_checks import check_codec, check_path
from hasten.split.codec_choice import AUTO
from hasten.split.graph import plan_cuts
from hasten.split.graph_module import GraphModule
from hasten.split.inputs import count_of
from hasten.split.inspect import describe
from hasten.split.manifest import MAX_NAME
from hasten.split.metrics import ACCURACY, metric_name
from hasten.split.modules import batch_of, input_names
from hasten.split.onnx_file import graph_inputs
from hasten.split.package import Package

SAMPLES = 512
"""Test inputs that travel in a package: the tasks of a demo, so enough to measure accuracy to 2 points."""

WORSE = 0.005
"""A loss of the final exit's accuracy through training that is worth a warning."""

_LATE = (1.0, 1.0, 2.0, 3.0, 4.0, 8.0)
DEFAULT_SETTINGS = {
    "digits": TrainSettings(epochs=6, exit_weights=_LATE),
    "cifar10": TrainSettings(epochs=3, exit_weights=_LATE),
}
"""How the default networks are trained; the last exit, which has most to learn, weighs more than its number says."""


@dataclass(frozen=True)
class BuildOptions:
    """What :func:`build` may be told besides network, exits and data. The defaults do no harm to a trained model."""

    train: str = "auto"
    """``none``, ``heads``, ``all``, or ``auto``: whatever does not answer better than guessing yet."""
    weights: Path | None = None
    """A state_dict for the factory's network, which then counts as trained."""
    distill: bool = False
    """Heads learn from the final exit's answers though there are labels; without labels they always do."""
    prepare: Prepare | None = None
    """Normalisation of the frames, which becomes part of the graph."""
    image_size: Size | None = None
    """Height and width to which a folder's pictures are brought."""
    metric: str | Callable[..., Any] = ACCURACY
    """What an option's accuracy is; with another than ``accuracy`` the exits come trained."""
    class_names: tuple[str, ...] = ()
    """Of the logits; by default those of the data, where they name all."""
    codec: str = AUTO
    """Of every cut, by name; ``auto`` chooses for each the smallest that costs less than 0.3 points there."""
    bottleneck: str | None = None
    """LAYER:WIDTH, behind which so few features are to cross; see :mod:`hasten.networks.bottleneck`."""
    max_accuracy_loss: float | None = None
    """Tasks may stop early where that costs at most so much accuracy; see :mod:`hasten.networks.thresholds`."""


@dataclass(frozen=True)
class Built:
    """A package and what was done to the network in it."""

    package: Package
    fitted: Fitted

    def describe(self) -> dict[str, Any]:
        """What was trained and why, the final exit's accuracy before and after, and the package; JSON-ready."""
        return {
            "schema": "hasten.build/1",
            "trained": self.fitted.trained,
            "why": self.fitted.why,
            "final_exit": {"before": self.fitted.before, "after": self.fitted.after},
            "package": describe(self.package),
        }


def build(
    factory: str,
    exits: Sequence[str],
    data: str,
    path: Path,
    settings: TrainSettings | None = None,
    progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    options: BuildOptions | None = None,
) -> Built:
    """Build the network that ``factory`` (MODULE:FACTORY) makes into a package at ``path``.

    Args:
        factory: names a function without arguments that returns a ``torch.nn.Module``; or an ONNX file.
        exits: layers to attach exits to; empty when the module returns a tuple of logits by itself. Of an ONNX file
            tensors; empty for its outputs.
        data: as :func:`hasten.networks.data.load_dataset` takes it.
        path: the ``.hasten`` file; written whole or not at all.
        settings: how to train; its seed also draws the data and the initial weights.
        progress: told what is being done and which fraction of that is done.
        on_note: told what is worth knowing of the result, as by :func:`hasten.split.build.build_package`, and when
            training made the final exit worse.
        options: what is trained, and how the data are read.

    Raises:
        InputError: names, data and module do not fit each other, or the network cannot be exported and cut; says which,
            before it is trained.
        HastenError: training diverged, or the package does not compute what the network computes. What was trained is
            then kept beside ``path`` and named.
    """
    check_path(path)
    settings, options = settings or TrainSettings(), options or BuildOptions()
    check_codec(options.codec)
    check_loss(options.max_accuracy_loss, options.metric)
    if factory.endswith(".onnx"):
        dataset = load_dataset(data, settings.seed, options.image_size, graph_inputs(Path(factory)))
        return _build_onnx(Path(factory), exits, dataset, path, settings, progress, on_note, options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        module = load_network(factory)
        with torch.random.fork_rng(devices=[]):
            dataset = load_dataset(data, settings.seed, options.image_size, input_names(module))
        if options.weights is not None:
            load_weights(module, str(options.weights))
        narrowed = _with_bottleneck(module, dataset, options)
        network = _with_exits(module, exits, dataset, options)
    if progress:
        progress("checking export and cuts", 0.0)
    names = [name[-MAX_NAME:] for name in network.exit_names]
    rehearse(network, dataset.test_x, names, classifier=bool(network.num_classes))
    if narrowed is not None and options.train != "all":
        cost = train_bottleneck(module, narrowed, dataset, options.prepare or Prepare(), settings, progress)
        (on_note or warn)(f"bottleneck {options.bottleneck}: {cost}")
    fitted = fit(
        network, dataset, options.train, settings, progress,
        given=options.weights is not None, distill=options.distill,
    )  # fmt: skip
    tell_harm(fitted, on_note)
    with kept_on_failure(network, fitted, path):
        name = factory.partition(":")[2]
        told = {"progress": progress, "on_note": on_note, **_packing(options, dataset, network.num_classes)}
        return Built(pack(fitted.module, dataset, name, names, path, **told), fitted)


def _build_onnx(
    file: Path,
    exits: Sequence[str],
    dataset: Dataset,
    path: Path,
    settings: TrainSettings,
    progress: Progress | None,
    on_note: Callable[[str], None] | None,
    options: BuildOptions,
) -> Built:
    """As :func:`build`, of an ONNX file: ``exits`` are tensors of its graph."""
    for given, asked in (
        ("--weights", options.weights is not None),
        ("--exits auto:N", asked_count(exits) is not None),
        ("--bottleneck", options.bottleneck is not None),
    ):
        if asked:
            expected = "a torch network; an ONNX file has its weights and layers, and exits are named"
            raise InputError("build", given, file.name, expected)
    classifier = options.metric == ACCURACY or bool(options.class_names)
    if progress:
        progress("checking export and cuts", 0.0)
    found = open_exits(file, exits, dataset, options.prepare, classifier)
    require_classes(found.classes, dataset)
    names = [name[-MAX_NAME:] for name in found.exit_names]
    plan_cuts(GraphModule(found.model).network, names, MAX_BLOCKS)
    graph, fitted = fit_heads(found, dataset, options.train, settings, progress, options.distill)
    told = {"progress": progress, "on_note": on_note, **_packing(options, dataset, found.classes)}
    return Built(pack(graph, dataset, file.stem, names, path, **told), fitted)


def _packing(options: BuildOptions, dataset: Dataset, classes: int) -> dict[str, Any]:
    """Codec, metric, early stops, and the classes' names: those given, else the data's where they name all."""
    named = {"class_names": options.class_names or (dataset.class_names if len(dataset.class_names) == classes else ())}
    return named | {name: getattr(options, name) for name in ("codec", "metric", "max_accuracy_loss")}


def settings_for(data: str, seed: int = 0, **changes: Any) -> TrainSettings:
    """How :func:`build` trains on ``data``: as many epochs as the default network there, and ``changes`` not None."""
    usual = DEFAULT_SETTINGS.get(data, TrainSettings()).epochs
    changed = {field: value for field, value in changes.items() if value is not None}
    return replace(TrainSettings(epochs=usual, seed=seed), **changed)


def _with_bottleneck(module: nn.Module, dataset: Dataset, options: BuildOptions) -> Narrowed | None:
    """Put the bottleneck that is asked for into ``module``."""
    if options.bottleneck is None:
        return None
    layer, width = parse_bottleneck(options.bottleneck)
    return insert_bottleneck(module, layer, width, dataset, options.prepare or Prepare())


def _with_exits(
    module: nn.Module, exits: Sequence[str], dataset: Dataset, options: BuildOptions
) -> MultiExit | OwnExits:
    if isinstance(module, MultiExit) and not exits:
        return module
    example, prepare = batch_of(dataset.train_x, slice(2)), options.prepare
    if options.metric != ACCURACY and not options.class_names:
        if exits:
            expected = f"none (empty): exits for {metric_name(options.metric)} are the model's own"
            raise InputError("build", "--exits", ",".join(exits), expected)
        return OwnExits(module, 0, example, prepare)
    count = asked_count(exits)
    if count is not None:
        labels = None if dataset.train_y is None or not dataset.classes else dataset.train_y[:PROBED_INPUTS]
        probed = batch_of(dataset.train_x, slice(PROBED_INPUTS))
        exits = propose_exits(module, count, probed, prepare, labels)
    if exits:
        network: MultiExit | OwnExits = attach_exits(module, exits, example=example, prepare=prepare)
    else:
        width = max(dataset.classes, 1)
        with suppress(InputError):  # what is wrong with the output, OwnExits says best
            width = width_of(module, example, prepare or Prepare())
        network = OwnExits(module, width, example, prepare)
    require_classes(network.num_classes, dataset)
    return network


def require_classes(classes: int, dataset: Dataset) -> None:
    """Refuse a classifier with fewer classes than the data have."""
    if 0 < classes < dataset.classes:
        expected = f"at least {dataset.classes} classes, as the data have"
        raise InputError("network", "output", f"{classes} classes", expected)


def tell_harm(fitted: Fitted, on_note: Callable[[str], None] | None) -> None:
    """Say so when training made the final exit worse than it was."""
    if fitted.before is None or fitted.after is None or fitted.after >= fitted.before - WORSE:
        return
    (on_note or warn)(
        f"final exit on validation data: {fitted.before:.3f} right before training, {fitted.after:.3f} after it: "
        "training made it worse. --train heads keeps it as it was; so may a smaller learning rate or more epochs"
    )


@contextmanager
def kept_on_failure(network: nn.Module, fitted: Fitted, path: Path) -> Iterator[None]:
    """Keep the trained weights when what follows fails, and say where they are."""
    try:
        yield
    except Exception as error:
        if fitted.trained == "none":
            raise
        kept = path.with_name(f"{path.stem}.weights.pt")
        try:
            keep_weights(kept, network.state_dict())
        except HastenError as second:
            raise HastenError(f"{error}; the trained weights could not be kept either: {second}") from error
        raise HastenError(f"{error}; the trained weights are kept in {kept}") from error


def pack(
    module: nn.Module,
    dataset: Dataset,
    name: str,
    exit_names: Sequence[str],
    path: Path,
    max_accuracy_loss: float | None = None,
    **others: Any,
) -> Package:
    """Write a trained network as a package; its test data say how accurate it is. ``others``: of ``build_package``."""
    labels = dataset.test_y
    if labels is None:
        labels = exit_logits(module, dataset.test_x)[-1].argmax(axis=1)
        (others.get("on_note") or warn)("the data have no labels: accuracy is agreement with the final exit")
    return build_package(
        module,
        dataset.test_x,
        labels,
        name=name,
        exit_names=exit_names,
        path=path,
        samples=min(SAMPLES, count_of(dataset.test_x)),
        stop=None if max_accuracy_loss is None else chosen_rule(module, dataset, max_accuracy_loss),
        **others,
    )
