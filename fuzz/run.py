"""Coverage-guided fuzzing of one reader: ``python fuzz/run.py frames --runs 1000000``.

Starts from the inputs in ``fuzz/corpus`` and ends at the first bug, whose input it writes as ``crash-...``: put it
into the corpus once it is mended, where the tests run it for ever. ``--new DIR`` keeps what reached new code;
``--merge DIR`` adds to the corpus what is worth it. Needs atheris (``pip install 'hasten[fuzz]'``).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

os.environ["NUMBA_DISABLE_JIT"] = "1"  # what counts coverage cannot be compiled

import atheris

SECONDS_EACH, MEMORY_MB = 20, 2048
"""An input that takes longer, or more, is a bug."""
AGAIN = "again"

with atheris.instrument_imports(include=["hasten", "yaml", "zipfile", "json"]):
    from fuzz_targets import CORPUS, TARGETS


def main() -> None:
    """Fuzz until the runs are done, the time is over, or a bug is found."""
    if sys.argv[1:2] == [AGAIN]:  # started by libFuzzer, with its own arguments
        fuzz(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--runs", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=int, default=0, help="0: until the runs are done")
    parser.add_argument("--largest", type=int, default=4096, help="bytes of an input")
    parser.add_argument("--new", type=Path, help="folder for inputs that reach new code")
    parser.add_argument("--merge", type=Path, help="add to the corpus what this folder has beyond it, and end")
    options = parser.parse_args()
    corpus = CORPUS / options.target
    corpus.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_len={options.largest}", f"-timeout={SECONDS_EACH}", f"-rss_limit_mb={MEMORY_MB}"]
    if options.merge is not None:
        fuzz(options.target, [*limits, "-merge=1", str(corpus), str(options.merge)])
    new = options.new or Path(tempfile.mkdtemp(prefix=f"hasten-fuzz-{options.target}-"))
    new.mkdir(parents=True, exist_ok=True)
    runs = [f"-runs={options.runs}", f"-max_total_time={options.seconds}", "-print_final_stats=1"]
    fuzz(options.target, [*limits, *runs, str(new), str(corpus)])


def fuzz(target: str, arguments: list[str]) -> NoReturn:
    """Run libFuzzer, which ends the process. It starts itself again for merging, by the first of its arguments."""
    again = f"{sys.executable} {Path(__file__).resolve()} {AGAIN} {target}"
    atheris.Setup([again, *arguments], TARGETS[target])
    atheris.Fuzz()
    sys.exit()


if __name__ == "__main__":
    main()
