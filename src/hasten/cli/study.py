"""`hasten study`: all schedulers over ranges of conditions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hasten.cli.app import app, needs
from hasten.cli.output import show
from hasten.cli.tables import make_console, progress_bar
from hasten.core.output import check_folder

DEFAULT_SEEDS = 10


@app.command(epilog="Example: hasten study arrival-rate --quick   (all of it, hours of one core: hasten study all)")
@needs("study")
def study(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A condition to sweep: arrival-rate, bandwidth, deadline, streams, edge-speed, burstiness; or "
            "ablation (of the learner), real (real processes), all (that is simulated).",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where runs, tables, policies and report.html go.")
    ] = Path("out/study"),
    docs: Annotated[
        Path | None, typer.Option("--docs", metavar="DIR", help="Where results.md and its figures go; DIR of --out.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=2, show_default="10; real: 5", help="Realizations of every point: seeds 0, 1, ..."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few points, seeds and schedulers: minutes.")] = False,
    ray: Annotated[
        str | None, typer.Option("--ray", metavar="ADDRESS", help="Use this Ray cluster instead of the local cores.")
    ] = None,
) -> None:
    """Compare all schedulers over a range of conditions. What is done is kept: run again to continue or extend it."""
    from hasten.fidelity.real.command import study_real
    from hasten.study.command import study as run_study

    console = make_console()
    check_folder(out, "--out")
    if docs is not None:
        check_folder(docs, "--docs")
    try:
        with progress_bar(console) as progress:
            if name == "real":
                files = study_real(out, docs, seeds, quick, progress)
            else:
                files = run_study(name, out, docs, seeds or DEFAULT_SEEDS, quick, ray, progress)
    except KeyboardInterrupt:
        show(console, f"interrupted; what is done is kept in {out}: the same command continues")
        raise
    show(console, *(f"wrote {path}" for path in files))
