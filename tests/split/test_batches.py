"""Segments for several samples: only those that compute the same, and times by how many there are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from hasten.split.batches import batchable, cut_samples, runs_in_batches, time_batches
from hasten.split.build import build_package
from hasten.split.executor import Executor, Key
from hasten.split.sessions import ExecutionError


class Mixed(nn.Module):
    """Three exits: a usual one, one behind a shape with an open axis, and one that takes the batch's own number."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.more = nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.last = nn.Conv2d(4, 4, 3, 2, 1)
        self.head1, self.head2, self.head3 = nn.Linear(4 * 64, 3), nn.Linear(4 * 16, 3), nn.Linear(4 * 4, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = torch.relu(self.conv(x))
        first = self.head1(x.flatten(1))
        x = torch.relu(self.more(x))
        second = self.head2(x.reshape(1, -1))
        x = torch.relu(self.last(x))
        third = self.head3(x.reshape(x.shape[0], 16) - x.mean(0).reshape(1, 16) / 2)
        return first, second, third


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    rng = np.random.default_rng(0)
    frames = rng.standard_normal((20, 1, 16, 16)).astype(np.float32)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("batches") / "mixed.hasten"
    return build_package(
        Mixed().eval(),
        frames,
        rng.integers(0, 3, 20),
        name="mixed",
        exit_names=["a", "b", "c"],
        path=path,
        codec="float32",
    )


@pytest.fixture
def executor(package):
    return Executor(package)


def offloaded(package):
    exits = package.manifest.exits
    return [
        (partition, exit_)
        for exit_, partition in package.manifest.options()
        if partition < exits[exit_ - 1].after_block
    ]


def test_a_batch_gives_each_sample_its_own_outputs(executor, package):
    for partition in range(package.manifest.exits[0].after_block):
        samples = cut_samples(executor, partition, 5)
        for sample, found in zip(samples, executor.outputs_of(partition, 1, samples), strict=True):
            alone = executor.outputs(partition, 1, sample)
            assert found.keys() == alone.keys() and found["logits"].shape == alone["logits"].shape
            np.testing.assert_allclose(found["logits"], alone["logits"], rtol=1e-4, atol=1e-5)


def test_what_mixes_samples_is_found_out(executor, package):
    kept = batchable(executor, offloaded(package))
    assert {exit_ for _, exit_ in kept} >= {1} and 3 not in {exit_ for _, exit_ in kept}
    samples = cut_samples(executor, 0, 3)
    assert runs_in_batches(executor, 0, 1, samples) and not runs_in_batches(executor, 0, 3, samples)
    assert {partition for partition, exit_ in kept if exit_ == 1} == set(range(package.manifest.exits[0].after_block))


def test_graphs_for_one_sample_stay_as_they_are(executor, package):
    samples = cut_samples(executor, 0, 2)
    with pytest.raises(ExecutionError):
        executor.finish(0, 1, [np.concatenate([sample[0] for sample in samples])])


def test_what_has_no_room_is_left_out(package):
    whole = Executor(package)
    keys = [Key("finish", 0, 1), Key("finish", 1, 2), Key("batch", 0, 1)]
    executor = Executor(package, memory_bytes=sum(whole.segment_bytes(key) for key in keys), role="edge")
    executor.warm([(1, 0), (2, 1)])
    assert batchable(executor, [(0, 1), (1, 2)]) == {(0, 1)}
    assert executor.holds(Key("batch", 0, 1)) and not executor.holds(Key("batch", 1, 2))


def test_times_are_medians_of_each_size_by_the_clock_given(executor, package):
    ticks = itertools.count()
    found = time_batches(executor, gap_ms=0.0, repeats=3, clock=lambda: next(ticks) * 0.002)
    assert {it.exit for it in found} >= {1} and 3 not in {it.exit for it in found}
    assert all(it.sizes == (1, 2, 4, 8) and it.ms == pytest.approx((2.0,) * 4) for it in found)
