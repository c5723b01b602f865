"""Writes `examples/compare_schedulers.ipynb` from the cells below and runs it, so that its outputs are stored.

python scripts/make_notebook.py
"""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

EXAMPLES = Path(__file__).parent.parent / "examples"
TARGET = EXAMPLES / "compare_schedulers.ipynb"
TIMEOUT_S = 600

CELLS = (
    """# Compare schedulers, and see how far they are from the best possible

Three cameras classify pictures with a multi-exit AlexNet. Each task may stop at an early exit, and may be cut
anywhere between its device and an edge node that all share. Which exit and which cut, task by task? This
notebook lets several schedulers decide on the very same tasks, and asks the offline solver what could have been
reached at most.

It needs `pip install 'hasten[notebook]'` and some minutes at most.""",
    """>%matplotlib inline
import hasten as hs
from hasten.report import figures

scenario = hs.load_scenario("three-cameras.yaml")
[(stream.name, stream.profile.name, stream.deadline_ms) for stream in scenario.devices]""",
    """## The same tasks for every scheduler

A seed is a realization: arrivals and link rates are drawn once, and every scheduler meets them. `summary_frame`
has a row for each run.""",
    """>schedulers = ("greedy", "edgent", "neurosurgeon", "device-only:deepest", "edge-only:deepest")
results = [result for name in schedulers for result in hs.simulate_batch(scenario, name, seeds=range(3))]
runs = hs.summary_frame(results)
columns = ["on_time_accuracy", "on_time_rate", "latency_ms.p50", "latency_ms.p95", "dropped"]
runs.groupby("scheduler")[columns].mean().sort_values("on_time_accuracy", ascending=False).round(3)""",
    """**On-time accuracy** is the expected share of *all* tasks that are answered correctly before their deadline. It
is what schedulers are compared by; the ticks are single seeds.""",
    ">figures.on_time_accuracy(results)",
    ">figures.latency_distribution(results)",
    """## How good could any scheduler be?

The offline solver knows all arrivals beforehand. Its plan is a feasible one, its upper bound holds for every
scheduler, and the gap between them says how much is not known.""",
    """>plan = hs.solve_offline(scenario, seed=0, time_limit_s=10)
greedy = next(result for result in results if result.scheduler == "greedy" and result.seed == 0)
print(f"greedy        {greedy.mean_gain:.3f}")
print(f"offline plan  {plan.gain:.3f}   ({'proven optimal' if plan.optimal else 'not proven optimal'})")
print(f"upper bound   {plan.upper_bound:.3f}")
print(f"greedy reaches at least {greedy.mean_gain / plan.upper_bound:.1%} of what is possible")""",
    """## What greedy chose

Each mark is a task at its partition point: blocks up to it ran on the device, the rest at the edge. Its colour
is the exit that answered.""",
    ">figures.choices_over_time(greedy, scenario)",
    """`to_frame` has a row for each task, for whatever else you want to know.""",
    """>tasks = greedy.to_frame()
tasks[tasks.outcome != "dropped"].groupby(["exit", "partition"]).agg(
    tasks=("outcome", "size"), mean_latency_ms=("latency_ms", "mean"), accuracy=("accuracy", "mean")
).round(2)""",
    """## The same as a Gymnasium environment

One step is one task. The picture has the backlogs, what each option is predicted to take, and the last
decision.""",
    """>import gymnasium
from matplotlib.figure import Figure

env = gymnasium.make("hasten/Offload-v0", scenario=scenario, render_mode="rgb_array")
observation, info = env.reset(seed=0)
env.action_space.seed(0)
for _ in range(40):
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample(info["action_mask"]))
figure = Figure(figsize=(6.4, 3.6))
axes = figure.add_axes((0, 0, 1, 1))
axes.set_axis_off()
axes.imshow(env.render())
figure""",
    """**From here**: a scheduler of your own is one class ([own_scheduler.py](own_scheduler.py)); `hasten train`
learns one for your scenario; `hasten simulate three-cameras.yaml --report report.html` writes this comparison
as a page to explore.""",
)
"""Those that begin with > are code."""


def main() -> None:
    """Write and run it."""
    cells = [new_code_cell(text[1:]) if text.startswith(">") else new_markdown_cell(text) for text in CELLS]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    notebook = new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    NotebookClient(notebook, timeout=TIMEOUT_S, resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    for cell in cells:  # times of this machine say nothing
        cell.metadata.pop("execution", None)
        if "outputs" in cell:  # nor do bars of progress
            cell["outputs"] = [
                out for out in cell["outputs"] if "<progress" not in out.get("data", {}).get("text/html", "")
            ]
    nbformat.write(notebook, TARGET)


if __name__ == "__main__":
    main()
