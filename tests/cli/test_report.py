"""Reports and timelines from the command line: what is written, and what is refused before any work."""

import json

import pytest

from hasten.core.scenario import load_scenario
from hasten.runtime.virtual.cluster import run_virtual_scenario


def test_a_simulation_leaves_a_report_its_numbers_and_a_timeline(hasten, small, tmp_path, capsys):
    page, trace = tmp_path / "r.html", tmp_path / "t.json"
    assert hasten("simulate", small, "--schedulers", "greedy", "--report", page, "--trace", trace) == 0
    told = capsys.readouterr().out
    assert f"report: {page} (numbers: r.csv, r-tasks.csv)" in told.replace("\n", " ") and "ui.perfetto.dev" in told
    assert f"hasten simulate {small} --schedulers greedy" in page.read_text(encoding="utf-8")
    assert len((tmp_path / "r-tasks.csv").read_text().splitlines()) == 61
    written = json.loads(trace.read_text())
    assert written["otherData"]["command"].startswith("hasten simulate") and written["traceEvents"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--report", "r.csv"], "the name of a page"),
        (["--report", "t.html", "--trace", "t.html"], "another place than that of --report"),
    ],
)
def test_what_cannot_be_written_is_refused(hasten, small, tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert hasten("simulate", small, "--schedulers", "greedy", *arguments) == 2
    assert said in capsys.readouterr().err


def test_where_the_simulator_has_no_timeline_virtual_time_has_one(hasten, small, tmp_path, capsys):
    views = tmp_path / "views.yaml"
    views.write_text(small.read_text() + "\nview: {kind: device}\n")
    assert hasten("simulate", views, "--schedulers", "greedy", "--trace", tmp_path / "t.json") == 2
    assert "hasten conform --virtual --out DIR, then hasten trace DIR" in capsys.readouterr().err.replace("\n", " ")
    run_virtual_scenario(load_scenario(views), ["fixed:1,1"], out_dir=tmp_path / "logs")  # as hasten conform does
    assert hasten("trace", tmp_path / "logs", "-o", tmp_path / "t.json") == 0
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"]


def test_a_page_shows_a_run_or_an_edge(hasten, capsys):
    assert hasten("web") == 2 and "one of them" in capsys.readouterr().err
    assert hasten("web", "--edge", "127.0.0.1:1") == 2 and "hasten edge --metrics" in capsys.readouterr().err
