"""What makes code hard to read stays out: long signatures, one name for two classes, long modules."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "hasten"

_spec = spec_from_file_location("house", ROOT / "scripts" / "house.py")
assert _spec is not None and _spec.loader is not None
house = module_from_spec(_spec)
sys.modules["house"] = house
_spec.loader.exec_module(house)


@pytest.fixture(scope="module")
def trees():
    return house.trees_of(PACKAGE)


def test_no_function_has_more_than_8_parameters_and_no_kernel_more_than_12(trees):
    found = house.long_signatures(trees)
    assert not found.keys() - house.EXEMPT.keys()


def test_exempt_functions_exist_and_have_a_reason(trees):
    for place, reason in house.EXEMPT.items():
        path, name = place.split(":")
        assert name in {node.name for node in house.functions_of(trees[path])}, place
        assert "option" in reason


def test_no_class_name_exists_twice(trees):
    assert not house.repeated_classes(trees).keys()


def test_no_module_has_more_than_300_lines():
    assert not house.long_modules(PACKAGE).keys()


def test_the_lists_find_what_they_are_for(tmp_path):
    (tmp_path / "a.py").write_text(
        "class Twice: ...\n"
        "def many(self, a, b, c, d, e, f, g, h, *i): ...\n"
        "def eight(a, b, c, d, e, f, g, *, h): ...\n"
        "@compiled\ndef kernel(a, b, c, d, e, f, g, h, i, j, k, l, m): ...\n"
        "@compiled\ndef twelve(a, b, c, d, e, f, g, h, i, j, k, l): ...\n"
    )
    (tmp_path / "b.py").write_text("def f():\n    class Twice: ...\n" + "#\n" * 299)
    trees = house.trees_of(tmp_path)
    assert house.long_signatures(trees) == {"a.py:many": 9, "a.py:kernel": 13}
    assert house.repeated_classes(trees) == {"Twice": ["a.py", "b.py"]}
    assert house.long_modules(tmp_path) == {"b.py": 301}
