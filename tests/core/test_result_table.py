"""Results as frames: a row for each task, or for each result; without pandas a word on how to get it."""

import sys

import numpy as np
import pytest
from report_results import result

import hasten as hs
from hasten.core.errors import HastenError
from hasten.core.result_table import edge_share_text, share_text


def test_a_frame_has_a_row_for_each_task():
    frame = result(correct=np.ones(8)).to_frame()
    assert len(frame) == 8 and set(frame.scheduler) == {"greedy"} and set(frame.seed) == {0}
    assert frame.outcome.tolist() == ["on_time"] * 3 + ["late"] * 3 + ["dropped"] * 2
    assert frame.latency_ms[:4].tolist() == [10.0, 20.0, 30.0, 50.0] and frame.latency_ms[4:].isna().all()
    assert frame.exit.tolist()[:3] == [1, 2, 3] and frame.on_time.sum() == 3 and frame.correct.sum() == 8
    assert "energy_mj" not in frame and "correct" not in result().to_frame()


def test_a_summary_has_a_row_for_each_result():
    frame = hs.summary_frame([result(seed=0), result("other", seed=1)])
    assert frame.scheduler.tolist() == ["greedy", "other"] and frame.seed.tolist() == [0, 1]
    assert frame["latency_ms.p50"].tolist() == [25.0, 25.0] and frame["exit_share.3"].tolist() == [0.25, 0.25]


def test_without_pandas_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    for make in (result().to_frame, lambda: hs.summary_frame([result()])):
        with pytest.raises(HastenError, match=r"needs pandas: pip install 'hasten\[notebook\]'"):
            make()


def test_shares_are_told_in_a_line():
    runs = [{"0": 0.5, "2": 0.3, "10": 0.2}, {"0": 0.3, "2": 0.5, "3": 0.008, "10": 0.2}]
    assert share_text(runs, 1) == "2:40% 10:20%"  # in order of the numbers; of 3 there is too little
    assert share_text([{"1": -0.02}], 1, "+") == "1:-2%"
    assert edge_share_text([{"west": 0.2, "east": 0.4}, {"west": 0.6}]) == "west:40% east:20%"
    assert edge_share_text([{"west": 0.1}], "+") == "west:+10%"
