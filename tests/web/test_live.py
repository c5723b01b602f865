"""Controls of a run: orders from the page become changes, wrong ones are refused."""

from __future__ import annotations

import pytest

from hasten.core.errors import InputError
from hasten.web.live import RunControls


class Asked:
    """Takes changes instead of a run."""

    def ask(self, change):
        self.change = change
        return "done"


@pytest.mark.parametrize(
    ("order", "kind", "factor", "scheduler"),
    [
        ({"do": "rate", "value": 0.25}, "rate", 0.25, ""),
        ({"do": "pace", "value": 2}, "pace", 2.0, ""),
        ({"do": "scheduler", "value": "edgent"}, "scheduler", 1.0, "edgent"),
        ({"do": "kill_edge"}, "kill_edge", 1.0, ""),
        ({"do": "restart_edge"}, "restart_edge", 1.0, ""),
    ],
)
def test_orders(order, kind, factor, scheduler):
    asked = Asked()
    assert RunControls(asked).do(order) == "done"
    assert (asked.change.kind, asked.change.factor, asked.change.scheduler) == (kind, factor, scheduler)


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"do": "format"},
        {"do": ["rate"]},
        {"do": "rate"},
        {"do": "rate", "value": "1"},
        {"do": "rate", "value": True},
        {"do": "pace", "value": 1e9},
        {"do": "scheduler", "value": 3},
        {"do": "scheduler", "value": "nonsense"},
    ],
)
def test_wrong_orders(order):
    with pytest.raises(InputError):
        RunControls(Asked()).do(order)


def test_every_control_that_is_offered_can_be_done():
    for control in RunControls(Asked()).offered():
        order = {"do": control["do"]} | ({"value": control["value"]} if "value" in control else {})
        assert RunControls(Asked()).do(order) == "done"
