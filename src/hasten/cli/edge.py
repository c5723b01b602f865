"""`hasten edge`: serve packages to devices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hasten.cli.app import app
from hasten.cli.arguments import (
    DEFAULT_MEMORY_MB,
    LogFormatOption,
    MemoryOption,
    MetricsOption,
    WebOption,
    WebTokenOption,
)
from hasten.cli.page import page_of_edge
from hasten.core import signals


@app.command(epilog="Example: hasten edge my.hasten --host 0.0.0.0 --port 7700 --workers 1")
def edge(
    packages: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE.hasten...", help="Packages to serve; may be left out with --watch."),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 picks a free one.")] = 7700,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Tasks executed at once.")] = 1,
    slowdown: Annotated[float, typer.Option("--slowdown", min=1.0, help="Wait this multiple of every time.")] = 1.0,
    profile_file: Annotated[
        Path | None, typer.Option("--profile", metavar="PROFILE.json", help="Edge times for the backlog forecast.")
    ] = None,
    memory_mb: MemoryOption = DEFAULT_MEMORY_MB,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="Devices must know the token in it, or each its own (docs/security.md)."),
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", help="Certificate chain (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Private key (PEM).")] = None,
    client_ca: Annotated[
        Path | None, typer.Option("--client-ca", help="Devices must show a certificate of this authority (PEM).")
    ] = None,
    max_devices: Annotated[
        int, typer.Option("--max-devices", min=1, help="Connected at a time; half of them from one address.")
    ] = 1000,
    quota_tasks: Annotated[
        int, typer.Option("--quota-tasks", min=1, help="Tasks that a device may have under way.")
    ] = 64,
    quota_queue: Annotated[int, typer.Option("--quota-queue", min=1, help="Of these, that may wait.")] = 32,
    quota_mb: Annotated[
        int, typer.Option("--quota-mb", min=1, help="Their payloads; two of a device's largest always fit.")
    ] = 16,
    queue: Annotated[
        Literal["deadline", "fifo"], typer.Option("--queue", help="Served first: the earliest deadline, or who came.")
    ] = "deadline",
    metrics: MetricsOption = None,
    health: Annotated[
        str | None, typer.Option("--health", metavar="[HOST:]PORT", help="Say there whether it lives and is ready.")
    ] = None,
    watch: Annotated[
        Path | None,
        typer.Option("--watch", metavar="DIR", help="Serve the packages in this folder, too, as they come and go."),
    ] = None,
    oip: Annotated[
        str | None,
        typer.Option("--oip", metavar="[HOST:]PORT", help="Open Inference Protocol there; over gRPC at the next port."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray", metavar="ADDRESS", help="Compute on this Ray cluster: local (starts one), auto or HOST:PORT."
        ),
    ] = None,
    replicas: Annotated[
        str, typer.Option("--replicas", metavar="MIN[:MAX]", help="Replicas on Ray, by the predicted backlog.")
    ] = "1",
    log_format: LogFormatOption = "text",
    web: WebOption = None,
    web_token_file: WebTokenOption = None,
) -> None:
    """Serve packages to devices until interrupted."""
    from hasten.runtime.edge.command import serve_edge
    from hasten.runtime.edge.opened import EdgePlan
    from hasten.runtime.json_lines import JsonLines
    from hasten.runtime.notes import say_on_stderr

    plan = EdgePlan(
        host=host,
        port=port,
        workers=workers,
        slowdown=slowdown,
        profile=profile_file,
        token_file=token_file,
        tls_cert=tls_cert,
        tls_key=tls_key,
        client_ca=client_ca,
        memory_mb=memory_mb,
        max_devices=max_devices,
        queue=queue,
        metrics=metrics,
        quota_tasks=quota_tasks,
        quota_queue=quota_queue,
        quota_mb=quota_mb,
        health=health,
        watch=watch,
        oip=oip,
        ray=ray,
        replicas=replicas,
    )
    plain = log_format == "text"
    beside, hear = page_of_edge(web, web_token_file, say_on_stderr if plain else lambda text: None)
    serve_edge(packages or [], plan, beside, hear, None if plain else JsonLines("edge").write)
    signals.forget()  # the usual end of a server
