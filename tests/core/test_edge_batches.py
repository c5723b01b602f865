"""Which tasks an edge runs at once: of lists and compiled of arrays alike, and by its definition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numba import njit

from hasten.core.edge_batches import BY_ITSELF, BatchTimes, Waiting, all_in_time, batch_factor, choose_batch

SIZES, FACTORS = ((1, 2, 4, 8), (1, 2, 4, 4)), ((1.0, 1.2, 1.6, 2.4), (1.0, 1.9, 3.0, 3.0))
TIMES = BatchTimes([list(it) for it in SIZES], [list(it) for it in FACTORS])
ARRAYS = BatchTimes(np.array(SIZES), np.array(FACTORS))


@njit
def choose(waiting, count, now_ms, times, busy_ms, room_ms):
    return choose_batch(waiting, count, now_ms, times, busy_ms, room_ms)


@njit
def all_could_be(waiting, count, times, free_ms, room_ms):
    return all_in_time(waiting, count, times, free_ms, room_ms)


def queue(rng, count):
    """So many tasks of both kinds and of none, in order of deadline."""
    kinds = rng.integers(-1, 2, count).tolist()
    work_ms = [(10.0, 7.0, 12.0)[kind] for kind in kinds]
    latest_ms = sorted((100.0 + rng.choice([12.0, 30.0, 80.0], count) * rng.uniform(0.8, 1.5, count)).tolist())
    return Waiting(work_ms, latest_ms, kinds, [False] * count)


def arrays(waiting):
    return Waiting(*(np.array(it) for it in waiting))


def best_by_definition(waiting, now_ms, busy_ms):
    """Of the measured numbers, and of all that there are, those that make nobody late: that of the least time per task."""
    count, kind = len(waiting.kind), waiting.kind[0]
    alike = [i for i in range(1, count) if waiting.kind[i] == kind != BY_ITSELF]
    best, found = 1.0, [0]
    most = min(len(alike) + 1, SIZES[kind][-1])
    for size in sorted({2, 4, 8, most}):
        if not 1 < size <= most:
            continue
        factor = batch_factor(SIZES[kind], FACTORS[kind], size)
        ends_ms = now_ms + factor * waiting.work_ms[0]
        members = [0, *[i for i in alike if waiting.latest_ms[i] >= ends_ms][: size - 1]]
        in_time = len(members) == size and ends_ms <= waiting.latest_ms[0]
        if in_time and factor / size < best and not overtaken(waiting, members, now_ms, ends_ms, busy_ms):
            best, found = factor / size, members
    return found


def overtaken(waiting, members, now_ms, ends_ms, busy_ms):
    def late(order, first_ends_ms):
        free_ms = [first_ends_ms, *(now_ms + busy for busy in busy_ms[1:])]
        missed = set()
        for i in order:
            worker = int(np.argmin(free_ms))
            if free_ms[worker] > waiting.latest_ms[i] - waiting.work_ms[i]:
                missed.add(i)
            free_ms[worker] += waiting.work_ms[i]
        return missed

    everybody = range(1, len(waiting.kind))
    rest = [i for i in everybody if i not in members]
    return bool((late(rest, ends_ms) - late(everybody, now_ms + waiting.work_ms[0])) & set(rest))


@pytest.mark.parametrize("busy_ms", [[0.0], [0.0, 3.0, 20.0]])
def test_the_best_batch_is_that_of_the_definition(busy_ms):
    sizes = set()
    for seed in range(400):
        rng = np.random.default_rng(seed)
        waiting = queue(rng, int(rng.integers(1, 14)))
        count, room_ms = len(waiting.kind), np.zeros((2, len(busy_ms)))
        size = choose_batch(waiting, count, 100.0, TIMES, busy_ms, room_ms)
        expected = best_by_definition(waiting, 100.0, busy_ms)
        assert [0, *(i for i in range(1, count) if waiting.joins[i])] == expected
        assert size == len(expected)
        sizes.add(size)
        compiled = arrays(waiting)
        compiled.joins[:] = True
        assert choose(compiled, count, 100.0, ARRAYS, np.array(busy_ms), room_ms) == size
        assert compiled.joins[1:].tolist() == waiting.joins[1:]
    assert sizes >= {1, 2, 3, 4}


def test_all_are_in_time_together_where_one_by_one_they_are_not():
    four = Waiting([10.0] * 4, [30.0, 31.0, 32.0, 33.0], [0] * 4, [False] * 4)
    alone = four._replace(kind=[BY_ITSELF] * 4)
    for waiting, expected in ((four, True), (alone, False)):
        room_ms = np.zeros((2, 1))
        assert all_could_be(arrays(waiting), 4, ARRAYS, np.zeros(1), room_ms) is expected
        assert all_in_time(waiting, 4, TIMES, [0.0], room_ms) is expected


def test_whether_all_are_in_time_is_the_same_of_lists_and_of_arrays():
    found = []
    for seed, workers in itertools.product(range(150), (1, 2)):
        rng = np.random.default_rng(seed)
        waiting = queue(rng, int(rng.integers(1, 9)))
        free_ms, room_ms = np.sort(100.0 + 10.0 * rng.random(workers)), np.zeros((2, workers))
        compiled = all_could_be(arrays(waiting), len(waiting.kind), ARRAYS, free_ms.copy(), room_ms)
        found.append(all_in_time(waiting, len(waiting.kind), TIMES, free_ms.tolist(), room_ms))
        assert found[-1] == compiled
    assert 0.1 < np.mean(found) < 0.9
