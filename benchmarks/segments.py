"""Does cutting cost anything? Every (exit, partition) of a package against the same exit as one ordinary ONNX model.

The peer is each exit exported whole, with its weights inside, in a plain ONNX Runtime session; hasten runs what a
device and an edge node would run, without the codec and the wire between them: a prefix and a finish, or one graph
where one of them does it all. Both run in turns on the same inputs in one process, so a busy machine disturbs both
alike; the ratio is the median over the rounds of the ratio within each round. Budget: 1.05. On a machine that others
use, the ratio of the fastest calls tells more. What a call of ONNX Runtime costs that has nothing to do is printed,
too: a split has two calls where the whole has one.

Usage: python benchmarks/segments.py [--rounds N] [--seconds S] [--architectures [--only NAME,NAME]] [FILE.hasten ...]
Without a file a residual network with random weights, cut at four exits, is built first (no training: time does not
depend on the weights' values); with ``--architectures`` all networks of ``make architectures``, only cut: each gets as
many rounds as fit into ``--seconds``. At the end it says which networks have options over the budget.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
import torch
from onnx import numpy_helper
from torch import nn

from hasten.networks.attach import attach_exits
from hasten.split.accuracy import Accuracies, HeldOutAnswers
from hasten.split.build import build_package, rehearse, untimed
from hasten.split.content import Content, Meaning
from hasten.split.executor import Executor
from hasten.split.inputs import Frame, Inputs, count_of, frame_of
from hasten.split.manifest import LOGITS
from hasten.split.modules import batch_of
from hasten.split.package import Package, open_package
from hasten.split.sessions import OrtSession, session_options

if TYPE_CHECKING:
    from architectures import Architecture

SUPPORT = Path(__file__).parent.parent / "tests" / "support"
BUDGET = 1.05
PASSES, WARM, EMPTY_CALLS = 5, 3, 2000
ALL_SEGMENTS_BYTES = 8 << 30
"""All segments of a network are held at once: none is built in a measured call."""


class Stage(nn.Module):
    """One residual block that may halve the side and change the width."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.skip = nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the next stage's input."""
        return torch.relu(self.body(x) + self.skip(x))


class FourExits(nn.Module):
    """A residual network of about 150 million multiply-accumulates on 3 x 64 x 64 frames, an exit behind each stage."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        widths = (32, 64, 128, 256)
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True))
        self.stages = nn.ModuleList(
            nn.Sequential(Stage(before, width, 1 if width == 32 else 2), Stage(width, width, 1))
            for before, width in zip((32, *widths), widths, strict=False)
        )
        self.heads = nn.ModuleList(nn.Linear(width, classes) for width in widths)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return four times (N, classes)."""
        x = self.stem(x)
        logits = []
        for stage, head in zip(self.stages, self.heads, strict=True):
            x = stage(x)
            logits.append(head(x.mean((2, 3))))
        return tuple(logits)


def built_here(folder: Path) -> Package:
    torch.manual_seed(0)
    module = FourExits().eval()
    rng = np.random.default_rng(0)
    frames, labels = rng.integers(0, 256, (16, 3, 64, 64), dtype=np.uint8), rng.integers(0, 10, 16)
    names = [f"exit{number}" for number in range(1, 5)]
    return build_package(module, frames, labels, name="bench", exit_names=names, path=folder / "bench.hasten")


def architectures(folder: Path, only: list[str]) -> Iterator[Package]:
    """The networks of ``make architectures`` (``only`` some), in sizes that are usual on devices, one after another."""
    sys.path.insert(0, str(SUPPORT))
    for number, (name, architecture) in enumerate(usual_sizes().items()):
        if only and name not in only:
            continue
        torch.manual_seed(0)
        inputs = architecture.inputs(4)
        network = attach_exits(architecture.make().eval(), architecture.at, example=batch_of(inputs, slice(2)))
        yield only_cut(network.eval(), inputs, network.exit_names, name, folder / f"{number}.hasten")


def only_cut(network: nn.Module, inputs: Inputs, exit_names: tuple[str, ...], name: str, path: Path) -> Package:
    """A package with all segments, but without accuracies and times, which take longest and nobody asks for here."""
    segmenter, classes = rehearse(network, inputs, exit_names)
    after_block, cuts = segmenter.plan.after_block, len(segmenter.plan.cuts)
    unknown = Accuracies(
        uncoded=(0.0,) * len(after_block),
        by_partition=tuple((0.0,) * (after + 1) for after in after_block),
        payload_bytes=(1,) * cuts,
        codecs=("float32",) * cuts,
        answers=HeldOutAnswers(np.zeros((0, len(after_block), 2)), np.zeros((0, cuts, len(after_block), 2))),
    )
    labels = np.zeros(count_of(inputs), np.int64)
    content = Content(segmenter, unknown, name, exit_names, Meaning(classes), inputs, labels, len(labels))
    with path.open("wb") as file:
        content.write(file, untimed(content.manifest()))
    return open_package(path)


