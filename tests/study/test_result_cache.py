"""The result cache: what was kept is found again, and nothing else is."""

import resource
from pathlib import Path

import pytest

from hasten.core.errors import InputError
from hasten.study.result_cache import ResultCache, result_key


def test_kept_results_are_found_by_another_process_later(tmp_path: Path) -> None:
    keys = [result_key("run", scheduler="greedy", seed=seed) for seed in range(1200)]
    with ResultCache(tmp_path / "new" / "cells.sqlite") as cells:
        cells.keep({key: {"gain": i} for i, key in enumerate(keys[:1100])})
    with ResultCache(tmp_path / "new" / "cells.sqlite") as cells:
        found = cells.find(keys)
    assert len(found) == 1100
    assert found[keys[1099]] == {"gain": 1099}


def test_keys_follow_from_all_facts_and_not_from_their_order() -> None:
    key = result_key("run", scheduler="greedy", seed=1, scenario={"a": 1, "b": 2.0})
    assert key == result_key("run", seed=1, scenario={"b": 2.0, "a": 1}, scheduler="greedy")
    others = [
        result_key("bound", scheduler="greedy", seed=1, scenario={"a": 1, "b": 2.0}),
        result_key("run", scheduler="greedy", seed=2, scenario={"a": 1, "b": 2.0}),
        result_key("run", scheduler="greedy", seed=1, scenario={"a": 1, "b": 2.5}),
    ]
    assert key not in others


def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cells.sqlite").write_text("not a database at all, " * 100)
    with pytest.raises(InputError, match=r"cells\.sqlite: cache"):
        ResultCache(tmp_path / "cells.sqlite")


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "cells.sqlite"
    with ResultCache(path) as cells:
        cells.keep({"old": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, hard))
    try:
        with ResultCache(path) as cells, pytest.raises(InputError, match=r"cells\.sqlite: cache"):
            cells.keep({"new": "x" * 100_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with ResultCache(path) as cells:
        assert cells.find(["old", "new"]) == {"old": 1}
