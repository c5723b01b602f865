import pytest
import torch

from hasten.networks.backbone import cifar_resnet, digits_resnet


@pytest.mark.parametrize(("make", "shape"), [(digits_resnet, (1, 64, 64)), (cifar_resnet, (3, 32, 32))])
def test_six_exits_and_cuts_smaller_than_the_frame(make, shape):
    network = make().eval()
    assert network.exit_names == ("block1", "block2", "block3", "block4", "block5", "final")
    sizes, x = [], torch.randint(0, 256, (1, *shape), dtype=torch.uint8)
    for number in range(1, 7):
        block = network.module.get_submodule(f"block{number}")
        block.register_forward_hook(lambda _m, _i, out: sizes.append(out.numel()))
    with torch.no_grad():
        assert [tuple(logits.shape) for logits in network(x)] == [(1, 10)] * 6
    assert sizes == sorted(sizes, reverse=True) and max(sizes) < x.numel()


def test_compute_grows_evenly_from_exit_to_exit():
    from torch.utils.flop_counter import FlopCounterMode

    network = digits_resnet().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(1, 1, 64, 64))
    flops = {name.rpartition(".")[2]: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    blocks = [flops[f"block{number}"] for number in range(1, 7)]
    assert max(blocks) < 2 * min(blocks)
