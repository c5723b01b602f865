"""What building refuses a module or arguments for, early, and with the cause."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hasten.core.errors import InputError
from hasten.networks.attach import attach_exits
from hasten.split.build import build_package, rehearse
from hasten.split.export import export_network
from hasten.split.macs import macs
from hasten.split.metrics import make_metric, score
from hasten.split.modules import require_float32, require_steady
from hasten.split.verify import largest_magnitude, relative_error

FRAMES, LABELS = np.random.default_rng(0).random((6, 8), np.float32), np.arange(6) % 3


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.early, self.late = nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.early(x), self.late(torch.relu(self.second(x)))


class DropoutLeftOn(Base):
    def forward(self, x):
        return tuple(1e-5 * F.dropout(logits, 0.5, True) for logits in super().forward(x))


class Counting(Base):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return tuple(logits / (1 + self.calls) for logits in super().forward(x))


class KeepsTraining(Base):
    def __init__(self):
        super().__init__()
        self.noise = nn.Dropout(0.5)
        self.noise.train = lambda mode=True: self.noise

    def forward(self, x):
        return tuple(self.noise(logits) for logits in super().forward(x))


class Branching(Base):
    def forward(self, x):
        if x.mean() > 0:
            return super().forward(x)
        return super().forward(-x)


class WholeMaximum(Base):
    def forward(self, x):
        return super().forward(x * x.amax())


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (DropoutLeftOn, "something random"),
        (Counting, r"a buffer that forward changes and reads \(calls\)"),
        (KeepsTraining, r"layers that stay in training mode \(noise\)"),
    ],
)
def test_other_answers_at_each_call_are_refused_with_the_cause(make, cause):
    module = make().eval()
    with pytest.raises(InputError, match=f"other outputs .* likely cause: {cause}"):
        require_steady(module, torch.from_numpy(FRAMES[:1]))
    assert all(bool((buffer == 0).all()) for buffer in module.buffers()), "and nothing is left behind"


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (Branching, r"its way depends on the data: .*test_refusals\.py:\d+: if x\.mean\(\) > 0:"),
        (
            WholeMaximum,
            r"aten\.amax\.default: .*dim.*test_refusals\.py:\d+: return super\(\)\.forward\(x \* x\.amax\(\)\)",
        ),
    ],
)
def test_a_failed_export_names_operator_and_source_line_and_prints_nothing(make, cause, capfd):
    with pytest.raises(InputError, match=cause):
        rehearse(make(), FRAMES, ["a", "b"])
    assert capfd.readouterr() == ("", "")


def test_exits_at_the_same_tensor_say_which_to_leave_out():
    class Same(Base):
        def forward(self, x):
            x = torch.relu(self.first(x))
            return self.early(x), self.late(x), self.late(torch.relu(self.second(x)))

    with pytest.raises(InputError, match="deeper than a, not at the same tensor: leave out b"):
        rehearse(Same(), FRAMES, ["a", "b", "c"])


@pytest.mark.parametrize(
    ("changed", "mention"),
    [
        ({"inputs": torch.zeros(6, 8)}, "inputs: got 'Tensor', expected a numpy array"),
        ({"inputs": [[0.0] * 8] * 6}, "inputs: got 'list'"),
        ({"inputs": torch.utils.data.DataLoader([1])}, "inputs: got 'DataLoader'"),
        ({"labels": list(LABELS)}, "labels: got 'list'"),
        ({"path": 3}, "path: got 'int'"),
        ({"name": "a\nb"}, "name: got"),
        ({"name": "n" * 201}, "name: got"),
        ({"exit_names": ["a", "x" * 300]}, "exit_names: got"),
        ({"exit_names": "ab"}, "exit_names: got 'ab'"),
        ({"samples": 0}, "samples: got 0"),
        ({"module": lambda x: x}, "module: got 'function'"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused_before_any_work(changed, mention, tmp_path):
    given = {"module": Base(), "inputs": FRAMES, "labels": LABELS, "name": "n", "exit_names": ["a", "b"]}
    given = {**given, "path": tmp_path / "p.hasten", **changed}
    said = []
    with pytest.raises(InputError, match=mention):
        build_package(
            given.pop("module"), given.pop("inputs"), given.pop("labels"), **given, progress=lambda *s: said.append(s)
        )
    assert len(said) <= 1, "at most the first step was begun"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_refused_by_name(dtype):
    with pytest.raises(InputError, match=r"first\.weight: got 'torch\..*', expected float32 weights"):
        require_float32(Base().to(dtype))


def test_more_weights_than_a_package_holds_are_refused():
    with torch.device("meta"):
        huge = nn.Linear(60_000, 20_000)
    with pytest.raises(InputError, match="weights: got '4800080000 bytes'"):
        require_float32(huge)


class Padded(nn.Module):
    """torch's encoder on tokens, of which 0 is padding: in eval mode it makes nested tensors of them."""

    def __init__(self, nested):
        super().__init__()
        self.embed, layer = nn.Embedding(9, 8), nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)
        self.encoder, self.last = nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested), nn.Linear(8, 3)

    def forward(self, tokens):
        x = self.embed(tokens)
        return self.last(x[:, 0]), self.last(self.encoder(x, src_key_padding_mask=tokens == 0).mean(1))


