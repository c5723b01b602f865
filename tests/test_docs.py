"""The site builds with every link and anchor found; what quickstart and tutorials show runs as it is shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ("quickstart", "tutorials/own-network", "tutorials/own-scheduler", "tutorials/own-traces", "tutorials/camera")
BLOCK = re.compile(r'^```(\w+)(?: title="([\w.]+)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)


def test_the_site_builds_and_every_link_is_found(tmp_path: Path) -> None:
    told = command("-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path), folder=ROOT)
    assert told.returncode == 0, told.stderr
    assert "hasten.runtime.library.device.Device.infer" in (tmp_path / "reference.html").read_text(encoding="utf-8")


@pytest.mark.docs
@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs_as_it_is_shown(page: str, tmp_path: Path) -> None:
    """Blocks with a title are files; ``sh`` and ``python`` blocks run in order, in a folder of their own."""
    blocks = BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))
    assert blocks
    for kind, title, text in blocks:
        if title:
            (tmp_path / title).write_text(text, encoding="utf-8")
        elif kind == "python":
            told = command("-c", text, folder=tmp_path)
            assert told.returncode == 0, told.stderr
        elif kind == "sh":
            for line in text.strip().splitlines():
                assert line.startswith("hasten ")
                told = command("-m", *line.split(), folder=tmp_path)
                assert told.returncode == 0, f"{line}: {told.stderr}"


def command(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, finding the modules beside it and hasten as the tests do."""
    paths = os.pathsep.join((str(folder), str(ROOT / "src")))
    environment = {**os.environ, "PYTHONPATH": paths, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
