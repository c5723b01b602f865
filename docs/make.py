"""Write the reference pages from the code, and run every Python example of README and docs.

`docs/cli.md` comes from the commands' own help, `docs/api.md` from the docstrings of the public names. An example is
a fenced block marked ``python``; blocks that start with ``class`` or use a package that is not built here are only
compiled.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import hasten as hs

ROOT = Path(__file__).parent.parent
ONLY_COMPILED = ("class ", "hs.train(", 'open_package("', "own_model", "mydata")
COMMANDS = (
    "demo",
    "build",
    "inspect",
    "verify",
    "profile",
    "simulate",
    "solve",
    "run",
    "conform",
    "train",
    "study",
    "edge",
    "device",
)
COMMANDS_HEAD = """# Command line

Written by `make docs` from the commands' own help. `python -m hasten` is `hasten`; `--version` tells its version.

Exit codes: 0 done; 1 something that ran failed, results that are finished are written; 2 bad input, a missing extra
or a place that cannot be written, told in one line on standard error; 130 and 143 after Ctrl-C and SIGTERM, which for
an edge is its usual end (0). Asked to end, a command writes what it has finished (`"interrupted": "SIGTERM"` in its
JSON); asked twice, it ends at once. Files are checked before the work and written whole or not at all: an older file
stays until the new one is complete.
"""


def main() -> None:
    """Write the pages, then run the examples; exit code 1 if one fails."""
    (ROOT / "docs" / "cli.md").write_text(command_page(), encoding="utf-8")
    (ROOT / "docs" / "api.md").write_text(api_page(), encoding="utf-8")
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    failed = [page.name for page in pages if not all(run(page, code) for code in examples(page))]
    if failed:
        sys.exit(f"examples failed in {', '.join(failed)}")
    print("wrote docs/cli.md and docs/api.md; all examples run")


def command_page() -> str:
    """Every command's help, as plain text."""
    page = COMMANDS_HEAD
    for command in COMMANDS:
        shown = subprocess.run(
            [sys.executable, "-m", "hasten", command, "--help"],
            capture_output=True,
            text=True,
            check=True,
            env={"COLUMNS": "110", "TERM": "dumb", "NO_COLOR": "1", "PATH": ""},
        ).stdout
        text = "\n".join(line.rstrip() for line in shown.strip().splitlines()).replace("python -m hasten", "hasten")
        page += f"\n## hasten {command}\n\n```\n{text}\n```\n"
    return page


def api_page() -> str:
    """Signature and docstring of every public name."""
    page = "# Python API\n\n`import hasten as hs`. Written by `make docs` from the docstrings.\n"
    for name in hs.__all__:
        thing = getattr(hs, name)
        try:
            signature = str(inspect.signature(thing)) if not inspect.isclass(thing) else ""
        except ValueError:
            signature = ""
        signature = re.sub(r"'|hasten\.[a-z_.]+\.", "", signature)
        page += f"\n## hs.{name}\n\n```\n{name}{signature}\n```\n\n{inspect.getdoc(thing)}\n"
    return page


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
