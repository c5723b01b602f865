"""What came out: how far real runs keep what the simulator promises, and what is left of the learned gain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hasten.core.version import own_version
from hasten.fidelity.real.points import AXES, PlayedConditions, PlayedPanel
from hasten.fidelity.real.run import GREEDY, LEARNED, POINT, SCHEDULERS, WORLDS, Done, World
from hasten.report.document import Block, Bullets, Heading, Paragraph, TableBlock
from hasten.study.statistics import Interval, average_improvement, improvement_by_seed, interval, ratio_of_means

PAPER = "5.9 % and 32 %"
NONE = "-"


def blocks_of(done: Done, command: str) -> list[Block]:
    """The page; ``command`` made it. Panels that are not complete are named and left out."""
    plan = done.plan
    whole = [panel for panel in plan.panels if complete(done, panel)]
    blocks: list[Block] = [
        Heading(1, "What is left of it in real processes"),
        Paragraph(
            f"Made by `{command}` with hasten {own_version()}. The same tasks and links simulated, played in "
            "virtual time (the runtime's own objects on a clock that jumps) and run in real processes and sockets on "
            f"one machine, {plan.seconds:g} s each; {plan.other_seeds} seeds, {plan.real_seeds} of them in real "
            "processes. The simulator sees what a device sees and draws times from the profile's spread. Intervals "
            f"are 95 % t-intervals over seeds. The network is the demo's: {done.facts.get('profile', '')}."
        ),
    ]
    if whole:
        blocks += [Heading(2, "In short"), *_in_short(done, whole), Heading(2, "Point by point")]
        blocks += [_errors(done, panel) for panel in whole]
    return [*blocks, *_missing(done, whole)]


def complete(done: Done, panel: PlayedPanel) -> bool:
    """Whether every point of a panel has every scheduler and seed in every world."""
    return all(
        len(done.gains(place, scheduler, world)) == len(done.plan.seeds(world))
        for place in panel.points.values()
        for scheduler in SCHEDULERS
        for world in WORLDS
    )


def gains(done: Done, panel: PlayedPanel, scheduler: str, world: World) -> NDArray[np.float64]:
    """(points, seeds): on-time accuracy."""
    seeds = done.plan.seeds(world)
    return np.array([[done.gains(place, scheduler, world)[seed] for seed in seeds] for place in panel.points.values()])


def improvement_over(done: Done, panel: PlayedPanel, baseline: str, world: World) -> Interval:
    """The learned scheduler's over a baseline, averaged over the panel as the paper states its own."""
    return average_improvement(gains(done, panel, LEARNED, world), gains(done, panel, baseline, world))


def kept_share(done: Done, panel: PlayedPanel, baseline: str, world: World) -> str:
    """How much of the simulated improvement over a baseline a world keeps, on the seeds of real runs."""
    seeds = len(done.plan.seeds("real"))
    there, simulated = (
        improvement_by_seed(gains(done, panel, LEARNED, at)[:, :seeds], gains(done, panel, baseline, at)[:, :seeds])
        for at in (world, WORLDS[0])
    )
    found = ratio_of_means(there, simulated)
    return NONE if np.isnan(found.mean) else f"{found.mean:.2f} ± {0.5 * (found.high - found.low):.2f}"


def _in_short(done: Done, panels: Sequence[PlayedPanel]) -> list[Block]:
    head = ["sweep", "devices", "links", *(f"{LEARNED} over greedy:point, {world}" for world in WORLDS)]
    head += [f"{LEARNED} over greedy, {world}" for world in WORLDS]
    rows = [
        [panel.sweep, str(panel.devices), panel.source]
        + [improvement_over(done, panel, POINT, world).percent() for world in WORLDS]
        + [improvement_over(done, panel, GREEDY, world).percent() for world in WORLDS]
        for panel in panels
    ]
    kept = [
        [panel.sweep, str(panel.devices), panel.source]
        + [kept_share(done, panel, baseline, world) for baseline in (POINT, GREEDY) for world in WORLDS[1:]]
        for panel in panels
    ]
    kept_head = ["sweep", "devices", "links"]
    kept_head += [f"over {baseline}, {world}" for baseline in (POINT, GREEDY) for world in WORLDS[1:]]
    explained = (
        f"Improvement of the online algorithm over Greedy, mean over the points of a sweep; the paper reports {PAPER} "
        "on two environmental parameters that its abstract does not name. `greedy:point` is the paper's rule on point "
        "predictions, `greedy` weighs each option by the share of such promises that were kept."
    )
    on_the_same = (
        f"What is left of the simulated improvement, on the {len(done.plan.seeds('real'))} seeds that ran in real "
        "processes: the ratio of the two means, with a 95 % jackknife interval."
    )
    return [Paragraph(explained), TableBlock("", head, rows), Paragraph(on_the_same), TableBlock("", kept_head, kept)]


def _errors(done: Done, panel: PlayedPanel) -> Block:
    """On-time accuracy of every scheduler at every point, and by how much real runs differ from simulated ones."""
    rows = []
    for value, place in panel.points.items():
        for scheduler in SCHEDULERS:
            simulated, virtual, real = found = [done.gains(place, scheduler, world) for world in WORLDS]
            rows.append(
                [
                    f"{value:g}",
                    scheduler if scheduler != "best fixed" else f"{done.fixed[place]} (best fixed)",
                    *(f"{np.mean(list(gain.values())):.3f}" for gain in found),
                    _points(real, simulated),
                    _points(real, virtual),
                ]
            )
    head = [AXES[panel.sweep], "scheduler", *WORLDS, "real - simulated, points", "real - virtual, points"]
    title = f"{panel.sweep}, {panel.devices} {'device' if panel.devices == 1 else 'devices'}, {panel.source} links"
    return TableBlock(title, head, rows)


def _points(real: dict[int, float], other: dict[int, float]) -> str:
    """Difference on the same seeds, in points with its interval."""
    seeds = sorted(set(real) & set(other))
    if not seeds:
        return NONE
    found = interval(np.array([100.0 * (real[seed] - other[seed]) for seed in seeds]))
    return f"{found.mean:+.1f} ± {0.5 * (found.high - found.low):.1f}"


def _missing(done: Done, whole: Sequence[PlayedPanel]) -> list[Block]:
    items = [
        f"Not complete, so not shown: {panel.sweep}, {panel.devices} devices, {panel.source} links."
        for panel in done.plan.panels
        if panel not in whole
    ]
    items += [f"Failed: {world}, {_told(place)}, {failure.scheduler}, seed {failure.seed}: {failure.reason}"
              for world, place, failure in done.failures]  # fmt: skip
    return [Heading(2, "What is missing"), Bullets(items)] if items else []


def _told(place: PlayedConditions) -> str:
    return f"{place.devices} devices, {place.rate_hz:g} tasks/s, {place.frames_per_s:g} frames/s, {place.source}"