def usual_sizes() -> dict[str, Architecture]:
    """Of each network in the tests, which are small for the sake of speed, one of a usual size."""
    from architectures import (
        ARCHITECTURES,
        PIXELS,
        Driving,
        Masked,
        Recurrent,
        Sam,
        Spectrogram,
        fused_encoder,
        hugging,
        spread,
    )

    tiny = {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3, "intermediate_size": 768}
    vit = hugging("ViTForImageClassification", **tiny, image_size=224, patch_size=16)
    bert = hugging("BertForSequenceClassification", **tiny, vocab_size=100)
    distil = hugging(
        "DistilBertForSequenceClassification", vocab_size=100, dim=192, n_layers=6, n_heads=3, hidden_dim=768
    )
    wave = hugging("Wav2Vec2ForSequenceClassification", **tiny, conv_dim=(128,) * 7, num_conv_pos_embedding_groups=8)
    picture = (3, 224, 224)
    changed: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
        "token encoder": (vit, picture),
        "windows": (hugging("SwinForImageClassification", embed_dim=48, num_heads=[2, 4, 8, 16]), picture),
        "channels-first encoder": (spread(hugging("MobileViTForImageClassification")), (3, 256, 256)),
        "channels-last encoder": (partial(Sam, **tiny, image_size=224, patch_size=16, mlp_dim=768), picture),
        "convnext": (hugging("ConvNextForImageClassification", hidden_sizes=[40, 80, 160, 320]), picture),
        "fused encoder": (partial(fused_encoder, 256), (64, 256)),
        "masked encoder": (partial(Masked, 256), (64,)),
        "bert": (bert, (128,)),
        "text and mask": (distil, (128,)),
        "picture and state": (Driving, picture),
        "waveform": (wave, (16_000,)),
        "spectrogram": (partial(Spectrogram, 128, 129, **tiny), (16_384,)),
        "recurrent": (partial(Recurrent, 128), (4, 256)),
    }
    found = {}
    for name, small in ARCHITECTURES.items():
        make, shape = changed.get(name, (small.make, picture if small.shape == PIXELS else small.shape))
        found[name] = replace(small, make=make, shape=shape)
    return found


def whole_exit(package: Package, exit_: int) -> Callable[[Frame], np.ndarray]:
    """The peer: the complete exit as a self-contained model, weights inside, in a session of its own."""
    model = onnx.ModelProto.FromString(package.graph("finish", 0, exit_))
    for item in model.graph.initializer:
        if item.data_location == onnx.TensorProto.EXTERNAL:
            item.CopyFrom(numpy_helper.from_array(package.weights[item.name], item.name))
    session = ort.InferenceSession(model.SerializeToString(), session_options(1), providers=["CPUExecutionProvider"])
    names = [spec.name for spec in package.manifest.inputs]
    return lambda frame: session.run([LOGITS], dict(zip(names, frame, strict=True)))[0]


def empty_call_us() -> float:
    """What a call of a segment takes that has nothing to do, through hasten's session, in microseconds."""
    graph = onnx.parser.parse_graph("empty (float[1, 1] x) => (float[1, 1] y) { y = Relu(x) }")
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), session_options(1), providers=["CPUExecutionProvider"])
    empty = OrtSession(session, ["x"], ["y"], "empty")
    return 1e6 * min(seconds(empty.run, [np.zeros((1, 1), np.float32)]) for _ in range(EMPTY_CALLS))


def seconds(call: Callable[[Frame], object], frame: Frame) -> float:
    start = time.perf_counter()
    call(frame)
    return time.perf_counter() - start


class Row(NamedTuple):
    """One option: medians, the median ratio within a round, and how the fastest calls compare."""

    exit: int
    partition: int
    whole_ms: float
    cut_ms: float
    ratio: float
    fastest_ratio: float
    extra_us: float
    """So much longer the fastest call takes than that of the whole exit."""


