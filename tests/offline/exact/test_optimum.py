"""The label-setting search against trying everything."""

from __future__ import annotations

import numpy as np
import pytest
from random_instances import brute_force, random_case

from hasten.offline.exact.search import exact_search
from hasten.offline.instance import evaluate

# (tasks, blocks, exits, instances): few tasks with many options, and many tasks with few
SHAPES = [(3, 3, 2, 150), (4, 2, 2, 250), (5, 2, 1, 400), (7, 1, 1, 400), (9, 1, 1, 40)]


@pytest.mark.parametrize(("tasks", "blocks", "exits", "instances"), SHAPES)
def test_exact_search_equals_brute_force(tasks: int, blocks: int, exits: int, instances: int) -> None:
    rng = np.random.default_rng([tasks, blocks, exits])
    for number in range(instances):
        case = random_case(rng, tasks, blocks, exits)
        instance = case.instance()
        search = exact_search(instance)
        gain, executed = evaluate(instance, search.option)
        assert search.complete
        np.testing.assert_array_equal(executed, search.option, err_msg=f"instance {number}")
        assert gain * tasks == pytest.approx(brute_force(case), abs=1e-8), f"instance {number}"
        assert search.gain + tasks * case.gain_terms.late_gain == pytest.approx(gain * tasks, abs=1e-8)