@pytest.mark.filterwarnings("ignore:.*nested tensors")
def test_nested_tensors_are_refused_with_what_to_do():
    tokens = np.array([[1, 2, 3, 0, 0]])
    with pytest.raises(
        InputError, match=r"encoder\.layers\.0: got 'nested tensors', expected .*enable_nested_tensor=F"
    ):
        rehearse(Padded(nested=True), tokens, ["a", "b"])
    module = Padded(nested=True)
    with pytest.raises(InputError, match=r"encoder\.layers\.0: got 'nested tensors'"):
        attach_exits(OnlyLast(module), ["module.encoder.layers.0"], example=torch.from_numpy(tokens))
    assert not any(layer._forward_pre_hooks for layer in module.modules())
    assert rehearse(Padded(nested=False), tokens, ["a", "b"])[1] == 3


class OnlyLast(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)[-1]


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e8])
def test_the_tolerance_is_relative_at_any_scale(scale):
    wanted = np.float32([1.0, -2.0, 0.5]) * np.float32(scale)
    off = wanted + np.float32([0.0, 0.002, 0.0]) * np.float32(scale)
    assert relative_error(off, wanted) == pytest.approx(1e-3, rel=1e-2)
    assert relative_error(off, wanted, largest_magnitude([wanted, 10 * wanted])) == pytest.approx(1e-4, rel=1e-2)


def test_not_finite_logits_are_no_answer_and_equal_only_to_themselves():
    nan = np.float32([np.nan, 1.0])
    assert relative_error(nan, nan) == 0.0
    assert relative_error(nan, np.float32([0.0, 1.0])) == float("inf")
    right = make_metric("accuracy", np.ones(1, np.int64))
    assert [score(right, {"logits": logits}, np.int64(1)) for logits in (nan, np.float32([0.0, 1.0]))] == [0.0, 1.0]


def test_work_of_transposed_convolutions_and_recurrent_layers():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.gru = nn.ConvTranspose2d(2, 3, 2, 2), nn.GRU(8, 5, batch_first=True)
            self.last = nn.Linear(5, 3)

        def forward(self, x):
            maps = self.up(x[:, :32].reshape(-1, 2, 4, 4))
            return (self.last(self.gru(maps[:, 0])[0].mean(1)),)

    network = export_network(Odd().eval(), torch.rand(1, 32))
    work = {node.op_type: macs(network, node) for node in network.graph.node}
    assert work["ConvTranspose"] == 2 * 4 * 4 * 3 * 2 * 2
    assert work["GRU"] == 8 * (3 * 5 * 8 + 3 * 5 * 5)
