"""A part of ``hasten study real``: some numbers of devices, some links. The whole takes hours of real time.

Runs are kept in the folder, as the whole study keeps them; policies are trained for the numbers of devices asked for.
The page goes to ``DIR/real.md``. To be run on an otherwise idle machine.

Usage: python benchmarks/real_study.py [--devices 3] [--links generated] [--seeds 5] [--out out/study] [--docs DIR]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hasten.fidelity.real.command import OTHER_SEEDS, SECONDS
from hasten.fidelity.real.points import panels
from hasten.fidelity.real.results import blocks_of
from hasten.fidelity.real.run import RealPlan, run_study
from hasten.report.document import write_markdown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", default="3")
    parser.add_argument("--links", default="generated", help="generated, recorded or both with a comma")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("out/study"))
    parser.add_argument("--docs", type=Path)
    args = parser.parse_args()
    found = panels([int(count) for count in args.devices.split(",")], args.links.split(","))
    plan = RealPlan(tuple(found), args.seeds, max(OTHER_SEEDS, args.seeds), SECONDS)
    said: set[str] = set()

    def progress(text: str, done: float) -> None:
        if text not in said:
            print(text, flush=True)
        said.add(text)

    done = run_study(plan, args.out, progress)
    told = f"python benchmarks/real_study.py --devices {args.devices} --links {args.links} --seeds {args.seeds}"
    page = (args.docs or args.out) / "real.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    write_markdown(page, blocks_of(done, told))
    print(page)


if __name__ == "__main__":
    main()
