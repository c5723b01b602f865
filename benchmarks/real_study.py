"""A part of ``hasten study real``: some numbers of devices, some links. The whole takes hours of real time.

Runs are kept in the folder, as the whole study keeps them; policies are trained for the numbers of devices asked for.

Usage: python benchmarks/real_study.py [--devices 3] [--links generated] [--seeds 5] [--out out/study] [--docs DIR]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from unittest import mock

from hasten.fidelity.real import command
from hasten.fidelity.real.points import panels
from hasten.fidelity.real.run import RealPlan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", default="3")
    parser.add_argument("--links", default="generated", help="generated, recorded or both with a comma")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("out/study"))
    parser.add_argument("--docs", type=Path)
    args = parser.parse_args()
    found = panels([int(count) for count in args.devices.split(",")], args.links.split(","))
    plan = RealPlan(tuple(found), args.seeds, max(command.OTHER_SEEDS, args.seeds), command.SECONDS)
    said: set[str] = set()

    def progress(text: str, done: float) -> None:
        if text not in said:
            print(text, flush=True)
        said.add(text)

    with mock.patch.object(command, "plan_of", lambda seeds, quick: plan):
        for path in command.study_real(args.out, args.docs, args.seeds, False, progress):
            print(path)


if __name__ == "__main__":
    main()
