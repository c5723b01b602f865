from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from hasten.core.errors import InputError
from hasten.networks.attach import attach_exits
from hasten.networks.tapping import Tap, choices_in, main_tensor, parse_taps

T = torch.zeros(2, 3)
Pair = namedtuple("Pair", "first second")


@dataclass
class Output:
    """As transformers' output objects: fields that may be absent."""

    last_hidden_state: Tensor
    pooled: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


@pytest.mark.parametrize(
    ("output", "field"),
    [
        (T, ""),
        ((T,), ""),
        ([T, None], ""),
        (Output(T), ""),
        (OrderedDict(logits=T, loss=None), ""),
        ((1, T), "1"),
        (Pair(1, T), "second"),
        (Output(T + 1, pooled=T), "pooled"),
        (Output(T + 1, hidden_states=(T + 2, T)), "hidden_states/1"),
        ({"out": {"deep": [T + 1, T]}}, "out/deep/1"),
    ],
)
def test_the_tensor_is_the_only_one_or_the_named_one(output, field):
    assert main_tensor(nn.Identity(), output, field) is T or torch.equal(main_tensor(nn.Identity(), output, field), T)


def test_where_several_tensors_are_given_they_are_listed():
    several = Output(T, hidden_states=(T, T))
    assert main_tensor(nn.Identity(), several) is several
    assert choices_in("block", several) == "block:last_hidden_state, block:hidden_states/0, block:hidden_states/1"


def test_names_are_parsed():
    module = nn.Sequential(OrderedDict(a=nn.Sequential(nn.Linear(2, 2)), b=nn.Linear(2, 2)))
    taps, final = parse_taps(module, ["b:1:channels_last", "a.0:channels_first", "a:x/0", "final:logits"])
    assert taps == [Tap("b", "1", "channels_last"), Tap("a.0", "", "channels_first"), Tap("a", "x/0")]
    assert final == "logits" and taps[0].name == "b:1"
    with pytest.raises(InputError, match=r"got 'c', expected one of a, a\.0, b"):
        parse_taps(module, ["c:1"])


class Layer(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.linear, self.wrap = nn.Linear(6, 6), wrap

    def forward(self, x):
        return self.wrap(torch.relu(self.linear(x)))


class Stack(nn.Module):
    """Three layers that wrap what they give, each followed by the unwrapping that its users write."""

    def __init__(self, wrap, unwrap, end):
        super().__init__()
        self.layers = nn.ModuleList(Layer(wrap) for _ in range(3))
        self.last, self.unwrap, self.end = nn.Linear(6, 4), unwrap, end

    def forward(self, x):
        for layer in self.layers:
            x = self.unwrap(layer(x))
        return self.end(self.last(x))


WRAPPED = {
    "tuple": (lambda y: (y, None), lambda out: out[0], lambda y: (y,), ["layers.0", "layers.1"]),
    "object": (Output, lambda out: out.last_hidden_state, lambda y: OrderedDict(logits=y), ["layers.0", "layers.1"]),
    "named": (
        lambda y: Output(y, pooled=y * 2),
        lambda out: out.last_hidden_state,
        lambda y: {"loss": y.sum(), "logits": y},
        ["layers.0:last_hidden_state", "layers.1:pooled", "final:logits"],
    ),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_exits_sit_on_layers_that_give_tuples_and_objects(kind):
    wrap, unwrap, end, at = WRAPPED[kind]
    module = Stack(wrap, unwrap, end).eval()
    network = attach_exits(module, at, input_shape=(6,)).eval()
    assert network.num_classes == 4
    assert network.exit_names == (*[name for name in at if not name.startswith("final")], "final")
    x = torch.randn(5, 6)
    first, second, final = network(x)
    inner = torch.relu(module.layers[0].linear(x))
    torch.testing.assert_close(first, network.heads["exit:layers/0"].classify(inner))
    inner = torch.relu(module.layers[1].linear(inner)) * (2 if kind == "named" else 1)
    torch.testing.assert_close(second, network.heads["exit:layers/1"].classify(inner))
    out = module(x)
    assert torch.equal(final, out[0] if isinstance(out, tuple) else out["logits"])


def test_several_tensors_are_refused_with_their_names():
    module = Stack(lambda y: Output(y, pooled=y), lambda out: out.pooled, lambda y: y)
    with pytest.raises(InputError, match=r"name one: layers\.1:last_hidden_state, layers\.1:pooled"):
        attach_exits(module, ["layers.1"], 4, (6,))
    with pytest.raises(InputError, match=r"layers\.1:nothing: got 'NoneType'"):
        attach_exits(module, ["layers.1:nothing"], 4, (6,))
