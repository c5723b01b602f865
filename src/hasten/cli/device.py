"""`hasten device`: one device's own stream of tasks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hasten.cli.app import app
from hasten.cli.arguments import (
    DEFAULT_MEMORY_MB,
    JsonOption,
    LogFormatOption,
    MemoryOption,
    MetricsOption,
    PackageArgument,
)
from hasten.cli.output import check_outputs, console_for, interruption, show, write_json
from hasten.cli.tables import result_table


@app.command(epilog="Example: hasten device my.hasten --edge 192.0.2.7:7700 --deadline-ms 80 --arrivals poisson:10")
def device(
    package: PackageArgument,
    deadline_ms: Annotated[float, typer.Option("--deadline-ms", min=0.001, help="Relative deadline of each task.")],
    edge_address: Annotated[
        str | None,
        typer.Option(
            "--edge",
            metavar="HOST:PORT[,HOST:PORT...]",
            help="The edge, or several to choose from for each task; without one it works alone.",
        ),
    ] = None,
    scheduler: Annotated[str, typer.Option("--scheduler", help="A scheduler's name.")] = "greedy",
    source: Annotated[
        str,
        typer.Option(
            "--source",
            metavar="SOURCE",
            help="samples, synthetic, a folder of arrays or of pictures, a video file, camera:N, rtsp://..., or "
            "MODULE:FUNCTION that gives frames.",
        ),
    ] = "samples",
    arrivals: Annotated[
        str | None,
        typer.Option(
            "--arrivals",
            help="poisson:HZ, periodic:HZ or file:NAME; by default a video's own rate, else periodic:10. A camera's "
            "frames come when they come.",
        ),
    ] = None,
    tasks: Annotated[int | None, typer.Option("--tasks", min=1, help="Stop after so many tasks.")] = None,
    slowdown: Annotated[float, typer.Option("--slowdown", min=1.0, help="Wait this multiple of every time.")] = 1.0,
    profile_file: Annotated[
        Path | None, typer.Option("--profile", metavar="PROFILE.json", help="Measured times of both sides.")
    ] = None,
    log: Annotated[Path | None, typer.Option("--log", metavar="FILE.jsonl", help="One line for every task.")] = None,
    answers: Annotated[
        str | None,
        typer.Option(
            "--answers", metavar="FILE|-", help="One JSON line with every answer; or mqtt://HOST[:PORT]/TOPIC."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of arrivals and inputs.")] = 0,
    token_file: Annotated[Path | None, typer.Option("--token-file", help="The edge's token.")] = None,
    tls_ca: Annotated[Path | None, typer.Option("--tls-ca", help="Trust this certificate (PEM); turns TLS on.")] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", help="Certificate that the edge asks for (PEM).")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Its private key (PEM).")] = None,
    max_accuracy_loss: Annotated[
        float | None,
        typer.Option("--max-accuracy-loss", metavar="SHARE", help="Stop early where sure, if the package knows how."),
    ] = None,
    memory_mb: MemoryOption = DEFAULT_MEMORY_MB,
    learn: Annotated[
        bool, typer.Option("--learn", help="Go on training the policy of --scheduler policy:FILE on what happens.")
    ] = False,
    write_profile: Annotated[
        Path | None,
        typer.Option("--write-profile", metavar="PROFILE.json", help="Write the times measured while running."),
    ] = None,
    metrics: MetricsOption = None,
    otel: Annotated[
        str | None,
        typer.Option("--otel", metavar="URL", help="Send a trace of each task to this collector (OTLP over HTTP)."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go over to the package's next version when the file is replaced.")
    ] = False,
    log_format: LogFormatOption = "text",
    json_to: JsonOption = None,
) -> None:
    """Run a device agent: its own stream of tasks, decided one by one, finished locally if the edge is gone."""
    from hasten.core.results import result_document
    from hasten.runtime.device.command import DeviceStream, run_device
    from hasten.runtime.device.learning import LearnPlan
    from hasten.runtime.device.prepared import DevicePlan
    from hasten.runtime.json_lines import JsonLines
    from hasten.runtime.sockets import read_token

    console = console_for(json_to, answers)
    told = None if answers and answers.startswith("mqtt://") else answers
    check_outputs(json=json_to, log=log, answers=told, **{"write-profile": write_profile})
    plan = DevicePlan(
        edge=edge_address,
        scheduler=scheduler,
        deadline_ms=deadline_ms,
        token=read_token(token_file),
        tls_ca=tls_ca,
        tls_cert=tls_cert,
        tls_key=tls_key,
        profile=profile_file,
        slowdown=slowdown,
        memory_mb=memory_mb,
        seed=seed,
        otel=otel,
        max_accuracy_loss=max_accuracy_loss,
    )
    stream = DeviceStream(source, arrivals, tasks, log, answers, write_profile, metrics, watch)
    lines = JsonLines("device")
    note = None if log_format == "text" else partial(lines.write, "note")
    result = run_device(package, plan, stream, learn=LearnPlan() if learn else None, on_note=note)
    document = result_document(package.stem, [result])
    write_json(json_to, document)
    title = f"{package.stem} against {edge_address}" if edge_address else f"{package.stem} alone"
    show(console, result_table(document, title, console.width), *interruption())
    if result.failure is not None:  # told when it happened
        raise typer.Exit(1)
