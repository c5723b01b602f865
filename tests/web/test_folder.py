"""Rounds read from folders: what a run tells, bare logs, logs that grow."""

from __future__ import annotations

import json

import pytest
from web_logs import logged, told_round

from hasten.core.errors import InputError
from hasten.web.folder import RunFolder, Tail


def tell(folder, **more):
    (folder / "greedy-0.round.json").write_text(json.dumps(told_round(**more)))


def test_bare_logs_are_rounds_by_their_names(folder):
    (folder / "device-only_deepest-3-cam-1.jsonl").write_text(json.dumps(logged(0, 0.0, 30.0)) + "\n")
    rounds = RunFolder(folder).rounds
    assert list(rounds) == ["device-only_deepest-3", "greedy-0"]
    greedy = rounds["greedy-0"]
    assert [facts.name for facts in greedy.streams] == ["cam-1", "cam-2"]
    assert [len(track) for track in greedy.tracks] == [40, 40]
    assert greedy.all.accuracy(0, 80) == pytest.approx(70 / 80)
    assert greedy.now_ms() == 39 * 250.0 + 50.0
    assert greedy.shaped_mbps(0, 0.0) is None


def test_one_log_is_a_round_of_one_stream(folder):
    rounds = RunFolder(folder / "greedy-0-cam-2.jsonl").rounds
    (state,) = rounds.values()
    assert len(state.all) == 40


def test_a_round_that_tells_of_itself(folder):
    tell(folder)
    event = {"at_ms": 7000.0, "kind": "rate", "text": "link at half its rate", "rate_factor": 0.5}
    (folder / "greedy-0.events.log").write_text(json.dumps(event) + "\n")
    state = RunFolder(folder).rounds["greedy-0"]
    assert (state.title, state.streams[1].blocks, state.streams[1].exits) == ("two cameras", 4, 2)
    assert [state.shaped_mbps(1, at_ms) for at_ms in (0.0, 6000.0, 7000.0)] == [4.0, 8.0, 4.0]
    assert [(one.stream, one.text) for one in state.happenings.all if one.stream < 0] == [(-1, "link at half its rate")]


def test_logs_are_read_while_they_grow(folder):
    tell(folder, ended=False)
    shown = RunFolder(folder)
    state = shown.rounds["greedy-0"]
    line = json.dumps(logged(40, 10_000.0, 20.0))
    with (folder / "greedy-0-cam-1.jsonl").open("a") as log:
        log.write(line[:100])
        log.flush()
        shown.refresh()
        assert len(state.tracks[0]) == 40
        log.write(line[100:] + "\nno task at all\n")
        log.flush()
        shown.refresh()
    assert len(state.tracks[0]) == 41
    assert state.happenings.all[-1].text == "1 lines of the logs cannot be read and are left out"
    assert not state.ended
    tell(folder, ended=True)
    shown.refresh()
    assert state.ended
    assert shown.rounds["greedy-0"] is state


def test_a_round_that_begins_anew_is_another_one(folder):
    tell(folder)
    shown = RunFolder(folder)
    before = shown.rounds["greedy-0"]
    (folder / "greedy-0-cam-1.jsonl").write_text(json.dumps(logged(0, 0.0, 20.0)) + "\n")
    tell(folder, began_s=2000.0)
    shown.refresh()
    assert shown.rounds["greedy-0"] is not before
    assert len(shown.rounds["greedy-0"].tracks[0]) == 1


def test_what_is_refused(tmp_path, folder):
    with pytest.raises(InputError, match="a folder of task logs"):
        RunFolder(tmp_path / "absent")
    (empty := tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="task logs"):
        RunFolder(empty)
    assert RunFolder(empty, growing=True).rounds == {}
    elsewhere = told_round()
    elsewhere["streams"][0]["log"] = "../greedy-0-cam-1.jsonl"
    (folder / "greedy-0.round.json").write_text(json.dumps(elsewhere))
    with pytest.raises(InputError, match="log"):
        RunFolder(folder)


def test_a_line_without_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("hasten.web.folder.MOST_LINE_BYTES", 10)
    path = tmp_path / "log"
    path.write_text("a" * 50)
    tail = Tail(path, str)
    assert tail.more() == []
    assert tail.unread == 1
    assert Tail(tmp_path / "absent", str).more() == []