def compare(package: Package, rounds: int, most_s: float) -> list[Row]:
    """Every option, in so many rounds, or as many as fit into about ``most_s`` seconds; one in each pass at least."""
    executor = Executor(package, memory_bytes=ALL_SEGMENTS_BYTES)
    executor.warm()
    frames = package.samples()[0]
    wholes = {number: whole_exit(package, number) for number in range(1, len(package.manifest.exits) + 1)}
    options = package.manifest.options()
    taken: dict[tuple[int, int], list[tuple[float, float]]] = {option: [] for option in options}
    first_frame = frame_of(frames, 0)
    once_s = 2.0 * sum(min(seconds(wholes[exit_], first_frame) for _ in range(WARM)) for exit_, _ in options)
    rounds = max(min(rounds, int(most_s / once_s) - PASSES * WARM), PASSES)
    for _ in range(PASSES):  # several passes, so that a disturbance of seconds does not hit one option alone
        for exit_, partition in options:

            def cut(frame: Frame, exit_: int = exit_, partition: int = partition) -> np.ndarray:
                if partition in (0, package.manifest.exits[exit_ - 1].after_block):
                    return executor.finish(0, exit_, frame)
                return executor.finish(partition, exit_, executor.prefix(partition, frame))

            for turn in range(-WARM, rounds // PASSES):
                frame = frame_of(frames, turn % count_of(frames))
                first, second = (wholes[exit_], cut) if turn % 2 else (cut, wholes[exit_])
                times = seconds(first, frame), seconds(second, frame)
                if turn >= 0:
                    taken[exit_, partition].append(times if turn % 2 else times[::-1])
    table = []
    for (exit_, partition), pairs in taken.items():
        whole, split = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(split_s / whole_s for whole_s, split_s in pairs)
        best, best_split = (min(column) for column in zip(*pairs, strict=True))
        table.append(Row(exit_, partition, whole, split, ratio, best_split / best, 1e6 * (best_split - best)))
    return table


def show(package: Package, rounds: int, most_s: float) -> None:
    table = compare(package, rounds, most_s)
    print(f"{'exit':>4} {'partition':>9} {'whole ms':>9} {'cut ms':>9} {'ratio':>6} {'fastest':>7} {'extra us':>8}")
    for row in table:
        print(
            f"{row.exit:>4} {row.partition:>9} {row.whole_ms:>9.3f} {row.cut_ms:>9.3f} {row.ratio:>6.3f} "
            f"{row.fastest_ratio:>7.3f} {row.extra_us:>8.1f}"
        )
    print(summary(table))


def summary(table: list[Row]) -> str:
    worst = max(table, key=lambda row: row.ratio)
    median = statistics.median(row.ratio for row in table)
    within = sum(row.ratio <= BUDGET for row in table)
    fastest = statistics.median(row.fastest_ratio for row in table)
    within_fastest = sum(row.fastest_ratio <= BUDGET for row in table)
    return (
        f"{max(row.whole_ms for row in table):8.3f} ms whole; ratio: median {median:.3f}, worst {worst.ratio:.3f} (of "
        f"{worst.whole_ms:.3f} ms); {within} of {len(table)} within the budget of {BUDGET}; fastest calls: median "
        f"{fastest:.3f}, {within_fastest} within it, {statistics.median(row.extra_us for row in table):.0f} us more"
    )


def over_budget(name: str, table: list[Row]) -> str | None:
    """What of a network is over the budget, in words; None if nothing is."""
    over = [row for row in table if row.ratio > BUDGET]
    if not over:
        return None
    worst = max(over, key=lambda row: row.ratio)
    return (
        f"{name}: {len(over)} of {len(table)} options, worst {worst.ratio:.3f} (fastest calls "
        f"{worst.fastest_ratio:.3f}) at exit {worst.exit}, partition {worst.partition}, of {worst.whole_ms:.3f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Every (exit, partition) against the exit exported whole.")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--architectures", action="store_true")
    parser.add_argument("--only", default="", help="Some of the architectures, by name, comma-separated.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=5.0, help="Most for the rounds of one network, about.")
    arguments = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(
        f"onnxruntime {ort.__version__}, 1 thread, up to {arguments.rounds} rounds in turns, medians; "
        f"{load:.1f} processes wanted the machine's {os.cpu_count()} cores before; "
        f"an empty call takes {empty_call_us():.1f} us"
    )
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.files and not arguments.architectures:
            show(built_here(Path(folder)), arguments.rounds, arguments.seconds)
            return
        only = [name for name in arguments.only.split(",") if name]
        others = architectures(Path(folder), only) if arguments.architectures else ()
        flagged = []
        for package in chain(map(open_package, arguments.files), others):
            table = compare(package, arguments.rounds, arguments.seconds)
            print(f"{package.manifest.name:>24} {summary(table)}", flush=True)
            flagged.append(over_budget(package.manifest.name, table))
        over = [words for words in flagged if words is not None]
        within = len(flagged) - len(over)
        print(f"{within} of {len(flagged)} networks are within the budget of {BUDGET} with all options")
        for words in over:
            print(f"  over it: {words}")


if __name__ == "__main__":
    main()
