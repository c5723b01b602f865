"""The command line. Thin: each command reads its arguments, calls one function and shows what came back."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from typer.exceptions import Abort, Exit, TyperException

from hasten.core.errors import HastenError, InputError
from hasten.show import (
    conform_legend,
    conform_tables,
    make_console,
    offline_table,
    package_tables,
    progress_bar,
    result_table,
    verify_table,
)

app = typer.Typer(
    name="hasten",
    help="Adaptive DNN inference between mobile devices and an edge node.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

JsonOption = Annotated[
    str | None, typer.Option("--json", metavar="FILE|-", help="Write the results as JSON; - for standard output.")
]
SeedsOption = Annotated[int, typer.Option("--seeds", min=1, help="Realizations to run: seeds 0, 1, ...")]
SchedulersOption = Annotated[
    str, typer.Option("--schedulers", help="Comma-separated names; NAME:ARGUMENT where one takes an argument.")
]
ScenarioArgument = Annotated[Path, typer.Argument(metavar="SCENARIO.yaml", help="A hasten.scenario/1 file.")]
PackageArgument = Annotated[Path, typer.Argument(metavar="FILE.hasten", help="A package made by `hasten build`.")]
DEFAULT_SCHEDULERS = "greedy,edgent,neurosurgeon,min-latency,device-only:deepest,edge-only:deepest"


@app.command(epilog="Example: hasten demo --quick --out demo-out")
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where results and the report go.")] = Path(
        "out/demo"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="A small network and short runs: about a minute.")] = False,
    data: Annotated[str, typer.Option("--data", help="digits (ships with scikit-learn) or cifar10.")] = "digits",
    json_to: JsonOption = None,
) -> None:
    """Build, profile and run three streams under a varying link, and write one HTML report."""
    from hasten.demo import run_demo

    console = _console(json_to)
    with progress_bar(console) as progress:
        outcome = run_demo(out, quick=quick, data=data, progress=progress)
    console.print(result_table(outcome.document, outcome.title, console.width))
    console.print(f"report: {outcome.report}")
    _write_json(json_to, outcome.document)


@app.command(epilog="Example: hasten build my_model:make --exits layer1,layer2,layer3 --data digits -o my.hasten")
def build(
    factory: Annotated[str, typer.Argument(metavar="MODULE:FACTORY", help="A function that returns a torch module.")],
    exits: Annotated[str, typer.Option("--exits", help="Layers to attach exits to, comma-separated.")],
    data: Annotated[str, typer.Option("--data", help="digits, cifar10, or a folder with train.npz and test.npz.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.hasten", help="The package to write.")],
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the training data.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of data, weights and order.")] = 0,
) -> None:
    """Give a network exits, train them jointly, cut it everywhere useful and write one package."""
    from hasten.networks.build import build as build_network
    from hasten.networks.build import settings_for

    console = make_console()
    layers = [layer.strip() for layer in exits.split(",") if layer.strip()]
    with progress_bar(console) as progress:
        package = build_network(factory, layers, data, output, settings_for(data, epochs, seed), progress)
    for table in package_tables(package):
        console.print(table)


@app.command(epilog="Example: hasten inspect out/demo/digits.hasten")
def inspect(package: PackageArgument, json_to: JsonOption = None) -> None:
    """Show a package: blocks, exits, cuts, bytes, accuracy."""
    from hasten.split.inspect import describe
    from hasten.split.package import open_package

    console = _console(json_to)
    opened = open_package(package)
    for table in package_tables(opened):
        console.print(table)
    _write_json(json_to, describe(opened))


@app.command(epilog="Example: hasten verify out/demo/digits.hasten")
def verify(
    package: PackageArgument,
    inputs: Annotated[int, typer.Option("--inputs", min=1, help="Random inputs to try.")] = 4,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random inputs.")] = 0,
    json_to: JsonOption = None,
) -> None:
    """Check that every (exit, partition) gives what the whole network gives; refuse a package that fails."""
    from hasten.split.package import open_package
    from hasten.split.verify import verify as verify_package

    console = _console(json_to)
    report = verify_package(open_package(package), random_inputs=inputs, seed=seed)
    console.print(verify_table(report))
    _write_json(
        json_to,
        {
            "schema": "hasten.verify/1",
            "passed": True,
            "inputs": report.inputs,
            "tolerance": report.tolerance,
            "max_error": report.max_error,
            "worst_codec_agreement": report.worst_codec_agreement,
            "options": [vars(option) for option in report.options],
        },
    )


@app.command(epilog="Example: hasten profile my.hasten --as device -o profile.json   (then --as edge on the edge)")
def profile(
    package: PackageArgument,
    role: Annotated[Literal["device", "edge"], typer.Option("--as", help="Which side this machine is.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="PROFILE.json", help="New or existing profile.")],
    repeats: Annotated[int, typer.Option("--repeats", min=3, help="Timed calls of each segment.")] = 30,
    gap_ms: Annotated[float, typer.Option("--gap-ms", min=0.0, help="Idle time between calls.")] = 20.0,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of the runtime.")] = 1,
) -> None:
    """Measure a package on this machine as the runtime will run it. An existing PROFILE.json keeps the other side."""
    from hasten.profiling import measure_to_file
    from hasten.runtime.overhead import with_overhead
    from hasten.split.package import open_package

    console = make_console()
    missing = role if output.exists() else None
    with progress_bar(console) as progress:
        measured = measure_to_file(
            open_package(package),
            role,
            output,
            repeats=repeats,
            gap_ms=gap_ms,
            threads=threads,
            progress=progress,
            complete=lambda profile, package: with_overhead(profile, package, missing, progress=progress),
        )
    console.print(measured.source)
    console.print(
        f"besides: {measured.task_ms:.2f} ms per task, {measured.offload_ms:.2f} ms more when it is offloaded"
    )
    console.print(f"wrote {output}")


@app.command(epilog="Example: hasten simulate examples/three-cameras.yaml --schedulers greedy,random --seeds 5")
def simulate(
    scenario: ScenarioArgument,
    schedulers: SchedulersOption = DEFAULT_SCHEDULERS,
    seeds: SeedsOption = 1,
    json_to: JsonOption = None,
) -> None:
    """Simulate schedulers on the same realizations of a scenario."""
    from hasten.core.results import result_document
    from hasten.core.scenario import load_scenario
    from hasten.schedulers import make_schedulers
    from hasten.sim import simulate_batch

    console = _console(json_to)
    loaded = load_scenario(scenario)
    chosen = make_schedulers(schedulers)
    results = []
    with progress_bar(console) as progress:
        for i, scheduler in enumerate(chosen):
            progress(f"simulating {scheduler.name}", i / len(chosen))
            results += simulate_batch(loaded, scheduler, range(seeds))
    document = result_document(loaded.name, results)
    console.print(result_table(document, f"{loaded.name}, simulated", console.width))
    _write_json(json_to, document)


@app.command(epilog="Example: hasten solve examples/three-cameras.yaml --seeds 3 --time-limit 60")
def solve(
    scenario: ScenarioArgument,
    seeds: SeedsOption = 1,
    time_limit_s: Annotated[
        float | None, typer.Option("--time-limit", min=0.0, help="Seconds for each seed; the best so far is kept.")
    ] = None,
    plan_to: Annotated[
        Path | None, typer.Option("--plan", metavar="FILE", help="Write each task's decision as JSON.")
    ] = None,
    json_to: JsonOption = None,
) -> None:
    """Find the offline optimum for known arrivals, with a certificate of how far from optimal the plan can be."""
    from hasten.core.scenario import load_scenario
    from hasten.offline import solve_offline

    console = _console(json_to)
    loaded = load_scenario(scenario)
    plans = []
    with progress_bar(console) as progress:
        for seed in range(seeds):
            progress(f"solving seed {seed}", seed / seeds)
            plans.append(solve_offline(loaded, seed, time_limit_s))
    console.print(offline_table(plans, f"{loaded.name}, offline"))
    if plan_to is not None:
        decisions = [{"seed": plan.seed, "decisions": plan.decisions.tolist()} for plan in plans]
        _write_text(plan_to, json.dumps({"schema": "hasten.plan/1", "scenario": loaded.name, "plans": decisions}))
    _write_json(json_to, {"schema": "hasten.offline/1", "results": [plan.summary() for plan in plans]})


@app.command(epilog="Example: hasten train examples/three-cameras.yaml -o policy.onnx --streams 1:8")
def train(
    scenario: ScenarioArgument,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="POLICY", help="The policy file to write.")],
    init: Annotated[
        Literal["none", "greedy", "dp", "mixed"], typer.Option("--init", help="Historical experience to start from.")
    ] = "mixed",
    replay: Annotated[
        Literal["uniform", "prioritized"], typer.Option("--replay", help="Replay memory.")
    ] = "prioritized",
    values: Annotated[
        Literal["backlogs", "actions"],
        typer.Option("--values", help="What the network values: the backlogs an option leaves, or each action (DQN)."),
    ] = "backlogs",
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same policy.")] = 0,
    updates: Annotated[int | None, typer.Option("--updates", min=1, help="Gradient steps.")] = None,
    pretrain: Annotated[int, typer.Option("--pretrain", min=0, help="Steps on demonstrations before acting.")] = 0,
    margin: Annotated[
        float, typer.Option("--margin", min=0.0, help="With actions: large-margin loss at first; falls to 0.")
    ] = 0.0,
    uplink: Annotated[str | None, typer.Option("--uplink", metavar="LOW:HIGH", help="Factor on the rate.")] = None,
    arrivals: Annotated[str | None, typer.Option("--arrivals", metavar="LOW:HIGH", help="Factor on arrivals.")] = None,
    deadlines: Annotated[
        str | None, typer.Option("--deadlines", metavar="LOW:HIGH", help="Factor on deadlines.")
    ] = None,
    streams: Annotated[str | None, typer.Option("--streams", metavar="LOW:HIGH", help="Number of streams.")] = None,
    logs: Annotated[
        list[Path] | None, typer.Option("--logs", metavar="FILE.jsonl", help="A log of a real run.")
    ] = None,
    start: Annotated[Path | None, typer.Option("--start", metavar="POLICY", help="A policy to go on from.")] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", metavar="FILE", help="Go on from it if it exists; written on the way."),
    ] = None,
    tensorboard: Annotated[Path | None, typer.Option("--tensorboard", metavar="DIR", help="Write event files.")] = None,
) -> None:
    """Train a policy for a range of scenarios around this one; use it as the scheduler dqn:POLICY."""
    from hasten.core.scenario import load_scenario
    from hasten.learn.command import domain_of, train_to_file

    console = make_console()
    with progress_bar(console) as progress:
        training = train_to_file(
            load_scenario(scenario),
            output,
            domain_of(uplink, arrivals, deadlines, streams),
            progress,
            logs=logs or [],
            start=start,
            init=init,
            replay=replay,
            values=values,
            seed=seed,
            pretrain=pretrain,
            margin=margin,
            checkpoint=checkpoint,
            tensorboard=tensorboard,
            **({} if updates is None else {"updates": updates}),
        )
    console.print(f"best policy: {training.best}", highlight=False)
    for warning in training.warnings():
        console.print(f"warning: {warning}", highlight=False)
    console.print(f"wrote {output}")


@app.command(epilog="Example: hasten run out/demo/scenario.yaml --schedulers greedy,device-only:deepest --out out/run")
def run(
    scenario: ScenarioArgument,
    schedulers: SchedulersOption = DEFAULT_SCHEDULERS,
    seeds: SeedsOption = 1,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Keep the log of every task here.")] = None,
    report: Annotated[Path | None, typer.Option("--report", metavar="FILE.html", help="Write a report.")] = None,
    json_to: JsonOption = None,
) -> None:
    """Run a scenario in real processes on this machine: an edge node, one process per device, a shaped link."""
    from hasten.core.results import result_document
    from hasten.core.scenario import load_scenario
    from hasten.runtime.local_run import run_scenario
    from hasten.schedulers import split_specs

    console = _console(json_to)
    loaded = load_scenario(scenario)
    with progress_bar(console) as progress:
        outcome = run_scenario(loaded, split_specs(schedulers), range(seeds), out_dir=out, progress=progress)
    document = result_document(loaded.name, outcome.results, runtime=outcome.facts)
    console.print(result_table(document, f"{loaded.name}, run in real processes", console.width))
    if report is not None:
        from hasten.study.report import write_run_report

        write_run_report(report, loaded, outcome.results, facts=outcome.facts)
        console.print(f"report: {report}")
    _write_json(json_to, document)


@app.command(epilog="Example: hasten conform out/demo/scenario.yaml --schedulers greedy,device-only:deepest --seeds 2")
def conform(
    scenario: ScenarioArgument,
    schedulers: SchedulersOption = DEFAULT_SCHEDULERS,
    seeds: SeedsOption = 1,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Keep the log of every real task here.")
    ] = None,
    json_to: JsonOption = None,
) -> None:
    """Simulate and run the same tasks, as `hasten run` does; report how far the prediction is off."""
    from hasten.conform import conform as simulate_and_run
    from hasten.core.scenario import load_scenario
    from hasten.schedulers import split_specs

    console = _console(json_to)
    loaded = load_scenario(scenario)
    with progress_bar(console) as progress:
        document = simulate_and_run(loaded, split_specs(schedulers), range(seeds), out, progress)
    for table in conform_tables(document, console.width):
        console.print(table)
    console.print(conform_legend(document), highlight=False)
    _write_json(json_to, document)


@app.command(epilog="Example: hasten study arrival-rate --quick   (all of it, hours of one core: hasten study all)")
def study(
    name: Annotated[
        str,
        typer.Argument(
            metavar="arrival-rate|bandwidth|deadline|streams|edge-speed|burstiness|ablation|all",
            help="The condition to sweep, the ablation of the learner, or everything.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where cells, tables, policies and report.html go.")
    ] = Path("out/study"),
    docs: Annotated[
        Path | None, typer.Option("--docs", metavar="DIR", help="Where results.md and its figures go; DIR of --out.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=2, help="Realizations of every point: seeds 0, 1, ...")] = 10,
    quick: Annotated[bool, typer.Option("--quick", help="Few points, seeds and schedulers: a minute or two.")] = False,
    ray: Annotated[
        str | None, typer.Option("--ray", metavar="ADDRESS", help="Use this Ray cluster instead of the local cores.")
    ] = None,
) -> None:
    """Compare all schedulers over a range of conditions. What is done is kept: run again to continue or extend it."""
    from hasten.study.command import study as run_study

    console = make_console()
    try:
        with progress_bar(console) as progress:
            files = run_study(name, out, docs, seeds, quick, ray, progress)
    except KeyboardInterrupt:
        console.print(f"interrupted; what is done is kept in {out}: the same command continues")
        raise
    for path in files:
        console.print(f"wrote {path}", highlight=False)


@app.command(epilog="Example: hasten edge my.hasten --host 0.0.0.0 --port 7700 --workers 1")
def edge(
    packages: Annotated[list[Path], typer.Argument(metavar="FILE.hasten...", help="Packages to serve.")],
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 picks a free one.")] = 7700,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Tasks executed at once.")] = 1,
    slowdown: Annotated[float, typer.Option("--slowdown", min=1.0, help="Wait this multiple of every time.")] = 1.0,
    profile_file: Annotated[
        Path | None, typer.Option("--profile", metavar="PROFILE.json", help="Edge times for the backlog forecast.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="Devices must know the token in this file.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", help="Certificate chain (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Private key (PEM).")] = None,
) -> None:
    """Serve packages to devices until interrupted."""
    from hasten.runtime.edge import serve_edge

    serve_edge(
        packages,
        host=host,
        port=port,
        workers=workers,
        slowdown=slowdown,
        profile=profile_file,
        token_file=token_file,
        tls_cert=tls_cert,
        tls_key=tls_key,
    )


@app.command(epilog="Example: hasten device my.hasten --edge 192.0.2.7:7700 --deadline-ms 80 --arrivals poisson:10")
def device(
    package: PackageArgument,
    edge_address: Annotated[str, typer.Option("--edge", metavar="HOST:PORT", help="The edge node.")],
    deadline_ms: Annotated[float, typer.Option("--deadline-ms", min=0.001, help="Relative deadline of each task.")],
    scheduler: Annotated[str, typer.Option("--scheduler", help="A scheduler's name.")] = "greedy",
    source: Annotated[str, typer.Option("--source", metavar="DIR|samples|synthetic", help="Inputs.")] = "samples",
    arrivals: Annotated[str, typer.Option("--arrivals", help="poisson:HZ, periodic:HZ or file:NAME.")] = "periodic:10",
    tasks: Annotated[int | None, typer.Option("--tasks", min=1, help="Stop after so many tasks.")] = None,
    slowdown: Annotated[float, typer.Option("--slowdown", min=1.0, help="Wait this multiple of every time.")] = 1.0,
    profile_file: Annotated[
        Path | None, typer.Option("--profile", metavar="PROFILE.json", help="Measured times of both sides.")
    ] = None,
    log: Annotated[Path | None, typer.Option("--log", metavar="FILE.jsonl", help="One line for every task.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of arrivals and inputs.")] = 0,
    token_file: Annotated[Path | None, typer.Option("--token-file", help="The edge's token.")] = None,
    tls_ca: Annotated[Path | None, typer.Option("--tls-ca", help="Trust this certificate (PEM); turns TLS on.")] = None,
    learn: Annotated[
        bool, typer.Option("--learn", help="Go on training the policy of --scheduler dqn:POLICY on what happens.")
    ] = False,
    json_to: JsonOption = None,
) -> None:
    """Run a device agent: its own stream of tasks, decided one by one, finished locally if the edge is gone."""
    from hasten.core.results import result_document
    from hasten.runtime.device import run_device
    from hasten.runtime.learning import LearnPlan

    console = _console(json_to)
    result = run_device(
        package,
        edge=edge_address,
        scheduler=scheduler,
        deadline_ms=deadline_ms,
        source=source,
        arrivals=arrivals,
        tasks=tasks,
        slowdown=slowdown,
        profile=profile_file,
        log=log,
        seed=seed,
        token_file=token_file,
        tls_ca=tls_ca,
        learn=LearnPlan() if learn else None,
    )
    document = result_document(package.stem, [result])
    console.print(result_table(document, f"{package.stem} against {edge_address}", console.width))
    _write_json(json_to, document)


def main() -> None:
    """Run the command line; what went wrong is one line on standard error and exit code 2."""
    try:
        code = app(standalone_mode=False)
    except TyperException as error:
        message = getattr(error, "format_message", error.__str__)()
        _fail(message)
    except HastenError as error:
        _fail(str(error))
    except (Abort, KeyboardInterrupt):
        sys.exit(130)
    except Exit as leaving:
        sys.exit(leaving.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> None:
    print("hasten: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(2)


def _console(json_to: str | None) -> Console:
    """Tables go to standard error when JSON goes to standard output."""
    return make_console(to_stderr=json_to == "-")


def _write_json(json_to: str | None, document: dict[str, Any]) -> None:
    if json_to is None:
        return
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    if json_to == "-":
        sys.stdout.write(text)
    else:
        _write_text(Path(json_to), text)


def _write_text(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(path, "output", str(path), f"a writable file ({error.strerror})") from None


if __name__ == "__main__":
    main()
