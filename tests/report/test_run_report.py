"""The report of runs: the numbers of the results, how they were made, tables beside it, and no name that does harm."""

import csv
import re

import numpy as np
import pytest
from report_results import HOSTILE, result, scenario

from hasten.report.run_report import comparison, score, write_run_report

COMMAND = "hasten simulate 'two cameras.yaml' --seeds 2"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    page = tmp_path_factory.mktemp("report") / "report.html"
    results = [result(seed=seed) for seed in (0, 1)] + [result(HOSTILE, gain=np.zeros(8))]
    return write_run_report(page, scenario(HOSTILE), results, COMMAND)


def test_the_page_says_what_came_out_and_how_it_was_made(written):
    page = written[0].read_text(encoding="utf-8")
    assert "greedy answers the largest share" in page and f"{(0.5 + 0.6 + 0.8) / 8:.3f}" in page
    assert "<code>hasten simulate &#x27;two cameras.yaml&#x27; --seeds 2</code>" in page
    assert re.search(r"<dt>versions</dt><dd>hasten \d.*numpy \d", page) and "<dt>seeds</dt><dd>0, 1</dd>" in page
    assert "&quot;deadline_ms&quot;: 40" in page, "the scenario itself"


def test_nothing_is_loaded_and_no_name_becomes_html(written):
    page = written[0].read_text(encoding="utf-8")
    assert not re.search(r"""<(link|img|iframe|object|base)\b|\bsrc=["']|url\((?!#)""", page)
    assert page.count("<script>") == 2 and "<script>hacked" not in page and "onerror=hacked()>" not in page
    assert "default-src 'none'; script-src 'sha256-" in page


def test_the_tables_beside_it_have_every_run_and_every_task(written):
    runs, tasks = (list(csv.DictReader(path.open(encoding="utf-8"))) for path in written[1:])
    assert [path.name for path in written] == ["report.html", "report.csv", "report-tasks.csv"]
    assert [(run["scheduler"], run["seed"]) for run in runs] == [("greedy", "0"), ("greedy", "1"), (HOSTILE, "0")]
    assert runs[0]["latency_ms.p50"] == "25.0" and runs[0]["exit_share.3"] == "0.25"
    assert len(tasks) == 24 and tasks[1]["stream_name"] == f"{HOSTILE}-2"
    assert [task["outcome"] for task in tasks[:8]] == ["on_time"] * 3 + ["late"] * 3 + ["dropped"] * 2
    assert [task["latency_ms"] for task in tasks[:5]] == ["10.0", "20.0", "30.0", "50.0", ""]


def test_the_best_comes_first_by_what_was_measured():
    right = result("right", correct=np.ones(8), accuracy=np.full(8, 0.1))
    table = comparison([result(correct=np.zeros(8)), right], {"right": 0.5})
    assert [row[0] for row in table.rows] == ["right", "greedy"] and table.best == 0
    assert table.rows[0][1:4] == ["0.375", "0.038", "0.500"] and score([right], "right") == 3 / 8


def test_of_several_edges_the_share_that_each_got_is_shown():
    table = comparison([result(edge_share={"west": 0.25, "east": 0.5}), result("device-only")])
    place = table.head.index("edges")
    assert [row[place] for row in table.rows] == ["west:25% east:50%", ""]
    assert "edges" not in comparison([result()]).head


def test_runs_without_a_single_task_or_answer_have_a_report(tmp_path):
    nothing = {name: np.zeros(0) for name in ("arrival_ms", "finish_ms", "deadline_ms", "accuracy", "gain")}
    empty = result(stream=np.zeros(0, dtype=np.int64), decisions=np.zeros((0, 2), dtype=np.int64), **nothing)
    lost = result(finish_ms=np.full(8, np.inf), accuracy=np.zeros(8), gain=np.zeros(8))
    for number, one in enumerate((empty, lost)):
        page, *_ = write_run_report(tmp_path / f"{number}.html", scenario(), [one], COMMAND)
        assert "before their deadline: 0.000" in page.read_text(encoding="utf-8")


def test_the_best_may_have_failed_on_the_first_seed(tmp_path):
    page = tmp_path / "report.html"
    best, other = result("best", seed=1), result("other", gain=np.zeros(8))
    write_run_report(page, scenario(), [best, other, result("other", seed=1, gain=np.zeros(8))], COMMAND)
    assert "best answers the largest share" in page.read_text(encoding="utf-8")
