from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hasten.core.errors import InputError
from hasten.core.noise import TimeSpread
from hasten.core.profile import read_profile
from hasten.fidelity.profiling import measure, measure_to_file
from hasten.split.build import build_package
from hasten.split.package import Package


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(8, 32), nn.Linear(32, 32)
        self.head1, self.head2 = nn.Linear(32, 3), nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = torch.relu(self.one(x))
        first = self.head1(x)
        return first, self.head2(torch.relu(self.two(x)))


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Package:
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("profiling") / "small.hasten"
    inputs, labels = rng.standard_normal((10, 8)), rng.integers(0, 3, 10)
    return build_package(Small().eval(), inputs, labels, name="small", exit_names=["a", "b"], path=path)


def test_a_fresh_profile_has_both_roles_from_this_machine_and_says_so(package):
    found = measure(package, "device", gap_ms=0, repeats=3)
    assert set(found.fits) == {"device", "edge"}
    assert "on the machine that was the device" in found.profile.source
    assert "1 thread, median processor time of 3 calls 0 ms apart" in found.profile.source
    assert found.profile.name == "small"
    for ratios in (found.profile.spread.device_ratio, found.profile.spread.edge_ratio):
        assert ratios[0] <= 1.0 <= ratios[-1] and ratios[3] == pytest.approx(1.0, abs=0.05)
    assert found.profile.spread.local_extra_ms is None  # that takes a runtime
    assert sum(block.device_ms for block in found.profile.blocks) > 0
    assert [head.after_block for head in found.profile.exits] == [e.after_block for e in package.manifest.exits]


def test_measuring_one_role_into_a_profile_keeps_the_other(package):
    spread = TimeSpread(device_ratio=range(1, 10), local_extra_ms=range(9))
    given = {"device_power_mw": 3000.0, "source": "device: a pi; edge: a laptop", "spread": spread}
    pi = package.profile.model_copy(update=given)
    found = measure(package, "edge", into=pi, gap_ms=0, repeats=3)
    assert set(found.fits) == {"edge"}
    assert [block.device_ms for block in found.profile.blocks] == [block.device_ms for block in pi.blocks]
    assert [block.edge_ms for block in found.profile.blocks] == list(found.fits["edge"].blocks)
    assert found.profile.source.startswith("device: a pi; edge: onnxruntime")
    assert found.profile.device_power_mw == 3000.0
    assert found.profile.spread.model_copy(update={"edge_ratio": None}) == spread
    assert found.profile.spread.edge_ratio[0] <= 1.0


@pytest.mark.parametrize(
    ("arguments", "mention"),
    [
        ({"role": "cloud"}, "role: got 'cloud', expected device or edge"),
        ({"role": "edge", "repeats": 1}, "repeats"),
        ({"role": "edge", "gap_ms": -1}, "gap_ms"),
        ({"role": "edge", "gap_ms": float("nan")}, "gap_ms"),
        ({"role": "edge", "warmup": -1}, "warmup"),
        ({"role": "edge", "threads": 0}, "threads"),
    ],
)
def test_arguments_out_of_range_are_named(package, arguments, mention):
    with pytest.raises(InputError, match=mention):
        measure(package, **arguments)


def test_a_profile_of_another_network_is_refused(package):
    other = package.profile.model_copy(update={"blocks": package.profile.blocks * 2})
    with pytest.raises(InputError, match="the package's 2 blocks"):
        measure(package, "edge", into=other)


def test_a_file_is_made_then_one_role_replaced(package, tmp_path):
    path = tmp_path / "here.json"
    told = []
    made = measure_to_file(
        package, "device", path, gap_ms=0, repeats=3, progress=lambda what, done: told.append((what, done))
    )
    assert read_profile(path) == made
    assert told[-1] == ("timing segments", 1.0)
    again = measure_to_file(package, "edge", path, gap_ms=0, repeats=3)
    assert read_profile(path) == again
    assert [block.device_ms for block in again.blocks] == [block.device_ms for block in made.blocks]
    assert again.source.count("edge: ") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["here.json"]


def test_a_file_that_is_no_profile_is_refused_and_kept(package, tmp_path):
    path = tmp_path / "here.json"
    path.write_text("{}")
    with pytest.raises(InputError, match=r"here\.json"):
        measure_to_file(package, "device", path)
    assert path.read_text() == "{}"


def test_an_edge_is_measured_by_batch_size_and_a_device_keeps_that(package):
    edge = measure(package, "edge", gap_ms=0, repeats=3).profile
    assert {(it.exit, it.partition) for it in edge.edge_batches} == {(1, 0), (2, 0), (2, 1)}
    assert all(it.sizes == (1, 2, 4, 8) and min(it.ms) > 0 for it in edge.edge_batches)
    again = measure(package, "device", into=edge, gap_ms=0, repeats=3).profile
    assert again.edge_batches == edge.edge_batches
    assert measure(package, "device", gap_ms=0, repeats=3).profile.edge_batches is None
