"""Lines for the operator: a few at once, then few, and none is lost from the count."""

from __future__ import annotations

import os

from hasten.runtime.notes import BURST, EVERY_MS, Notes, say_on_stderr


def test_a_flood_is_told_in_few_lines_that_count_the_rest(clock):
    said = []
    notes = Notes(said.append, clock.now_ms)
    for _ in range(1000):
        notes.tell("refused", "refused")
        notes.tell("come", "come")
        clock.run(1.0)
    assert said.count("come") == said.count("refused") == BURST
    clock.run(EVERY_MS)
    notes.tell("refused", "refused")
    assert said[-1] == f"refused ({1000 - BURST} more of this kind since the last line)"


def test_a_closed_standard_error_is_no_trouble(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        monkeypatch.setattr("sys.stderr", closed)
        say_on_stderr("nobody listens")
        monkeypatch.undo()
        try:
            closed.close()
        except BrokenPipeError:
            return
