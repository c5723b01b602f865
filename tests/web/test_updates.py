"""What a page is sent: all at first, then what has changed; together they are the view at that time."""

from __future__ import annotations

import json

import pytest
from web_logs import logged, told_round

from hasten.core.task_log import logged_task
from hasten.web.folder import RunFolder
from hasten.web.tasks import shown_task
from hasten.web.updates import Updates


@pytest.fixture
def state(folder):
    (folder / "greedy-0.round.json").write_text(json.dumps(told_round()))
    return RunFolder(folder).rounds["greedy-0"]


class Page:
    """Applies updates as the page's own script does."""

    def __init__(self):
        self.head, self.rows, self.points, self.events, self.series = {}, {}, [], {}, {}

    def apply(self, update):
        for stream, changed in update.pop("rows"):
            self.rows.setdefault(stream, {}).update(changed)
        self.points += update.pop("points")
        self.events |= {event["number"]: event for event in update.pop("events")}
        series = update.pop("series")
        from_ms = series.pop("from_ms")
        for name, values in series.items():
            kept = [value for at_ms, value in self.series.get(name, []) if at_ms < from_ms]
            times = [at_ms for at_ms, _ in self.series.get(name, []) if at_ms < from_ms] + series["at_ms"]
            self.series[name] = list(zip(times, kept + values, strict=True))
        self.head |= update


@pytest.mark.parametrize("stream", [-1, 1])
def test_updates_together_are_the_view(state, stream):
    step_by_step, updates = Page(), Updates(state, stream)
    for at_ms in (100.0, 330.0, 2000.0, 2001.0, 9800.0):
        step_by_step.apply(updates.update(at_ms))
        at_once = Page()
        at_once.apply(Updates(state, stream).update(at_ms))
        assert step_by_step.rows == at_once.rows
        assert step_by_step.points == at_once.points
        assert step_by_step.series == at_once.series
        for name in ("total", "scheduler", "end_ms", "live"):
            assert step_by_step.head[name] == at_once.head[name]


def test_the_figures(state):
    page = Page()
    page.apply(Updates(state).update(5000.0))
    row = page.rows[1]  # 20 tasks: arrivals from 0 to 4750 ms, of which every fourth was dropped
    assert (row["tasks"], row["accuracy"], row["dropped"]) == (21, pytest.approx(15 / 21, abs=1e-4), 0.2857)
    assert (row["exit"], row["partition"], row["place"]) == (2, 1, "split")
    assert (row["p50_ms"], row["deadline_ms"]) == (50.0, 100.0)
    assert (row["rate_mbps"], row["shaped_mbps"]) == (5.0, 8.0)
    assert (row["device_wait_ms"], row["uplink_wait_ms"], row["edge_wait_ms"]) == (4.0, 2.0, 1.0)
    assert page.head["total"]["tasks"] == 41
    assert page.head["total"]["accuracy"] == pytest.approx(35 / 41, abs=1e-4)


def test_what_did_not_change_is_not_sent(state):
    updates = Updates(state)
    updates.update(9800.0)
    again = updates.update(9800.0)
    assert again["rows"] == again["points"] == again["timeline"] == again["events"] == []
    assert not {"total", "title", "calibration", "scheduler"} & set(again)
    assert len(again["series"]["at_ms"]) <= 3


def test_calibration_is_promised_against_kept(state):
    promises = {one["kind"]: one["points"] for one in Updates(state).update(9800.0)["calibration"]}
    assert promises == {"device": [], "edge": [[0.9, 0.875, 80]]}
    promises = {one["kind"]: one["points"] for one in Updates(state, 0).update(9800.0)["calibration"]}
    assert promises["edge"] == [[0.9, 1.0, 40]]


def test_fallbacks_close_together_are_one_event(state):
    lines = [logged(40 + n, 10_000.0 + 500.0 * n, 80.0, fallback="silent") for n in range(6)]
    state.hear((0, shown_task(logged_task(line, "log"), {})) for line in lines)
    updates = Updates(state)
    events = updates.update(20_000.0)["events"]
    assert [(event["at_ms"], event["stream"], event["kind"], event["count"]) for event in events] == [
        (10_080.0, 0, "fallback_silent", 4),
        (12_080.0, 0, "fallback_silent", 2),
    ]
    state.hear([(0, shown_task(logged_task(logged(50, 13_500.0, 80.0, fallback="silent"), "log"), {}))])
    assert [event["count"] for event in updates.update(20_000.0)["events"]] == [3]


def test_a_task_with_its_stages(state):
    task = Updates(state, 0).update(9800.0)["timeline"][-1]
    assert (task["stream"], task["number"], task["arrival_ms"], task["deadline_ms"]) == (0, 39, 9750.0, 100.0)
    assert task["stages"] == [["wake", 1.0], ["device", 20.0], ["encode", 1.0], ["uplink", 10.0], ["edge", 5.0]]
