from __future__ import annotations

import itertools

import numpy as np
import pytest

from hasten.core.profile import Profile
from hasten.split.executor import Executor
from hasten.split.segment_times import (
    SegmentTimes,
    fit_times,
    merged_source,
    non_negative_least_squares,
    profile_from,
    time_segments,
)


def slow_nnls(matrix: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Try every set of non-zero unknowns; the best solution without negative entries."""
    columns = matrix.shape[1]
    best, best_error = np.zeros(columns), float(np.linalg.norm(goal))
    for size in range(1, columns + 1):
        for chosen in itertools.combinations(range(columns), size):
            part = np.linalg.lstsq(matrix[:, chosen], goal, rcond=None)[0]
            error = float(np.linalg.norm(matrix[:, chosen] @ part - goal))
            if (part >= 0).all() and error < best_error - 1e-12:
                best, best_error = np.zeros(columns), error
                best[list(chosen)] = part
    return best


@pytest.mark.parametrize("seed", range(30))
def test_nnls_equals_trying_every_set(seed):
    rng = np.random.default_rng(seed)
    matrix, goal = rng.standard_normal((8, 5)), rng.standard_normal(8)
    np.testing.assert_allclose(non_negative_least_squares(matrix, goal), slow_nnls(matrix, goal), atol=1e-9)


def exact_times(manifest, blocks, heads, encode=0.0, decode=0.0) -> SegmentTimes:
    prefix = {p: (sum(blocks[:p]), encode) for p in range(manifest.block_count + 1)}
    finish = {
        (p, e): (decode, sum(blocks[p : manifest.exits[e - 1].after_block]) + heads[e - 1])
        for e, p in manifest.options()
    }
    return SegmentTimes(prefix, finish, 0.0, {})


def test_additive_times_are_recovered_exactly(package):
    blocks = [0.5 + 0.25 * i for i in range(package.manifest.block_count)]
    heads = [0.1, 0.2, 0.05]
    times = exact_times(package.manifest, blocks, heads)
    for role in ("device", "edge"):
        fit = fit_times(times, package.manifest, role)
        np.testing.assert_allclose(fit.blocks, blocks, rtol=1e-8)
        np.testing.assert_allclose(fit.heads, heads, rtol=1e-8)
        assert fit.residual < 1e-8


def test_decoding_counts_for_the_edge_and_encoding_stands_apart(package):
    blocks, heads = [1.0] * package.manifest.block_count, [0.5, 0.5, 0.5]
    coded = exact_times(package.manifest, blocks, heads, encode=0.3, decode=0.2)
    edge, device = (fit_times(coded, package.manifest, role) for role in ("edge", "device"))
    profile = profile_from(package.manifest, device, edge, "here")
    assert [profile.encode_ms(p) for p in range(package.manifest.block_count + 1)] == [0.3] * len(package.manifest.cuts)
    np.testing.assert_allclose(edge.heads, [0.7, 0.7, 0.7], rtol=1e-6)
    np.testing.assert_allclose(edge.blocks, blocks, rtol=1e-6)
    np.testing.assert_allclose(device.heads, heads, rtol=1e-6)
    np.testing.assert_allclose(device.blocks, blocks, rtol=1e-6)


def test_what_a_role_runs_regularly_decides(package):
    """A device that would finish from a cut only in need: wrong times there move nothing that it runs every day."""
    blocks, heads = [1.0] * package.manifest.block_count, [0.5, 0.5, 0.5]
    times = exact_times(package.manifest, blocks, heads)
    odd = {key: (decode, run * (1 if key[0] == 0 else 3)) for key, (decode, run) in times.finish.items()}
    fit = fit_times(SegmentTimes(times.prefix, odd, 0.0, {}), package.manifest, "device")
    np.testing.assert_allclose(np.cumsum(fit.blocks)[:-1], np.cumsum(blocks)[:-1], rtol=0.05)
    assert fit.worst < 0.05


def test_real_segments_are_timed_each_and_make_a_profile(package):
    done = []
    times = time_segments(Executor(package), gap_ms=0, repeats=3, warmup=1, progress=done.append)
    assert set(times.finish) == {(p, e) for e, p in package.manifest.options()}
    assert set(times.prefix) == set(range(package.manifest.block_count + 1))
    assert all(encode > 0 for _, encode in times.prefix.values())
    assert all(run > 0 for partition, (run, _) in times.prefix.items() if partition)
    assert all(value > 0 for pair in times.finish.values() for value in pair)
    assert done == [0.25, 0.5, 0.75, 1.0]
    assert all(len(times.ratios[role]) % 3 == 0 and times.ratios[role] for role in ("device", "edge"))
    fit = fit_times(times, package.manifest, "device")
    profile = profile_from(package.manifest, fit, fit, "here")
    assert Profile.model_validate_json(profile.to_json()) == profile
    assert profile.input_bytes == package.manifest.cuts[0].payload_bytes
    assert [e.accuracy for e in profile.exits] == [e.accuracy_with_codec for e in package.manifest.exits]
    assert [e.accuracy_by_partition for e in profile.exits] == [e.accuracy_by_partition for e in package.manifest.exits]
    assert package.profile.exits[-1].accuracy_by_partition == package.manifest.exits[-1].accuracy_by_partition


def test_a_source_keeps_what_it_says_of_the_other_role():
    both = merged_source("", {"device": "device: a pi", "edge": "edge: a box"})
    assert both == "device: a pi; edge: a box"
    assert merged_source(both, {"edge": "edge: a rack"}) == "device: a pi; edge: a rack"
    assert merged_source("by hand", {"device": "device: a pi"}) == "by hand; device: a pi"
