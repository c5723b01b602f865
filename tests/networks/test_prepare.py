import numpy as np
import pytest
import torch
from torch import nn

from hasten.core.errors import InputError
from hasten.networks.attach import attach_exits
from hasten.networks.prepare import Prepare, parse_normalisation
from hasten.split.build import build_package
from hasten.split.executor import Executor


def test_pixels_are_scaled_and_anything_else_is_left_alone():
    prepare = Prepare()
    pixels = torch.tensor([[0, 51, 255]], dtype=torch.uint8)
    torch.testing.assert_close(prepare(pixels), torch.tensor([[0.0, 0.2, 1.0]]))
    for x in (torch.randn(2, 3), torch.arange(4).reshape(2, 2), torch.ones(2, 2, dtype=torch.bool)):
        assert prepare(x) is x


def test_channels_are_reversed_before_they_are_normalised():
    frame = torch.tensor([10, 20, 30], dtype=torch.uint8).reshape(1, 3, 1, 1)
    prepare = parse_normalisation("0.1,0.2,0.3:0.5,0.25,1:bgr")
    wanted = [(30 / 255 - 0.1) / 0.5, (20 / 255 - 0.2) / 0.25, (10 / 255 - 0.3) / 1]
    np.testing.assert_allclose(prepare(frame).flatten(), wanted, rtol=1e-5)
    imagenet = parse_normalisation("imagenet")(frame).flatten()
    np.testing.assert_allclose(imagenet[0], (10 / 255 - 0.485) / 0.229, rtol=1e-5)
    assert parse_normalisation("bgr")(frame).flatten().tolist() == pytest.approx([30 / 255, 20 / 255, 10 / 255])


@pytest.mark.parametrize("text", ["", "imagenets", "1,2:x", "1,2", "1:2:3", "1,2:1", "1:0", "1:nan"])
def test_other_normalisations_are_refused(text):
    with pytest.raises(InputError, match="normalis"):
        parse_normalisation(text)


def test_frames_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"expected frames \(N, 3, H, W\)"):
        parse_normalisation("imagenet")(torch.zeros(2, 1, 4, 4))


def test_the_normalisation_is_part_of_the_package(tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(150, 5)).eval()
    prepare = parse_normalisation("imagenet:bgr")
    frames = np.random.default_rng(0).integers(0, 256, (8, 3, 15, 15), dtype=np.uint8)
    network = attach_exits(module, ["1"], example=torch.from_numpy(frames), prepare=prepare)
    path = tmp_path / "p.hasten"
    package = build_package(network, frames, np.arange(8) % 5, name="p", exit_names=network.exit_names, path=path)
    assert package.manifest.input.dtype == "uint8"
    with torch.no_grad():
        wanted = module(prepare(torch.from_numpy(frames[:1])))[0].numpy()
    np.testing.assert_allclose(Executor(package).finish(0, 2, [frames[:1]]), wanted, rtol=1e-4, atol=1e-5)
