"""`hasten profile`: the times of a package on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hasten.cli.app import app
from hasten.cli.arguments import DEFAULT_MEMORY_MB, MemoryOption, PackageArgument
from hasten.cli.output import check_outputs, show
from hasten.cli.tables import make_console, progress_bar


@app.command(epilog="Example: hasten profile my.hasten --as device -o profile.json   (then --as edge on the edge)")
def profile(
    package: PackageArgument,
    role: Annotated[Literal["device", "edge"], typer.Option("--as", help="Which side this machine is.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="PROFILE.json", help="New or existing profile.")],
    repeats: Annotated[int, typer.Option("--repeats", min=3, help="Timed calls of each segment.")] = 30,
    gap_ms: Annotated[float, typer.Option("--gap-ms", min=0.0, help="Idle time between calls.")] = 20.0,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of the runtime.")] = 1,
    memory_mb: MemoryOption = DEFAULT_MEMORY_MB,
) -> None:
    """Measure a package on this machine as the runtime will run it. An existing PROFILE.json keeps the other side."""
    from hasten.fidelity.overhead import with_overhead
    from hasten.fidelity.profiling import measure_to_file
    from hasten.split.package import open_package

    console = make_console()
    check_outputs(output=output)
    missing = role if output.exists() else None
    with progress_bar(console) as progress:
        measured = measure_to_file(
            open_package(package),
            role,
            output,
            repeats=repeats,
            gap_ms=gap_ms,
            threads=threads,
            memory_bytes=memory_mb << 20,
            progress=progress,
            complete=lambda profile, package: with_overhead(profile, package, missing, progress=progress),
        )
    show(
        console,
        measured.source,
        f"overhead: {measured.task_ms:.2f} ms per task, {measured.offload_ms:.2f} ms more when it is offloaded",
        f"wrote {output}",
    )
