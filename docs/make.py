"""Write the reference pages from the code, and run every Python example of README and docs.

`docs/cli.md` comes from the commands' own help, `docs/api.md` from the docstrings of the public names,
`docs/observations.md` from the layouts of observations. An example is a fenced block marked ``python``; blocks that
start with ``class`` or use a package that is not built here are only compiled.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import hasten as hs
from hasten.features.layout import (
    ContextFeature,
    EdgeFeature,
    Feature,
    FurtherContextFeature,
    FurtherOptionFeature,
    OptionFeature,
    StateFeature,
)

ROOT = Path(__file__).parent.parent
ONLY_COMPILED = (
    "class ",
    '"my.hasten"',
    '"phones.yaml"',  # the quickstart writes it; `make tutorials` runs that page as it is shown
    "hs.train(",
    'open_package("',
    "own_model",
    "trained_model",
    "mydata",
)
COMMANDS = (
    "demo",
    "build",
    "inspect",
    "verify",
    "export",
    "profile",
    "simulate",
    "solve",
    "run",
    "conform",
    "train",
    "study",
    "edge",
    "device",
    "web",
    "trace",
    "doctor",
)
COMMANDS_HEAD = """# Command line

Written by `make docs` from the commands' own help. `python -m hasten` is `hasten`; `--version` tells its version.

Exit codes: 0 done; 1 something that ran failed, results that are finished are written; 2 bad input, a missing extra
or a place that cannot be written, told in one line on standard error; 130 and 143 after Ctrl-C and SIGTERM, which for
an edge is its usual end (0). Asked to end, a command writes what it has finished (`"interrupted": "SIGTERM"` in its
JSON); asked twice, it ends at once. Files are checked before the work and written whole or not at all: an older file
stays until the new one is complete.
"""

OBSERVATIONS: tuple[tuple[str, str, type[Feature]], ...] = (
    (
        "Values of actions",
        "Times are cut off at 2. After these columns come J predicted latencies, 2 for padding, then J predicted "
        "gains, of late\noptions as such.",
        StateFeature,
    ),
    (
        "Environments with several edges",
        "Behind the gains come these columns of each edge but the first, of which UPLINK_WAIT to EDGE_MEAN_WAIT, RATE "
        "and RATE_AVERAGE above are.\nLatencies and gains are those of each option at its own edge.",
        EdgeFeature,
    ),
    (
        "Values of afterstates: context features",
        "Gaps and longest times `t` are `t / (t + deadline)`; backlogs and variabilities are cut off at 2.",
        ContextFeature,
    ),
    (
        "Values of afterstates: features of options",
        f"After the {len(ContextFeature)} context features come blocks of J+1 columns each, in this order: one column "
        "for each option, the last\nfor dropping. Times are cut off at 2. The last four blocks are the afterstate, and "
        "the further ones of several edges.",
        OptionFeature,
    ),
    (
        "Values of afterstates with several edges: further context features",
        "Columns 2, 3, 10, 11, 14 and 15 above are then of the nearest edge: the one that would be done first with the "
        "stream's mean tensor\nif link and worker were idle. Further columns hold means over all other edges, so that "
        "the observation is as long for any number\nof them. Round trips `t` are `t / (t + deadline)`.",
        FurtherContextFeature,
    ),
    (
        "Values of afterstates with several edges: further features of options",
        "Blocks above that tell of uplink and edge are of the nearest edge, too. Of each option it is told what it "
        "leaves at that edge and,\non average, at all others, wherever it runs itself.",
        FurtherOptionFeature,
    ),
)


def main() -> None:
    """Write the pages, then run the examples; exit code 1 if one fails."""
    (ROOT / "docs" / "cli.md").write_text(command_page(), encoding="utf-8")
    (ROOT / "docs" / "api.md").write_text(api_page(), encoding="utf-8")
    (ROOT / "docs" / "observations.md").write_text(observation_page(), encoding="utf-8")
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    failed = [page.name for page in pages if not all(run(page, code) for code in examples(page))]
    if failed:
        sys.exit(f"examples failed in {', '.join(failed)}")
    print("wrote docs/cli.md, docs/api.md and docs/observations.md; all examples run")


def command_page() -> str:
    """Every command's help, as plain text."""
    page = COMMANDS_HEAD
    for command in COMMANDS:
        shown = subprocess.run(
            [sys.executable, "-m", "hasten", command, "--help"],
            capture_output=True,
            text=True,
            check=True,
            env={"COLUMNS": "110", "TERM": "dumb", "NO_COLOR": "1", "PATH": "", "PYTHONPATH": str(ROOT / "src")},
        ).stdout
        text = "\n".join(line.rstrip() for line in shown.strip().splitlines()).replace("python -m hasten", "hasten")
        page += f"\n## hasten {command}\n\n```\n{text}\n```\n"
    return page


