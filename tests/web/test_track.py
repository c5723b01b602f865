"""Windows of a stream's tasks, against the tasks themselves."""

from __future__ import annotations

import random

import pytest
from web_logs import logged

from hasten.core.task_log import logged_task
from hasten.web.tasks import shown_task
from hasten.web.track import Track, quantile


def some_tasks(count=200):
    rng = random.Random(1)
    made = []
    for n in range(count):
        latency_ms = None if rng.random() < 0.2 else rng.uniform(20, 140)
        outcome = "dropped" if latency_ms is None else "on_time" if latency_ms <= 100 else "late"
        line = logged(
            n, 40.0 * n, latency_ms, outcome=outcome, correct=None if latency_ms is None else rng.random() < 0.7
        )
        made.append(shown_task(logged_task(line, "log"), {}))
    return sorted(made, key=lambda task: task.ended_ms)


def test_any_window_is_that_of_its_tasks():
    tasks, track = some_tasks(), Track()
    for task in tasks:
        track.add(task)
    for begin_ms, end_ms in ((0.0, 1e9), (1000.0, 3000.0), (7990.0, 8000.0), (5000.0, 5000.0)):
        inside = [task for task in tasks if begin_ms < task.ended_ms <= end_ms]
        first, last = track.count(begin_ms), track.count(end_ms)
        assert track.tasks[first:last] == inside
        assert track.latencies_ms(first, last) == sorted(t.latency_ms for t in inside if t.latency_ms is not None)
        if inside:
            assert track.accuracy(first, last) == pytest.approx(sum(t.worth for t in inside) / len(inside))
            late = sum(task.outcome == "late" for task in inside)
            assert track.mean("late", first, last) == pytest.approx(late / len(inside))
            assert track.usual_choice(first, last)[3] == max(
                sum((t.exit, t.partition, t.place) == (u.exit, u.partition, u.place) for t in inside) / len(inside)
                for u in inside
            )
        else:
            assert track.accuracy(first, last) is None
            assert track.usual_choice(first, last) is None


def test_accuracy_is_not_told_where_that_of_a_task_is_unknown():
    track = Track()
    for n, label in enumerate((3, None)):
        track.add(shown_task(logged_task(logged(n, 0.0, 50.0, label=label, correct=label and True), "log"), {}))
    assert track.accuracy(0, 1) == 1.0
    assert track.accuracy(0, 2) is None
    assert track.measured(0, 1)
    assert not track.measured(0, 2)


def test_what_is_heard_of_late_is_shown_with_the_last():
    track = Track()
    for n, arrival_ms in enumerate((100.0, 0.0)):
        track.add(shown_task(logged_task(logged(n, arrival_ms, 10.0), "log"), {}))
    assert [track.count(at_ms) for at_ms in (50.0, 109.0, 110.0)] == [0, 0, 2]


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 3.0), (0.95, 4.0), (1.0, 4.0)])
def test_quantiles(share, value):
    assert quantile([1.0, 2.0, 3.0, 4.0], share) == value
    assert quantile([], share) is None
