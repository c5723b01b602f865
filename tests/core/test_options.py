"""The table of options: which are worth considering, for thousands of streams too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hasten.core import options
from hasten.core.options import DROP, StreamCosts, of_several_edges, option_table
from hasten.core.profile_names import load_profile


def test_an_option_is_left_out_where_another_needs_no_more_and_is_worth_no_less():
    rng = np.random.default_rng(0)
    table = option_table([StreamCosts(load_profile("alexnet-pi"))] * 3)
    shape = table.exit.shape
    table = replace(
        table,
        **{name: rng.integers(0, 4, shape) * 1.0 for name in ("device_ms", "payload_bits", "edge_ms", "worth")},
    )
    for m, column in enumerate(table.undominated()[1]):
        needs = np.stack([table.device_ms[m], table.payload_bits[m], table.edge_ms[m], -table.worth[m]])
        expected = [
            j
            for j in range(shape[1])
            if not any(
                (needs[:, i] <= needs[:, j]).all() and (i < j or (needs[:, i] < needs[:, j]).any())
                for i in range(shape[1])
                if i != j
            )
        ]
        assert column[column != DROP].tolist() == expected


def test_streams_alike_are_looked_at_once(monkeypatch):
    looked = []
    find = options._undominated_columns
    monkeypatch.setattr(options, "_undominated_columns", lambda *needs: looked.append(1) or find(*needs))
    costs = [StreamCosts(load_profile("alexnet-pi"), slowdown) for slowdown in (1.0, 2.0)] * 50
    table, column = option_table(costs).undominated()
    assert len(looked) == 2 and table.streams == 100
    np.testing.assert_array_equal(column[0], column[98])


def test_options_tell_the_edge_that_they_send_to():
    table = of_several_edges([option_table([StreamCosts(load_profile("alexnet-pi"))])] * 2)
    option = np.array([DROP, table.index(0, 2, 1, 1), table.index(0, 2, 1), int(np.argmin(table.payload_bits[0]))])
    assert table.edges(np.zeros(4, dtype=np.int64), option).tolist() == [0, 1, 0, 0]
