"""The demo: build, profile, plan and run three streams under varying links on one machine, and report.

Real images, a real multi-exit network, real processes and sockets. One computer plays all parts: it is far faster
than the devices it stands for, so device and edge are slowed by factors (run the segment, then wait the multiple) and
the link is shaped. The factors follow from the measured profile, so that the regime is the same on any computer: a
device alone cannot finish the last exit in time, the edge could if the link were always good.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from hasten.api import simulate
from hasten.core.errors import InputError
from hasten.core.output import write_bytes, write_text
from hasten.core.profile import Profile
from hasten.core.progress import compiling_first
from hasten.core.results import Result, result_document
from hasten.core.scenario import Scenario, load_scenario
from hasten.fidelity.conform import predict
from hasten.fidelity.played import DEADLINE_MS, DEVICE_FULL_MS, EDGE_FULL_MS, RATE_HZ, RTT_MS, link_mbps, slowdowns
from hasten.report.document import Block, Heading, Paragraph, Plot, write_html
from hasten.report.figures import FixedPairs, fixed_pairs
from hasten.report.made import made_blocks
from hasten.report.run_report import comparison, network_blocks, run_blocks, score
from hasten.report.tables import write_result_tables
from hasten.runtime.local.changes import Changes
from hasten.schedulers import make_scheduler

if TYPE_CHECKING:
    from hasten.split.package import Package

ProgressCall = Callable[[str, float], None]

DEVICES = 3
SHIPPED_POLICY = Path(__file__).parent / "policies" / "weights" / "digits.onnx"
"""Trained for this scenario and network by ``scripts/train_demo_policy.py``."""
LEARNED = "learned"
"""What its results are called."""
SCHEDULERS = ("greedy", "edgent", "neurosurgeon", "device-only:deepest", "edge-only:deepest")
QUICK_SCHEDULERS = ("greedy", "edgent", "device-only:deepest")
SECONDS, QUICK_SECONDS = 30.0, 6.0
SEED = 0
REGIMES = ("link slow", "middling", "fast")


@dataclass(frozen=True)
class DemoOutcome:
    """What the demo left behind."""

    title: str
    document: dict[str, Any]
    report: Path
    notes: tuple[str, ...] = ()
    """What is missing, and why."""


def run_demo(out: Path, quick: bool, data: str, progress: ProgressCall, changes: Changes | None = None) -> DemoOutcome:
    """Do all of it; everything is written below ``out``, the scenario included, so that it can be run again.

    ``changes`` is what somebody may change by hand while the schedulers run.
    """
    from hasten.runtime.local.run import run_scenario

    out.mkdir(parents=True, exist_ok=True)
    package = profiled_network(data, quick, out, progress)
    profile = package.profile
    write_text(out / "profile.json", profile.to_json())
    path = out / "scenario.yaml"
    write_text(path, _scenario_text(package.path.name, profile, quick))
    scenario = load_scenario(path)
    progress(compiling_first("simulating every fixed choice"), 0.0)
    fixed = _fixed_pairs(scenario)
    best = fixed.pairs[int(np.argmax(fixed.overall))]
    best_fixed = f"fixed:{best[0]},{best[1]}"
    learned, notes = _learned(scenario, out / "policy.onnx")
    greedy, *others = QUICK_SCHEDULERS if quick else SCHEDULERS
    names = [greedy, *learned, *others, best_fixed]
    outcome = run_scenario(
        scenario, names, [SEED], out_dir=out / "tasks", progress=progress, changes=changes
    ).complete()
    ran = list(dict.fromkeys(result.scheduler for result in outcome.results))
    simulated = _called_learned(predict(scenario, ran, [SEED], progress))
    results = _called_learned(outcome.results)
    predicted = {result.scheduler: result.on_time_accuracy for result in simulated}
    document = result_document(scenario.name, results, runtime=outcome.facts)
    for entry in document["results"]:
        entry["simulated_on_time_accuracy"] = predicted[entry["scheduler"]]
    report = out / "report.html"
    command = shlex.join(["hasten", "demo", "--out", str(out), "--data", data, *(["--quick"] if quick else [])])
    write_html(report, _report(scenario, profile, results, fixed, outcome.facts, best_fixed, predicted, command))
    write_result_tables(report, scenario, results)
    title = f"{DEVICES} streams of {data}, each over a varying link: the same tasks for every scheduler"
    return DemoOutcome(title, document, report, notes)


def profiled_network(data: str, quick: bool, folder: Path, progress: ProgressCall) -> Package:
    """The demo's network in a package in ``folder``, with its profile on this machine."""
    from hasten.fidelity.overhead import with_overhead
    from hasten.fidelity.profiling import measure
    from hasten.networks.default import build_default
    from hasten.split.package import with_profile

    built = build_default(data, None, quick, SEED, progress)
    progress("profiling on this machine", 0.0)
    measured = measure(  # without idle gaps: a machine this much slower would compute all the time that it is given
        built,
        "device",
        gap_ms=0.0,
        repeats=7 if quick else 20,
        progress=lambda done: progress("profiling on this machine", done),
    )
    profile = with_overhead(measured.profile, built, tasks=8 if quick else 24, progress=progress)
    return with_profile(built, profile, folder / f"{data}.hasten")


