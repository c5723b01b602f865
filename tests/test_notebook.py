"""The notebook runs from its first cell to its last, and is stored as it was run: with tables and pictures, no error."""

from __future__ import annotations

from pathlib import Path

import nbformat

NOTEBOOK = Path(__file__).parent.parent / "examples" / "compare_schedulers.ipynb"


def is_bar(out):
    """Whether an output is the progress of a long call: which calls are long depends on the machine."""
    return "<progress" in out.get("data", {}).get("text/html", "")


def kinds(notebook):
    """What each code cell put out besides progress, as mime types."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    kept = [[out for out in cell.outputs if not is_bar(out)] for cell in cells]
    return [sorted({kind for out in outputs for kind in out.get("data", {"stream": ""})}) for outputs in kept]


def test_it_runs_and_is_stored_with_what_comes_out():
    from nbclient import NotebookClient

    stored = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(stored)
    fresh = nbformat.from_dict(stored)
    NotebookClient(fresh, timeout=880, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    assert kinds(fresh) == kinds(stored)
    (solving,) = (cell for cell in fresh.cells if "solve_offline" in cell.source)
    for bar in filter(is_bar, solving.outputs):  # none where solving takes no half a second
        assert bar.data["text/html"].startswith('<progress value="1.000"></progress>')
        assert "solving: plan and bound" in bar.data["text/plain"]
    assert sum("image/png" in kind for kind in kinds(stored)) == 4
    greedy = next(
        out.text for cell in stored.cells if cell.cell_type == "code" for out in cell.outputs if "text" in out
    )
    assert "greedy reaches at least" in greedy and "of what is possible" in greedy
