"""`hasten build`: from a network to a package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from hasten.cli.app import app, needs
from hasten.cli.arguments import JsonOption
from hasten.cli.output import check_outputs, console_for, show, write_json
from hasten.cli.tables import package_tables, progress_bar
from hasten.core.errors import InputError
from hasten.core.files import read_text

if TYPE_CHECKING:
    from hasten.networks.build import Built

T = TypeVar("T")

DATA_HELP = "digits, cifar10, a folder of arrays or of pictures by class, an .npz file, or MODULE:FUNCTION."
NARROW_HELP = "Learn to send so few features behind this layer."
STOP_HELP = "Let tasks stop early where confident, for at most this loss, e.g. 0.005; without it never."
TRAIN_HELP = "none, heads or all; auto: what does not answer better than guessing yet."


@app.command(epilog="Example: hasten build my_model:make --exits layer1,layer2,layer3 --data pictures/ -o my.hasten")
@needs("build")
def build(
    network: Annotated[
        str,
        typer.Argument(metavar="MODULE:FACTORY|MODEL.onnx", help="A function that returns a torch module, or a file."),
    ],
    exits: Annotated[str, typer.Option("--exits", help="Layers to attach exits to, comma-separated, or auto:N.")],
    data: Annotated[str, typer.Option("--data", help=DATA_HELP)],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.hasten", help="The package to write.")],
    train: Annotated[str, typer.Option("--train", help=TRAIN_HELP)] = "auto",
    weights: Annotated[Path | None, typer.Option("--weights", help="A state_dict for the network.")] = None,
    distill: Annotated[bool, typer.Option("--distill", help="Heads learn from the final exit, not labels.")] = False,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the training data.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Largest learning rate.")] = None,
    exit_weights: Annotated[str | None, typer.Option("--exit-weights", help="Each exit's, comma-separated.")] = None,
    patience: Annotated[int | None, typer.Option("--patience", help="Stop after so many epochs no better.")] = None,
    augment: Annotated[str, typer.Option("--augment", help="flip, shift, comma-separated.")] = "",
    normalise: Annotated[str | None, typer.Option("--normalise", help="imagenet, or MEAN,..:STD,..[:bgr].")] = None,
    image_size: Annotated[str | None, typer.Option("--image-size", help="HEIGHTxWIDTH of a folder's pictures.")] = None,
    metric: Annotated[str, typer.Option("--metric", help="accuracy, mean_iou, mse, or MODULE:FUNCTION.")] = "accuracy",
    class_names: Annotated[Path | None, typer.Option("--class-names", help="A file with one name a line.")] = None,
    codec: Annotated[str, typer.Option("--codec", help="Of every cut, by name; auto: smallest that is good.")] = "auto",
    bottleneck: Annotated[str | None, typer.Option("--bottleneck", metavar="LAYER:WIDTH", help=NARROW_HELP)] = None,
    max_accuracy_loss: Annotated[
        float | None, typer.Option("--max-accuracy-loss", metavar="SHARE", help=STOP_HELP)
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of data, weights and order.")] = 0,
    json_to: JsonOption = None,
) -> None:
    """Give a network exits, train what has to be trained, cut it everywhere useful and write one package."""
    from hasten.networks.build import BuildOptions, settings_for
    from hasten.networks.build import build as build_network
    from hasten.networks.factory import function_named
    from hasten.networks.prepare import parse_normalisation

    console = console_for(json_to)
    check_outputs(output=output, json=json_to)
    settings = settings_for(
        data,
        seed,
        epochs=epochs,
        peak_lr=lr,
        exit_weights=None if exit_weights is None else tuple(_list("--exit-weights", exit_weights, float)),
        patience=patience,
        augment=tuple(_list("--augment", augment, str)),
    )
    options = BuildOptions(
        train=train,
        weights=weights,
        distill=distill,
        prepare=None if normalise is None else parse_normalisation(normalise),
        image_size=None if image_size is None else _size(image_size),
        metric=function_named(metric, "metric") if ":" in metric else metric,
        class_names=() if class_names is None else _lines(class_names),
        codec=codec,
        bottleneck=bottleneck,
        max_accuracy_loss=max_accuracy_loss,
    )
    layers = _list("--exits", exits, str)
    notes: list[str] = []
    with progress_bar(console) as progress:
        built = build_network(network, layers, data, output, settings, progress, notes.append, options)
    write_json(json_to, built.describe())
    notes = [f"note: {note}" for note in notes]
    show(
        console,
        *package_tables(built.package),
        *_training_lines(built, " with the bottleneck" if bottleneck else ""),
        *notes,
        f"wrote {output}; its times are quick ones of this machine, `hasten profile` measures yours",
    )


def _training_lines(built: Built, narrowed: str = "") -> list[str]:
    """What was trained, and what became of the final exit, in words."""
    fitted = built.fitted
    lines = [f"trained: {fitted.trained} ({fitted.why})"]
    if fitted.before is not None and fitted.after is not None:
        same = "" if fitted.trained == "all" else f", its answers bit for bit those of the model{narrowed}"
        lines.append(
            f"final exit on validation data: {fitted.before:.3f} right before training, {fitted.after:.3f} after{same}"
        )
    return lines


def _list(option: str, text: str, kind: Callable[[str], T]) -> list[T]:
    """The parts of a comma-separated option."""
    try:
        return [kind(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError:
        raise InputError("build", option, text, "numbers, comma-separated") from None


def _lines(path: Path) -> tuple[str, ...]:
    """The names in a file, one a line."""
    return tuple(line.strip() for line in read_text(path).splitlines() if line.strip())


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit() and 1 <= int(height) <= 8192 and 1 <= int(width) <= 8192):
        raise InputError("build", "--image-size", text, "HEIGHTxWIDTH in pixels, for example 224x224")
    return int(height), int(width)