def _learned(scenario: Scenario, path: Path) -> tuple[list[str], tuple[str, ...]]:
    """The shipped policy as a scheduler, put beside the scenario at ``path``; or none, and why not."""
    try:
        scheduler = make_scheduler(f"policy:{SHIPPED_POLICY}")
        scheduler.reset(scenario.context(np.zeros(1, dtype=np.int64)))
    except InputError as error:
        return [], (f"without the learned policy: {error}",)
    write_bytes(path, SHIPPED_POLICY.read_bytes())
    return [f"policy:{path}"], ()


def _called_learned(results: Sequence[Result]) -> list[Result]:
    """The policy's results under a name without its file."""
    return [replace(it, scheduler=LEARNED) if it.scheduler.startswith("policy:") else it for it in results]


def demo_scenario(package: str, profile: Profile, seconds: float) -> dict[str, Any]:
    """The demo's scenario as plain data, with factors that give every computer the same regime."""
    device, edge = slowdowns(profile)
    mean_mbps = round(link_mbps(profile), 3)
    return {
        "schema": "hasten.scenario/1",
        "streams": [
            {
                "name": "camera",
                "count": DEVICES,
                "profile": package,
                "deadline_ms": DEADLINE_MS,
                "slowdown": device,
                "arrivals": {"kind": "poisson", "rate_hz": RATE_HZ},
            }
        ],
        "uplink": {
            "topology": "dedicated",
            "order": "ready",
            "rtt_ms": RTT_MS,
            "rate": {
                "kind": "gauss_markov",
                "mean_mbps": mean_mbps,
                "sigma_mbps": mean_mbps,
                "memory": 0.97,
                "step_ms": 250,
            },
        },
        "edge": {"workers": 1, "slowdown": edge},
        "view": {"kind": "device"},
        "noise": "profile",
        "horizon_ms": 1000.0 * seconds,
    }


def _scenario_text(package: str, profile: Profile, quick: bool) -> str:
    scenario = demo_scenario(package, profile, QUICK_SECONDS if quick else SECONDS)
    head = "# Written by `hasten demo`; run it again with `hasten run`, or simulate it with `hasten simulate`.\n"
    return head + yaml.safe_dump(scenario, sort_keys=False)


def _fixed_pairs(scenario: Scenario) -> FixedPairs:
    """Simulate every fixed (exit, partition) on the run's own tasks and link, by thirds of the link's rate."""
    table = scenario.options
    pairs = [(int(e), int(p)) for e, p in zip(table.exit[0], table.partition[0], strict=True)]
    realization = scenario.realize(SEED)
    arrivals = zip(realization.arrival_ms, realization.stream, strict=True)
    rate = np.array([realization.rates[stream].at(now) for now, stream in arrivals])
    third = np.searchsorted(np.quantile(rate, [1 / 3, 2 / 3]), rate)

    def by_third(result: Result) -> list[float]:
        worth = np.where(result.on_time, result.accuracy, 0.0)
        return [float(worth[third == i].mean()) if np.any(third == i) else 0.0 for i in range(len(REGIMES))]

    results = [simulate(scenario, make_scheduler(f"fixed:{e},{p}"), SEED) for e, p in pairs]
    greedy = simulate(scenario, make_scheduler("greedy"), SEED)
    return FixedPairs(
        pairs=tuple(pairs),
        regimes=REGIMES,
        on_time_accuracy=np.array([by_third(result) for result in results]),
        adaptive=np.array(by_third(greedy)),
        adaptive_name="greedy",
        overall=np.array([result.on_time_accuracy for result in results]),
        adaptive_overall=greedy.on_time_accuracy,
    )


def _report(
    scenario: Scenario,
    profile: Profile,
    results: Sequence[Result],
    fixed: FixedPairs,
    facts: dict[str, Any],
    best_fixed: str,
    simulated: dict[str, float],
    command: str,
) -> list[Block]:
    adaptive, alone = score(results, "greedy"), score(results, best_fixed)
    lead = (
        f"Choosing exit and partition point task by task, greedy answered {adaptive:.1%} of all tasks correctly before "
        f"their deadline; the best single choice for all tasks ({best_fixed}, found by simulation) {alone:.1%}."
    )
    if any(result.scheduler == LEARNED for result in results):
        lead += f" A policy trained for this scenario in simulation answered {score(results, LEARNED):.1%}."
    stream = scenario.devices[0]
    told = {
        "tasks": f"{len(results[0].arrival_ms)} in {DEVICES} streams, the same for every scheduler",
        "deadline": f"{stream.deadline_ms:.0f} ms",
        "device": f"a process each, {stream.slowdown:.0f} times slower: {DEVICE_FULL_MS:.0f} ms to the last exit",
        "edge": f"one process, {scenario.edge.slowdown:.0f} times slower: {EDGE_FULL_MS:.0f} ms for the last exit",
        "profile": profile.source,
        "simulated": "column of the table: what the simulator predicts from the profile for the same tasks and links",
        **facts,
    }
    return [
        Heading(1, "hasten demo: real images, real processes, varying links"),
        Paragraph(lead, lead=True),
        comparison(results, simulated),
        *network_blocks(profile),
        *run_blocks(scenario, results, "greedy"),
        Heading(2, "No single choice is best"),
        Paragraph(
            "On-time accuracy of every fixed (exit, partition), simulated on the very same tasks and links, split by "
            f"the rate of the task's link at arrival: the best of all {len(fixed.pairs)} pairs, and the best of each "
            "regime. The best fixed pair of a column is framed; the first row is the adaptive scheduler."
        ),
        Plot("fixed-pairs", "", fixed_pairs(fixed)),
        *made_blocks(command, [SEED], told, scenario),
    ]
