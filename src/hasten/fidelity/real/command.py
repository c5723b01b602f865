"""``hasten study real`` from end to end: run what is missing, then write the page and the table of runs."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from hasten.core.output import check_file, check_folder, write_text
from hasten.fidelity.real.points import DEVICES, panels, recording_present
from hasten.fidelity.real.results import blocks_of
from hasten.fidelity.real.run import Done, ProgressCall, RealPlan, run_study
from hasten.report.document import write_html, write_markdown
from hasten.report.made import made_blocks

SECONDS, QUICK_SECONDS = 12.0, 5.0
REAL_SEEDS, OTHER_SEEDS = 5, 20
QUICK_TRAINING = {"updates": 400, "round_updates": 200, "validate_every": 1, "demonstrations": 1000}


def study_real(out: Path, docs: Path | None, seeds: int | None, quick: bool, progress: ProgressCall) -> list[Path]:
    """Do the study and return the files that say what came out.

    Some hours of real time for all of it, some minutes with ``quick``. The table is also written when it is
    interrupted, of what is complete.

    Args:
        out: where runs, the profiled network, policies and the report go; what is there already is not done again.
        docs: where ``real.md`` goes; ``out`` by default.
        seeds: realizations of each point in real processes; 5 by default.
        quick: three devices, generated links, short runs, a short training.
        progress: told what is being done.

    Raises:
        InputError: a folder that cannot be written.
        KeyboardInterrupt: it was interrupted; the files are written.
    """
    page, report = (docs or out) / "real.md", out / "real.html"
    check_folder(out, "out")
    check_file(page, "out" if docs is None else "docs")
    plan = plan_of(seeds, quick)
    done = run_study(plan, out, progress)
    command = f"hasten study real{' --quick' if quick else ''} --seeds {plan.real_seeds}"
    blocks = blocks_of(done, command)
    write_html(report, [*blocks, *made_blocks(command, range(plan.other_seeds), {})])
    write_markdown(page, blocks)
    write_text(out / "real-runs.csv", _table(done))
    if done.interrupted:
        raise KeyboardInterrupt
    return [report, page, out / "real-runs.csv"]


def plan_of(seeds: int | None, quick: bool) -> RealPlan:
    """How much to do; recorded links where the recording is there."""
    if quick:
        return RealPlan(tuple(panels((3,), ("generated",))), seeds or 2, 5, QUICK_SECONDS, QUICK_TRAINING)
    found = panels(DEVICES, ("generated", "recorded") if recording_present() else ("generated",))
    found.sort(key=lambda panel: panel.devices != 3)  # what a study that is interrupted early should have
    real = seeds or REAL_SEEDS
    return RealPlan(tuple(found), real, max(OTHER_SEEDS, real), SECONDS)


def _table(done: Done) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    names: list[str] = []
    for (place, scheduler, world), by_seed in done.rows.items():
        for seed, row in sorted(by_seed.items()):
            if not names:
                names = list(row)
                table.writerow(["devices", "links", "rate_hz", "frames_per_s", "scheduler", "world", "seed", *names])
            told = [place.devices, place.source, place.rate_hz, place.frames_per_s, scheduler, world, seed]
            table.writerow([*told, *(row[name] for name in names)])
    return text.getvalue()
