"""Networks that nobody here wrote: every (exit, partition) gives what the module gives, and one runs over a socket.

Most are marked ``architectures``, because exporting takes seconds each: ``make architectures`` runs them.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES, CLASSES, longformer

import hasten as hs
from hasten.core.errors import InputError
from hasten.split.codecs import CutCodecs
from hasten.split.executor import Executor
from hasten.split.inputs import frame_of
from hasten.split.modules import batch_of, call
from hasten.split.verify import TOLERANCE, crossing, verify

QUICK = ("fused encoder", "recurrent", "text and mask")
FRAMES = 8
LONG_MS = 60_000.0

every = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.architectures], id=name) for name in ARCHITECTURES
]


@pytest.mark.parametrize("name", every)
def test_every_option_gives_what_the_module_gives_and_a_split_one_over_a_socket(name, tmp_path):
    torch.manual_seed(0)
    architecture = ARCHITECTURES[name]
    module = architecture.make().eval()
    twin = copy.deepcopy(module)
    frames = architecture.inputs(FRAMES)
    network = hs.attach_exits(module, architecture.at, example=batch_of(frames, slice(2))).eval()
    assert len(network.exit_names) == 3 and network.num_classes == CLASSES
    package = hs.build_package(
        network, frames, np.arange(FRAMES), name=name, path=tmp_path / "net.hasten", samples=FRAMES
    )
    with torch.no_grad():
        single = [batch_of(frames, slice(number, number + 1)) for number in range(FRAMES)]
        wanted = [[logits.numpy() for logits in call(network, frame)] for frame in single]
        own = call(twin, batch_of(frames, slice(1)))
    own = own if isinstance(own, torch.Tensor) else own["logits"]
    assert apart(wanted[0][-1], own.numpy()) < 1e-5, "the module's own answer; torch fuses no layer that is listened to"
    assert all(apart(wanted[0][exit_], wanted[1][exit_]) > 10 * TOLERANCE for exit_ in range(3)), "or all would pass"
    require_equal(package, frames, wanted)
    assert len(verify(package, random_inputs=1, samples=2).options) == len(package.manifest.options())
    require_split_over_a_socket(package, frames)


def apart(found, wanted):
    return np.abs(found - wanted).max() / np.abs(wanted).max()


def require_equal(package, frames, wanted):
    """Every option, uncoded, against the module in torch; frames stay as they are."""
    executor = Executor(package)
    for exit_, partition in package.manifest.options():
        for number, logits in enumerate(wanted):
            given = [array.copy() for array in frame_of(frames, number)]
            found = executor.finish(partition, exit_, crossing(executor, partition, given))
            assert apart(found, logits[exit_ - 1][0]) < TOLERANCE, (exit_, partition)
            for array, before in zip(given, frame_of(frames, number), strict=True):
                np.testing.assert_array_equal(array, before)


def require_split_over_a_socket(package, frames):
    """Device and edge answer as prefix, codec and finish do in one place."""
    exit_ = len(package.manifest.exits)
    partition = package.manifest.exits[0].after_block
    cut, codecs, executor = package.manifest.cuts[partition], CutCodecs(), Executor(package)
    with (
        hs.Edge([package], port=0) as edge,
        hs.Device(package, edge.address, f"fixed:{exit_},{partition}", LONG_MS) as device,
    ):
        for number in range(3):
            frame = frame_of(frames, number)
            answer = device.infer(dict(zip(frames, frame, strict=True)) if isinstance(frames, dict) else frame[0])
            received = codecs.decode(codecs.encode(crossing(executor, partition, frame), cut), cut)
            logits = executor.finish(partition, exit_, received)
            weights = np.exp(logits - logits.max())
            assert (answer.label, answer.ran_on) == (int(logits.argmax()), "split")
            assert answer.confidence == pytest.approx((weights / weights.sum()).max(), rel=1e-4)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        pytest.param(longformer, r"modeling_longformer\.py:\d+: if is_global_attn", id="attention of two kinds"),
    ],
)
@pytest.mark.architectures
def test_control_flow_that_depends_on_the_data_is_refused_with_its_line(make, line, tmp_path):
    torch.manual_seed(0)
    module = make().eval()
    tokens = torch.randint(2, 50, (FRAMES, 16))
    network = hs.attach_exits(
        module, [next(n for n, _ in module.named_modules() if n.endswith("layer.0"))], example=tokens
    )
    with pytest.raises(InputError, match=f"its way depends on the data: .*{line}"):
        hs.build_package(
            network,
            tokens.numpy(),
            np.arange(FRAMES),
            name="refused",
            path=tmp_path / "net.hasten",
            train="heads",
            train_data=(tokens.numpy(), np.arange(FRAMES)),
        )
