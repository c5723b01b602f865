"""The report of a comparison: the largest difference leads, errors are of tasks decided alike, tables have both sides."""

import csv

import numpy as np
import pytest
from report_results import HOSTILE, result, scenario

from hasten.fidelity.conform import Conformed
from hasten.fidelity.conform_report import write_conform_report
from hasten.fidelity.prediction_errors import conformance


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    simulated = result(HOSTILE)
    run = result(HOSTILE, finish_ms=simulated.finish_ms + 2.5, accuracy=simulated.accuracy / 2)
    document = {
        "runtime": {"kind": "processes", "workers": 1},
        "simulated_with": {"order": "ready", "task_ms": 1.0, "offload_ms": 2.0, "noise": "none"},
        "results": [conformance(simulated, run, "real")],
    }
    path = tmp_path_factory.mktemp("conform") / "conform.html"
    return write_conform_report(path, scenario(), Conformed(document, [(simulated, run)]), "hasten conform x.yaml")


def test_the_page(written):
    page = written[0].read_text(encoding="utf-8")
    assert f"off by at most {100 * (0.5 + 0.6 + 0.8) / 16:.1f} points" in page and ": less when run)" in page
    assert "<code>hasten conform x.yaml</code>" in page and "plus 1.00 ms for every task" in page
    assert "<script>hacked" not in page and page.count('<figure class="explore">') == 3
    errors = np.array([2.5] * 4)
    assert f"<td>{np.median(errors):.2f}</td>" in page


def test_the_tables(written):
    runs, tasks = (list(csv.DictReader(path.open(encoding="utf-8"))) for path in written[1:])
    assert runs[0]["latency_error.ms.median"] == "2.5" and runs[0]["simulated.dropped"] == "2"
    assert [task["latency_ms"] for task in tasks[:2]] == ["12.5", "22.5"]
    assert [task["simulated_latency_ms"] for task in tasks[:2]] == ["10.0", "20.0"] and tasks[7][
        "simulated_exit"
    ] == "0"
