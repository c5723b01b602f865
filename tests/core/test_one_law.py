"""One law: an edit of ``core/timing.py`` reaches simulator, solver, every scheduler, the learner and the agent.

Nothing is compiled here; that compiled code and its cache follow is for ``test_compiled.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import hasten
from hasten.schedulers import scheduler_names

PACKAGE = Path(hasten.__file__).parent
LAWLESS = {"device-only", "linucb", "random"}
"""Schedulers that predict no way over uplink and edge: one keeps everything, one learns delays, one draws lots."""
WITH_ARGUMENT = {
    "fixed": "fixed:2,1",
    "fixed-exit": "fixed-exit:2",
    "mdp": "mdp:8",
    "rolling-horizon": "rolling-horizon:2",
}

PROBE = """
import hashlib
import json

import numpy as np

from hasten.api import simulate, simulate_batch
from hasten.core.decision import View
from hasten.core.estimators import project_frame
from hasten.core.scenario import scenario_from
from hasten.features.afterstates import AfterstateFeatures
from hasten.features.afterstates_single import SingleAfterstates
from hasten.features.observation_batch import Features
from hasten.features.observation_single import SingleFeatures
from hasten.learn.collect import UniformActor
from hasten.learn.domain import Runs
from hasten.learn.pairs import collect_pairs
from hasten.offline.solve import solve_offline
from hasten.schedulers import make_scheduler, priced_values

priced_values.DECISIONS, priced_values.RUNS, priced_values.ROUNDS, priced_values.SCALES = 12, 2, 1, ()

def scenario(slowdown):
    return scenario_from({
        "schema": "hasten.scenario/1",
        "streams": [{"name": "cam", "count": 1, "profile": "alexnet-pi", "deadline_ms": 90, "slowdown": slowdown,
                     "arrivals": {"kind": "poisson", "rate_hz": 12}}],
        "uplink": {"order": "grant", "rtt_ms": 4, "rate": {"kind": "constant", "mbps": 12}},
        "tasks_per_stream": 8,
    })

alone = scenario(1.0)
fast = scenario(0.5).context(np.zeros(1, np.int64))
context = alone.context(np.zeros(1, np.int64))
table, _ = context.options.undominated()
rng = np.random.default_rng(0)

def view(now_ms):
    waits = rng.uniform(0, 50, (3, 1))
    return View(np.zeros(1, np.int64), np.array([now_ms]), np.zeros(1, np.int64), waits[0], waits[1], waits[2][:, None],
                np.array([10 ** rng.uniform(3.6, 5.6)]), np.zeros((1, 1)))

views = [view(60.0 * (1 + i)) for i in range(25)]
found = {}
for name in NAMES:
    scheduler = make_scheduler(name)
    found[name] = []
    for facts in (context, fast):
        scheduler.reset(facts)
        found[name] += [int(scheduler.decide(one).option[0]) for one in views]
digest = lambda *arrays: hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()
found["simulator"] = digest(simulate(alone, make_scheduler("random"), 0).latency_ms)
found["solver"] = solve_offline(alone, 0).gain
single, lean = SingleFeatures(context, table), SingleAfterstates(context, table)
out = np.zeros(Features(context, table).layout.size, np.float32)
single.observe(views[0], out)
lean.observe(views[0])
found["actions, batch"] = digest(Features(context, table).observe(views[0])[0])
found["actions, single"] = digest(out)
found["afterstates, batch"] = digest(AfterstateFeatures(context, table).observe(views[0])[0])
found["afterstates, single"] = digest(lean.left_ms, lean.latency_ms)
runs = Runs(alone, (alone.realize(0),))
pairs = collect_pairs(runs, UniformActor(np.random.default_rng(1)), np.random.default_rng(2)).experience
found["learner"] = digest(pairs.afterstate, pairs.next_obs)
workers_ms = np.array([3.0])
uplink_ms = project_frame(workers_ms, 5.0, 2.0, 1.0, 4.0, 6.0, 0.0)
found["agent"] = [uplink_ms, *workers_ms.tolist()]
print(json.dumps(found))
"""


def outcomes(folder: Path) -> dict[str, Any]:
    """What everything comes to with the sources in a folder."""
    names = [WITH_ARGUMENT.get(name, name) for name in scheduler_names() if name not in LAWLESS | {"policy", "dqn"}]
    environment = {**os.environ, "PYTHONPATH": str(folder), "NUMBA_DISABLE_JIT": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", f"NAMES = {names!r}\n{PROBE}"],
        env=environment, capture_output=True, text=True, check=True, cwd=folder,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_everything_follows_an_edit_of_the_law(tmp_path):
    source = shutil.copytree(PACKAGE, tmp_path / "hasten", ignore=shutil.ignore_patterns("__pycache__", "weights"))
    as_it_is = outcomes(tmp_path)
    law = source / "core" / "timing.py"
    edited = law.read_text().replace("+ service_ms\n", "+ service_ms + 10.0\n")
    edited = edited.replace("return time_ms + 0.5 * rtt_ms", "return time_ms + 0.5 * rtt_ms + 7.0")
    assert edited != law.read_text()
    law.write_text(edited)
    followed = outcomes(tmp_path)
    assert followed.keys() == as_it_is.keys()
    assert [name for name in as_it_is if followed[name] == as_it_is[name]] == []
