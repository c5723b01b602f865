"""CONTRIBUTING.md tells where things live: every package and module at the top, and nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_table_of_packages_is_the_tree() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]*`) \|", page, re.MULTILINE)
    told = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    places = (path for path in (ROOT / "src" / "hasten").iterdir() if path.is_dir() or path.suffix == ".py")
    assert sorted(told) == sorted(path.stem for path in places if not path.name.startswith(("_", ".")))