def api_page() -> str:
    """Signature, docstring and, of a type, the public attributes and methods of every public name."""
    page = "# Python API\n\n`import hasten as hs`. Written by `make docs` from the docstrings.\n"
    for name in hs.__all__:
        thing = getattr(hs, name)
        signature = f" = {thing!r}"
        if callable(thing):
            signature = "" if inspect.isclass(thing) else str(inspect.signature(thing))
        signature = re.sub(r"'|hasten\.[a-z_.]+\.", "", signature)
        doc = inspect.getdoc(thing) if callable(thing) else "The option index that drops a task."
        page += f"\n## hs.{name}\n\n```\n{name}{signature}\n```\n\n{doc}\n"
        rows = members(thing) if inspect.isclass(thing) else []
        if rows:
            page += "\n| Name | Is | |\n|---|---|---|\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return page


def observation_page() -> str:
    """The columns of both observations."""
    page = """# Observations

What a learned policy sees of a decision, in float32. Written by `make docs` from `hasten.features.layout`, which names
the columns for all that writes or reads them. Times are shares of the deciding stream's deadline. J is the number of
options.
"""
    for title, text, features in OBSERVATIONS:
        page += f"\n## {title}\n\n{text}\n\n| Column | Name | Is |\n|---|---|---|\n"
        page += "".join(f"| {feature.value} | `{feature.name}` | {feature.meaning} |\n" for feature in features)
    return page


def members(cls: type) -> list[tuple[str, str, str]]:
    """Name, type or signature, and the docstring's first paragraph, of the public attributes and methods of a type.

    Read from the source, where attributes have docstrings; what a base of hasten's own defines comes first.
    """
    found: dict[str, tuple[str, str, str]] = {}
    for base in reversed(cls.__mro__):
        if not base.__module__.startswith("hasten."):
            continue
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(node, ast.ClassDef)
        for part, after in zip(node.body, [*node.body[1:], None], strict=True):
            row = _member(part, after)
            if row is not None and not row[0].startswith(("_", "model_")):
                found[row[0]] = (f"`{row[0]}`", f"`{row[1]}`".replace("|", "\\|"), row[2].replace("|", "\\|"))
    return list(found.values())


def _member(part: ast.stmt, after: ast.stmt | None) -> tuple[str, str, str] | None:
    """Name, kind and docstring of one statement of a class, if it is an attribute's, a property's or a method's."""
    if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
        said = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        return part.target.id, _type(part.annotation), _paragraph(str(said))
    if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
        doc = _paragraph(ast.get_docstring(part) or "")
        returns = ast.unparse(part.returns) if part.returns is not None else "None"
        if any(isinstance(mark, ast.Name) and mark.id == "property" for mark in part.decorator_list):
            return part.name, returns, doc
        arguments = re.sub(r"^(self|cls)(, )?", "", ast.unparse(part.args))
        waited = "async " if isinstance(part, ast.AsyncFunctionDef) else ""
        return part.name, f"{waited}({arguments}) -> {returns}", doc
    return None


def _type(annotation: ast.expr) -> str:
    """A type as it is written, without what only a check of files needs (``Annotated``)."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        assert isinstance(annotation.slice, ast.Tuple)
        return ast.unparse(annotation.slice.elts[0])
    return ast.unparse(annotation)


def _paragraph(doc: str) -> str:
    return " ".join(doc.strip().split("\n\n")[0].split())


def examples(page: Path) -> list[str]:
    """The fenced Python blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def run(page: Path, code: str) -> bool:
    """Compile a block, and run it from the repository's root unless it needs what is not there."""
    compile(code, str(page), "exec")
    if any(mark in code for mark in ONLY_COMPILED):
        return True
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{page.name}: {done.stderr.strip().splitlines()[-1]}")
    return done.returncode == 0


if __name__ == "__main__":
    main()
