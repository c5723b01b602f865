"""What the study's page says. Every number is computed from the runs; every sentence about them follows from a rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hasten.core.version import own_version
from hasten.report.document import Block, Bullets, Explore, Heading, Paragraph, Plot, TableBlock
from hasten.study import sweep_figures
from hasten.study.ablation import ablation_blocks
from hasten.study.analysis import BASELINE, LOADED, Comparison, PanelCurves, verdict
from hasten.study.design import BASES, SWEEPS, facts
from hasten.study.run import BOUND_NOTE, Study
from hasten.study.statistics import Interval
from hasten.study.sweep_charts import sweep_charts
from hasten.study.work import LEARNED, OPTIMUM, PRICED

PAPER = {"first": 5.9, "second": 32.0}
"""The paper's average improvements over Greedy, in percent, on two environmental parameters that it does not name in
its abstract (Liu et al., IEEE TMC 23(1), 2024)."""
SHOWN_WORST = 8


def blocks_of(study: Study, command: str) -> list[Block]:
    """The whole page; ``command`` made it."""
    ours = LEARNED if any(LEARNED in curves.gain for curves in study.curves) else PRICED
    blocks: list[Block] = [Heading(1, "What adaptive exits and partition points are worth"), *_opening(study, command)]
    if study.curves:
        blocks += [Heading(2, "In short"), *_in_short(study.curves, ours)]
        blocks += [Heading(2, "Where the technique does not help"), *_no_help(study, ours)]
        for name in study.plan.sweeps:
            blocks += _sweep(name, [curves for curves in study.curves if curves.panel.sweep == name], ours)
    if study.ablation:
        blocks += ablation_blocks(study.ablation)
    return [*blocks, Heading(2, "What is the paper's, and what is our choice"), *_choices()]


def _opening(study: Study, command: str) -> list[Block]:
    plan = study.plan
    found: list[Block] = [
        Paragraph(
            f"Made by `{command}` with hasten {own_version()}. Simulated; {plan.seeds} seeds, and every scheduler "
            "meets the same tasks and the same link (common random numbers). Intervals are 95 % t-intervals on "
            "per-seed "
            f"paired differences. Every run is in `runs.csv` and `runs.parquet`."
        ),
        Paragraph(
            "On-time accuracy is the expected share of arriving tasks that are answered correctly before their "
            "deadline. The offline bound is an upper limit for any scheduler, even one that knows all arrivals and "
            f"rates beforehand ({BOUND_NOTE}; {len(plan.bound_seeds)} seeds). `mdp` is the online optimum, which "
            "can be "
            "computed for one stream with generated arrivals."
        ),
    ]
    met = dict.fromkeys(curves.panel.profile for curves in study.curves)
    found += [Paragraph(facts(profile)) for profile in met]
    warnings = [
        f"Training of {spec.title}: {said}." for spec, cell in study.policies.items() for said in cell["warnings"]
    ]
    remarks = [*study.remarks, *warnings]
    return [*found, Bullets(remarks)] if remarks else found


def _in_short(all_curves: Sequence[PanelCurves], ours: str) -> list[Block]:
    """One row for each panel: the averages over its sweep."""
    blocks: list[Block] = [
        Paragraph(
            f"Average improvement of `{ours}` over Greedy, (ours - Greedy) / Greedy, mean over the points of a "
            "sweep. The "
            f"paper reports {PAPER['first']} % and {PAPER['second']:g} % in this form for two environmental parameters "
            "that its abstract does not name, in a setting that is not public. Nothing here was tuned toward these "
            "figures, and agreement with them would be a coincidence."
        )
    ]
    for profile, base in BASES.items():
        rows = [_panel_row(curves, ours) for curves in all_curves if curves.panel.profile == profile]
        head = ["sweep", "streams, order", "source", "Greedy", ours, f"{ours} over Greedy"]
        head += [f"{ours} / bound", "Greedy / bound", "plan / bound", f"{ours} / mdp (least)"]
        if rows:
            blocks.append(TableBlock(f"Profile {base.label}", head, rows))
    return blocks


def _panel_row(curves: PanelCurves, ours: str) -> list[str]:
    panel = curves.panel
    row = [panel.sweep, panel.label, panel.source, f"{curves.mean(BASELINE).mean():.3f}"]
    if ours not in curves.gain:
        return [*row, "-", "-", "-", _percent(curves.share_of_bound(BASELINE)), f"{curves.planned_share():.1%}", "-"]
    row += [f"{curves.mean(ours).mean():.3f}", curves.average_improvement(ours).percent()]
    row += [_percent(curves.share_of_bound(ours)), _percent(curves.share_of_bound(BASELINE))]
    row.append(f"{curves.planned_share():.1%}")
    optimum, least = curves.share_of_optimum(ours), curves.least_share_of_optimum(ours)
    return [*row, "-" if optimum is None or least is None else f"{optimum.mean:.1%} ({least:.1%})"]


def _percent(found: Interval) -> str:
    return f"{found.mean:.1%}"


def _no_help(study: Study, ours: str) -> list[Block]:
    """Verdicts by points, the points where ours is worse, and how often it left the decision to Greedy."""
    blocks: list[Block] = []
    rows: list[list[str]] = []
    for name in (ours, OPTIMUM, "rolling-horizon", PRICED):
        found = verdict(study.curves, name)
        if found.points and name not in [row[0] for row in rows]:
            counts = (found.points, found.better, found.equal, found.worse, found.surely_better, found.surely_worse)
            rows.append([name, *map(str, counts), f"{found.loaded_better} of {found.loaded}"])
    blocks.append(
        TableBlock(
            "Points of all sweeps where a scheduler is better than Greedy, not distinguishable from it, or worse, by "
            "95 % intervals. Of points without any difference some 2.5 % would land on either side; what is left when "
            "all points are tested at once (Holm's correction) is surely so. Loaded are points where Greedy is at "
            f"least {LOADED:.0%} from the offline bound.",
            [
                "scheduler",
                "points",
                "better",
                "no difference",
                "worse",
                "surely better",
                "surely worse",
                "better, loaded",
            ],
            rows,
        )
    )
    found = verdict(study.curves, ours)
    blocks.append(Paragraph(_idle_sentence(found)))
    if found.worst:
        shown = [
            [
                point.panel.sweep,
                f"{point.x:.3g}",
                point.panel.profile,
                point.panel.label,
                point.panel.source,
                difference.percent(),
            ]
            for point, difference in found.worst[:SHOWN_WORST]
        ]
        caption = f"Where `{ours}` is worse than Greedy" + (
            f" ({SHOWN_WORST} of {found.worse} points)" if found.worse > SHOWN_WORST else ""
        )
        blocks.append(TableBlock(caption, ["sweep", "at", "profile", "streams, order", "source", "difference"], shown))
    fallbacks = _fallbacks(study.curves)
    if fallbacks:
        blocks.append(
            TableBlock(
                "Where the learned scheduler met conditions that it was not trained for and left decisions to Greedy",
                ["sweep", "profile", "streams, order", "source", "share of decisions at each point"],
                fallbacks,
            )
        )
    return blocks


def _idle_sentence(found: Comparison) -> str:
    return (
        f"At {found.idle} of {found.points} points Greedy is within 1 % of the offline bound: the system is idle, or "
        "there is only one sensible choice, and no scheduler can help. Under overload the best that can be done is "
        "itself low, as the bounds show."
    )


def _fallbacks(all_curves: Sequence[PanelCurves]) -> list[list[str]]:
    rows = []
    for curves in all_curves:
        if LEARNED in curves.notes:
            tasks = np.array([p.conditions.tasks_per_stream * p.conditions.streams for p in curves.points])
            share = curves.notes[LEARNED].mean(axis=1) / tasks
            if share.max() >= 0.01:
                shares = " ".join(f"{x:.3g}: {s:.0%}" for x, s in zip(curves.x, share, strict=True))
                panel = curves.panel
                rows.append([panel.sweep, panel.profile, panel.label, panel.source, shares])
    return rows


_EXPLORED = (
    "{}; {} arrivals and link. First on-time accuracy for each set of streams, with the offline bound, told by what "
    "Greedy reaches of it on those seeds that have one; then what is gained over Greedy, with 95 % intervals. Drag to "
    "zoom, double-click to see all of it again; the legend switches schedulers."
)


def _sweep(name: str, all_curves: Sequence[PanelCurves], ours: str) -> list[Block]:
    """A figure for each profile and source, and a table of all schedulers for each panel."""
    sweep = SWEEPS[name]
    blocks: list[Block] = [Heading(2, f"Sweep: {name}")]
    for profile, base in BASES.items():
        for source in ("generated", "recorded"):
            mine = [c for c in all_curves if (c.panel.profile, c.panel.source) == (profile, source)]
            if not mine:
                continue
            caption = (
                f"{base.label}; {source} arrivals and link. Above, the grey area is beyond the offline bound, told "
                "by what Greedy reaches of it on those seeds that have one."
            )
            blocks.append(Heading(3, f"{base.label}, {source}"))
            still = Plot(f"{name}-{profile}-{source}", caption, sweep_figures.sweep(mine, sweep.axis))
            blocks.append(Explore(_EXPLORED.format(base.label, source), sweep_charts(mine, sweep.axis), still))
            blocks += [_all_schedulers(curves, ours) for curves in mine]
    return blocks


def _all_schedulers(curves: PanelCurves, ours: str) -> TableBlock:
    """On-time accuracy of every scheduler at every point; Markdown shows this for three streams, generated."""
    panel = curves.panel
    head = ["scheduler", *(f"{x:.3g}" for x in curves.x), "mean", "over Greedy", "share of bound"]
    rows = []
    for name in sorted(curves.gain, key=lambda scheduler: -float(curves.mean(scheduler).mean())):
        cells = [f"{value:.3f}" for value in curves.mean(name)]
        cells += [f"{curves.mean(name).mean():.3f}", curves.average_improvement(name).percent()]
        rows.append([name, *cells, _percent(curves.share_of_bound(name))])
    bound = curves.mean_bound()
    rows.append(["offline bound", *(f"{value:.3f}" for value in bound), f"{bound.mean():.3f}", "", ""])
    detail = panel.source == "recorded" or panel.streams not in (3, None)
    return TableBlock(f"On-time accuracy, {panel.label}, {panel.source}", head, rows, detail)


def _choices() -> list[Block]:
    return [
        Bullets(
            [
                "The paper's: several task streams, multi-exit networks that are partitioned between device and "
                "edge node, "
                "a decision on exit and partition point for every task, dynamic programming when arrivals are known, a "
                "learned online scheduler made faster by historical experience initialization and prioritized "
                "replay, and "
                "the comparison with Greedy over two environmental parameters.",
                "Our choice: the gain (accuracy if on time, else nothing), the timing discipline, what the "
                "learner sees and "
                "how it is built, what historical experience initialization means (experience of Greedy, of dynamic "
                "programming, or a mixture, put into the replay memory), networks, numbers, sweeps, all other "
                "baselines, and "
                "that Greedy breaks ties by earliest finish, then fewest bytes.",
                "A task that would finish late is dropped at its decision and uses nothing. This holds for every "
                "scheduler.",
                "Profile C joins times of a 224-pixel AlexNet with exit accuracies of a CIFAR-10 network: a "
                "modelling choice.",
                "Bursty arrivals switch between two rates; on recordings the burstiness sweep keeps generated "
                "arrivals. "
                "Recordings are scaled to the mean that a point asks for, and every seed starts somewhere else "
                "in them.",
                "The learned policies are trained on generated conditions only, over the ranges of the sweeps; half of "
                "their runs come in bursts, half on a link that varies. Recordings are unknown to them. LinUCB "
                "starts without "
                "knowledge in every run. Prices (`priced`) are found for several streams on generated links in "
                "the arrival-rate, bandwidth and streams sweeps.",
            ]
        )
    ]
