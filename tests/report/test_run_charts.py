"""Charts of runs show the numbers of the results."""

from pathlib import Path

import numpy as np
from report_results import result, scenario

from hasten.core.scenario import load_scenario
from hasten.report.run_charts import accuracy_chart, choices_chart, latency_chart, rates_chart


def test_the_share_answered_within_a_time():
    chart = latency_chart([result(), result("other", finish_ms=np.full(8, np.inf))])
    greedy, other = chart.lines
    at = np.searchsorted(chart.x, [9.0, 10.0, 25.0, 64.0])
    assert greedy.y[at].tolist() == [0.0, 1 / 8, 2 / 8, 4 / 8] and not other.y.any()
    assert chart.marks == {40.0: "deadline"} and chart.x[-1] == 64.0


def test_each_task_is_at_its_partition_point_under_what_became_of_it():
    chart = choices_chart(result(), scenario())
    shown = {line.label: np.flatnonzero(np.isfinite(line.y)).tolist() for line in chart.lines}
    assert shown == {"exit 1": [0], "exit 2": [1], "exit 3": [2], "late": [3, 4, 5], "dropped": [6, 7]}
    third = chart.lines[2].y[2]
    assert abs(third - 3) < 0.5 and chart.names[0.0] == "0: edge" and chart.names[chart.lines[-1].y[6]] == "dropped"
    assert chart.notes[2] == "cam-1, 0.10 s: exit 3, partition 3, 30.0 of 40 ms"
    assert chart.notes[4].endswith("exit 2, partition 2, no answer") and chart.notes[6].endswith("dropped")


def test_a_fallback_tells_which_exit_answered():
    chart = choices_chart(result(answered_exit=np.array([2, 2, 3, 3, 0, 0, 0, 0])), scenario())
    assert "exit 1, partition 0, exit 2 answered, 10.0" in chart.notes[0]
    assert [line.label for line in chart.lines][:2] == ["exit 2", "exit 3"]


def test_on_time_accuracy_in_windows():
    late = np.repeat([0.0, 3000.0], 4)
    chart = accuracy_chart([result(arrival_ms=late, finish_ms=late + result().latency_ms)])
    assert chart.x.tolist()[:2] == [1.0, 3.0]
    assert chart.lines[0].y[:2].tolist() == [(0.5 + 0.6 + 0.8) / 4, 0.0]


def test_the_links_rate():
    chart = rates_chart(scenario(rates=7), 0)
    assert [line.label for line in chart.lines] == ["link"] and np.allclose(chart.lines[0].y, 7.0)


def test_links_to_several_edges_are_named_by_edge():
    two = load_scenario(Path(__file__).parent.parent.parent / "examples" / "two-edges.yaml")
    assert [line.label for line in rates_chart(two, 0).lines] == ["link to west", "link to east"]
