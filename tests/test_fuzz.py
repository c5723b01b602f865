"""The corpus of the fuzzer, crashes that were mended included: no input of it breaks its reader."""

from __future__ import annotations

import fuzz_targets
import pytest
from fuzz_targets import CORPUS, TARGETS

from hasten.runtime.wire.frames import Kind

MOST_BYTES = 300_000


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_of_the_corpus_breaks_its_reader(name):
    inputs = sorted((CORPUS / name).iterdir())
    assert len(inputs) >= 4
    for path in inputs:
        try:
            TARGETS[name](path.read_bytes())
        except Exception as error:
            raise AssertionError(f"{name}: {path.name}") from error


def test_the_corpus_is_small_and_has_no_other_folders():
    assert {path.name for path in CORPUS.iterdir()} == TARGETS.keys()
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < MOST_BYTES


def test_a_reader_that_fails_is_noticed(monkeypatch):
    def fail(given):
        raise IndexError("as a bug would")

    monkeypatch.setitem(fuzz_targets.PARSERS, Kind.HELLO, fail)
    monkeypatch.setattr(fuzz_targets, "load_scenario", fail)
    for name, seed in [("frames", "hello"), ("scenario", "periodic")]:
        with pytest.raises(IndexError):
            TARGETS[name]((CORPUS / name / seed).read_bytes())
