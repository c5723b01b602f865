"""What is changed by hand: asked for in one thread, done in the run's."""

from __future__ import annotations

import threading
import time

import pytest

from hasten.core.errors import HastenError, InputError
from hasten.runtime.local.changes import Changes, RunChange


def asked(changes, change):
    """Ask in a thread; what came of it is in the list that is returned."""
    answers = []

    def ask():
        try:
            answers.append(changes.ask(change))
        except HastenError as error:
            answers.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, answers


def served(changes, do):
    until_s = time.monotonic() + 10.0
    while not (made := changes.serve(do)):
        assert time.monotonic() < until_s
    return made


def test_a_change_is_done_by_the_run_and_answered():
    changes = Changes()
    changes.begin()
    thread, answers = asked(changes, RunChange("rate", factor=0.5))
    assert served(changes, lambda change: f"{change.kind} {change.factor}") == 1
    thread.join(10.0)
    assert answers == ["rate 0.5"]


def test_nothing_is_changed_between_rounds():
    changes = Changes()
    with pytest.raises(HastenError, match="no round"):
        changes.ask(RunChange("kill_edge"))
    changes.begin()
    change = RunChange("kill_edge")
    changes._asked.put(change)
    changes.end()
    assert "ended" in str(change.done.exception(1.0))


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), 1e3])
def test_factors_have_bounds(factor):
    with pytest.raises(InputError, match="factor"):
        RunChange("rate", factor=factor)


def test_a_scheduler_that_there_is_not_is_refused_before_it_is_asked_for():
    with pytest.raises(InputError, match="nonsense"):
        RunChange("scheduler", scheduler="nonsense")
