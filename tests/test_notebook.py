"""The notebook runs from its first cell to its last, and is stored as it was run: with tables and pictures, no error."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "examples" / "compare_schedulers.ipynb"


def kinds(notebook):
    """What each code cell put out, as mime types."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [sorted({kind for out in cell.outputs for kind in out.get("data", {"stream": ""})}) for cell in cells]


@pytest.mark.timeout(280)
def test_it_runs_and_is_stored_with_what_comes_out():
    stored = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(stored)
    fresh = nbformat.from_dict(stored)
    NotebookClient(fresh, timeout=270, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    assert kinds(fresh) == kinds(stored)
    assert sum("image/png" in kind for kind in kinds(stored)) == 4
    greedy = next(
        out.text for cell in stored.cells if cell.cell_type == "code" for out in cell.outputs if "text" in out
    )
    assert "greedy reaches at least" in greedy and "of what is possible" in greedy
