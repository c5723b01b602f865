"""Charts as plain data: rounded, without what is no number, and harmless inside a page."""

import json

import numpy as np
from report_results import HOSTILE

from hasten.report.charts import Chart, ChartLine, charts_json, exit_tone, tone


def test_values_are_rounded_and_what_is_none_is_null():
    line = ChartLine("a", np.array([1.0, np.nan, 2.0 / 3.0]), "c0", band=(np.zeros(3), np.array([1.0, np.inf, 2.0])))
    (plain,) = json.loads(charts_json([Chart(np.array([0.0, 1234.5678, 5000.0]), [line], "x", "y", marks={2.0: "m"})]))
    assert plain["x"] == [0, 1234.5678, 5000] and plain["lines"][0]["y"] == [1, None, 0.66667]
    assert plain["lines"][0]["band"] == [[0, 0, 0], [1, None, 2]] and plain["marks"] == [[2.0, "m"]]


def test_a_text_cannot_end_the_script_that_holds_it():
    chart = Chart(np.zeros(1), [ChartLine(HOSTILE, np.zeros(1), "c0")], HOSTILE, "y", title="<!--", notes=["&lt;"])
    text = charts_json([chart])
    assert not set("<>&") & set(text)
    (plain,) = json.loads(text)
    assert plain["lines"][0]["label"] == plain["xLabel"] == HOSTILE and plain["notes"] == ["&lt;"]


def test_colours_of_things_compared_come_again_and_exits_span_the_palette():
    assert tone(0) == tone(9) == "c0"
    assert [exit_tone(number, 3) for number in (1, 2, 3)] == ["e0", "e4", "e7"] and exit_tone(1, 1) == "e0"
