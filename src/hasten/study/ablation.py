"""The ablation's part of the page: which of the learner's two accelerations does what."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hasten.report.document import Block, Explore, Heading, Paragraph, Plot, TableBlock
from hasten.study import sweep_figures
from hasten.study.statistics import area_under_curve, first_reaching, interval
from hasten.study.sweep_charts import learning_charts
from hasten.study.training import ABLATION_EXPLORE, VARIANTS, Variant
from hasten.study.work import Plain

FloatArray = NDArray[np.float64]
REACHED = 0.95
LAST_SHARE = 0.1
"""The final gain is the mean over this last part of a learning curve."""


def ablation_blocks(cells: Mapping[tuple[Variant, int], Plain]) -> list[Block]:
    """Learning curves, and a table of steps and seconds to 95 % of what is learned."""
    seeds = sorted({seed for _, seed in cells})
    steps: dict[Variant, FloatArray] = {}
    gain: dict[Variant, FloatArray] = {}
    seconds: dict[Variant, FloatArray] = {}
    for variant in VARIANTS:
        found = [cells[variant, seed]["curve"] for seed in seeds]
        shortest = min(len(curve) for curve in found)  # one that diverged ends early
        steps[variant] = np.array([point["updates"] for point in found[0][:shortest]], dtype=np.float64)
        gain[variant] = np.array([[point["score"]["gain"] for point in curve[:shortest]] for curve in found])
        seconds[variant] = np.array([[point["seconds"] for point in curve[:shortest]] for curve in found])
    score = cells[VARIANTS[0], seeds[0]]["curve"][0]["score"]
    curves = {v: (steps[v], gain[v]) for v in VARIANTS}
    figure = sweep_figures.learning_curves(curves, score["greedy"], score["planned"])
    caption = "Learning curves: mean over seeds and 95 % band."
    plain = gain[VARIANTS[0]]
    final = float(np.mean([_final(curve) for curve in plain]))
    head = ["variant", "final gain", "spread of seeds", "area under curve"]
    head += ["steps to 95 % of own final", "s", "steps to plain DQN's final", "s", "stopped early"]
    rows = []
    for variant in VARIANTS:
        stopped = sum(any("stopped early" in said for said in cells[variant, seed]["warnings"]) for seed in seeds)
        rows.append([*_row(variant, steps[variant], gain[variant], seconds[variant], final), str(stopped)])
    return [
        Heading(2, "Ablation of the learner"),
        Paragraph(
            f"Profile A, three streams in grant order, {len(seeds)} seeds, validation on runs over the whole range of "
            "the sweeps. The upper half of the table is the method that the paper names: a double dueling DQN with a "
            "value for each action (whose network knows the gain of an option in time; late options are masked), with "
            "and without prioritized replay (PER) and historical experience initialization (HEI). The lower half is "
            "ours: values of afterstates, learned from pairs of options, in its last line from paired rollouts later "
            "on, which are drawn uniformly. "
            f"All variants explore alike (from {ABLATION_EXPLORE:g} down), as experience to start from would else be "
            "compared together with less exploration. On the same runs Greedy gains "
            f"{score['greedy']:.4f} and a plan that knows all arrivals {score['planned']:.4f}; the plain DQN ends at "
            f"{final:.4f}. As Greedy is where all start from, 95 % of "
            "the final gain is an easy mark; further columns ask when the plain DQN's whole final gain is met. Spread "
            "is largest less least final gain, as a share of their mean. Steps and seconds are medians over seeds, "
            "gains means with 95 % intervals."
        ),
        Explore(caption, learning_charts(curves, score["greedy"], score["planned"]), Plot("ablation", caption, figure)),
        TableBlock("Which acceleration does what", head, rows),
    ]


def _final(curve: FloatArray) -> float:
    return float(curve[-max(1, round(LAST_SHARE * len(curve))) :].mean())


def _row(variant: Variant, steps: FloatArray, gain: FloatArray, seconds: FloatArray, plain: float) -> list[str]:
    finals = interval(np.array([_final(curve) for curve in gain]))
    area = interval(np.array([area_under_curve(steps, curve) for curve in gain]))
    row = [variant.label, *(f"{found.mean:.4f} ± {(found.high - found.low) / 2:.4f}" for found in (finals, area))]
    row.insert(2, f"{np.ptp([_final(curve) for curve in gain]) / finals.mean:.2%}")
    for levels in ([REACHED * _final(curve) for curve in gain], [plain] * len(gain)):
        at = [first_reaching(steps, curve, level) for curve, level in zip(gain, levels, strict=True)]
        spent = [first_reaching(own, curve, level) for own, curve, level in zip(seconds, gain, levels, strict=True)]
        row += [_median(at, "{:.0f}"), _median(spent, "{:.1f}")]
    return row


def _median(values: list[float], form: str) -> str:
    """The median, where a seed that never got there counts as infinitely late."""
    median = float(np.median([np.inf if np.isnan(value) else value for value in values]))
    return form.format(median) if np.isfinite(median) else "not reached"
