from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
import pytest
import torch
from torch import nn

from hasten.core.errors import InputError
from hasten.split.export import export_network
from hasten.split.graph import CutAnalysis, CutPlan, CutPoint, ExportedNetwork, plan_cuts
from hasten.split.light_model import LightModel, session_of
from hasten.split.segments import Segmenter


def run(model: LightModel, tensors: list[np.ndarray]) -> list[np.ndarray]:
    session = session_of(model.proto.SerializeToString(), model.weights, ort.SessionOptions())
    return session.run(None, dict(zip([node.name for node in session.get_inputs()], tensors, strict=True)))


def cut_out(segmenter: Segmenter, sources: list[str], targets: list[str]) -> LightModel:
    return segmenter._extract(sources, targets, [f"{target}_out" for target in targets])


@pytest.mark.parametrize("name", ["residual", "inside", "shuffle", "perceptron"])
def test_every_legal_cut_gives_what_the_module_gives(exported, name):
    """Not only the chosen cuts: every position that the analysis calls legal, for every exit not yet passed."""
    module, exits, shape, network = exported(name)
    analysis = CutAnalysis(network, [f"e{i}" for i in range(exits)], max_tensors=2)
    ends = analysis.attachments()
    rng = np.random.default_rng(3)
    frame = rng.standard_normal((1, *shape)).astype(np.float32)
    with torch.no_grad():
        wanted = [logits.numpy() for logits in module(torch.from_numpy(frame))]
    positions = [position for position in range(1, ends[-1] + 1) if analysis.legal(position)]
    assert len(positions) > len(ends)
    for position in positions:
        tensors = analysis.crossing(position)
        plan = CutPlan((CutPoint(0, (network.inputs[0],), "input"), CutPoint(position, tuple(tensors), "x")), (1,))
        segmenter = Segmenter(network, plan)
        head = run(cut_out(segmenter, [network.inputs[0]], tensors), [frame])
        for number, end in enumerate(ends):
            if end >= position:
                (logits,) = run(cut_out(segmenter, tensors, network.given_by(number + 1)), head)
                np.testing.assert_allclose(logits, wanted[number], rtol=1e-4, atol=1e-4)


def test_residual_net_is_cut_at_its_exits_and_between_its_blocks(exported):
    *_, network = exported("residual")
    plan = plan_cuts(network, ["a", "b", "c"], max_blocks=12)
    assert [len(cut.tensors) for cut in plan.cuts] == [1] * len(plan.cuts)
    names = ["input", "stem", "stage1.0.relu", "stage1.1.relu", "stage2", "stage3.0.relu", "stage3.1.relu"]
    assert [cut.name for cut in plan.cuts] == names
    assert [plan.cuts[after].name for after in plan.after_block] == ["stage1.1.relu", "stage2", "stage3.1.relu"]
    shapes = [network.shapes[cut.tensors[0]] for cut in plan.cuts]
    assert shapes[-1] == (1, 32, 3, 3), "pooling and the linear layer are the deepest exit's head"
    assert shapes[1] == (1, 8, 10, 10), "behind the pooling, where it is smaller, not before"


def test_an_exit_inside_a_residual_block_lets_two_tensors_cross(exported):
    *_, network = exported("inside")
    plan = plan_cuts(network, ["a", "b", "c"], max_blocks=12)
    assert len(plan.cuts[plan.after_block[0]].tensors) == 2


def test_max_blocks_drops_the_smallest_but_never_an_exit(exported):
    *_, network = exported("residual")
    full = plan_cuts(network, ["a", "b", "c"], max_blocks=12)
    assert len(full.cuts) - 1 > 4
    few = plan_cuts(network, ["a", "b", "c"], max_blocks=4)
    assert len(few.cuts) - 1 == 4
    least = plan_cuts(network, ["a", "b", "c"], max_blocks=1)
    assert least.after_block == (1, 2, 3)
    exits = {full.cuts[after].position for after in full.after_block}
    assert {cut.position for cut in least.cuts[1:]} == exits <= {cut.position for cut in few.cuts}


@pytest.mark.parametrize(
    ("why", "nodes"),
    [
        ("second sits before first", "second = Relu(input) \n y = Relu(second) \n z = Relu(y) \n first = Relu(z)"),
        ("both at one place", "y = Gemm(input, w) \n first = Gemm(y, w) \n second = Gemm(y, w)"),
        ("first is constant", "first = Relu(w) \n y = Gemm(input, w) \n second = Gemm(y, w)"),
    ],
)
def test_exits_that_cannot_be_placed_are_named(why, nodes):
    values = "".join(f"float[1,3] {name}," for name in "yz").rstrip(",")
    text = f"g (float[1,3] input) => (float[1,3] first, float[1,3] second) <float[3,3] w, {values}> {{ {nodes} }}"
    graph = onnx.parser.parse_graph(text)
    network = ExportedNetwork(graph, [{"logits": output.name} for output in graph.output])
    with pytest.raises(InputError, match=r"exits: got '(first|second)'"):
        plan_cuts(network, ["first", "second"], max_blocks=12)


class ChoosesByTheData(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (x, x) if float(x.sum()) > 0 else (x, 2 * x)


def test_a_forward_that_chooses_by_the_data_is_refused_with_the_reason():
    with pytest.raises(InputError, match="forward must return all exits"):
        export_network(ChoosesByTheData().eval(), torch.rand(1, 8))
