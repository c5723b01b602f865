"""Experience from real runs: the task logs that ``hasten run`` and ``hasten device`` write, as experience.

A log holds what the scheduler saw, so that each observation can be computed again, bit for bit, whichever scheduler
decided. The reward is the task's gain by the exit that did answer. Every line is checked before any is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import Context, View
from hasten.core.errors import InputError
from hasten.core.files import read_text
from hasten.core.gain import task_gain
from hasten.core.options import DROP, OptionTable, StreamCosts, option_table
from hasten.core.profile import Profile
from hasten.core.task_log import LoggedTask, parse_task
from hasten.features.layout import ActionLayout
from hasten.features.observation_single import SingleFeatures
from hasten.learn.transitions import UNKNOWN, gain_alone
from hasten.policies.manifest import NetworkOptions, fingerprint, network_options

NEWEST_BYTES = 16 * 1024 * 1024
"""More than ten thousand tasks."""
UNREACHABLE = "unreachable"
"""The fallback of a task that the device decided by itself, without an edge: no decision of a scheduler."""


class Episode(NamedTuple):
    """A stretch of one device's decisions without an interruption: N decisions in order."""

    obs: NDArray[np.float32]
    """(N, F)"""
    mask: NDArray[np.int8]
    """(N, J+1)"""
    action: NDArray[np.int64]
    """(N,): UNKNOWN where the option chosen is none of the policy's, or was not a scheduler's choice."""
    gain: NDArray[np.float64]
    """(N,)"""
    alone: NDArray[np.float64]
    """(N,): what each task could have gained with every resource for itself."""


class Logged(NamedTuple):
    """An episode with what is needed to see it in another way."""

    seen: Episode
    context: Context
    known: OptionTable
    """The policy's options."""
    column: NDArray[np.int64]
    """(1, J): the option of the context that each is."""
    views: list[View]


def read_experience(paths: Sequence[Path], profile: Profile, options: NetworkOptions | None = None) -> list[Logged]:
    """What the logs of devices that ran ``profile`` hold, to learn from.

    Args:
        paths: ``.jsonl`` logs, one device's each.
        profile: what they ran.
        options: what the actions mean; by default the profile's undominated options.

    Raises:
        InputError: a line that is not a task's, naming file and line; or a log of another network.
    """
    episodes = [
        episode for path in paths for episode in rebuild(read_tasks(path), profile, options or _own(profile), path)
    ]
    if not episodes:
        raise InputError(", ".join(map(str, paths)) or "logs", "tasks", 0, "at least one task")
    return episodes


def read_tasks(path: Path, growing: bool = False) -> list[LoggedTask]:
    """The tasks of a log in order of arrival.

    Of a ``growing`` log only the newest ``NEWEST_BYTES`` are read, without a last line that is not all there yet.
    """
    first, text = _newest(path) if growing else (1, read_text(path))
    lines = text.split("\n")
    if growing:
        lines = lines[:-1]
    tasks = [parse_task(line, f"{path}:{number}") for number, line in enumerate(lines, start=first) if line.strip()]
    tasks.sort(key=lambda task: task.task)
    for before, task in pairwise(tasks):
        if task.task == before.task:
            raise InputError(path, "task", task.task, "each task once (is this the log of one run of one device?)")
    return tasks


def rebuild(tasks: Sequence[LoggedTask], profile: Profile, options: NetworkOptions, where: str | Path) -> list[Logged]:
    """Compute again what the scheduler saw and could do at each decision: an episode for each of its plans."""
    return [
        _episode(list(group), profile, options, where) for _, group in groupby(tasks, key=lambda task: task.facts.plan)
    ]


def _newest(path: Path) -> tuple[int, str]:
    """The whole lines in the newest part of a log, and the first one's number."""
    with path.open("rb") as file:
        skipped = max(path.stat().st_size - NEWEST_BYTES, 0)
        before, left = 0, skipped
        while left > 0:
            piece = file.read(min(left, NEWEST_BYTES))
            before, left = before + piece.count(b"\n"), left - len(piece)
        if skipped:
            file.readline()
            before += 1
        return before + 1, file.read().decode("utf-8", "replace")


def _own(profile: Profile) -> NetworkOptions:
    return network_options([profile.name], option_table([StreamCosts(profile)]))[0]


def _episode(tasks: list[LoggedTask], profile: Profile, options: NetworkOptions, where: str | Path) -> Logged:
    first = tasks[0]
    facts, deadline_ms = first.facts, first.deadline_ms
    if any(task.seen.further_edges for task in tasks):
        raise InputError(where, "seen.further_edges", "several edges", "tasks of a device with one edge to choose")
    table = option_table([StreamCosts(profile, facts.slowdown, facts.edge_slowdown, facts.energy_weight_per_mj)])
    if fingerprint(table, 0) != options.fingerprint:
        raise InputError(where, "profile", profile.name, f"the network of {options.profile} ({options.fingerprint})")
    kept = [table.index(0, *pair) for pair in options.options]
    known, _ = table.columns([kept])
    action_of = {column: action for action, column in enumerate(kept)} | {DROP: len(kept)}
    context = _context(table, first)
    features = SingleFeatures(context, known)
    obs = np.zeros((len(tasks), ActionLayout(len(kept)).size), dtype=np.float32)
    mask = np.zeros((len(tasks), len(kept) + 1), dtype=np.int8)
    action = np.full(len(tasks), UNKNOWN)
    gain, alone = np.zeros(len(tasks)), np.zeros(len(tasks))
    views = []
    for i, task in enumerate(tasks):
        if (task.facts, task.deadline_ms) != (facts, deadline_ms):
            raise InputError(where, f"task {task.task}", "other facts or deadline", "those of its plan's first task")
        if len(task.seen.edge_wait_ms) != facts.workers:
            raise InputError(where, f"task {task.task}: seen.edge_wait_ms", task.seen.edge_wait_ms, "one per worker")
        _check_pair(task, table, where)
        view = _view(task)
        views.append(view)
        features.observe(view, obs[i])
        mask[i, :-1] = features.feasible
        mask[i, -1] = 1
        if task.fallback != UNREACHABLE:
            action[i] = action_of.get(task.option, UNKNOWN)
        gain[i] = _gain(task, table, profile)
        alone[i] = gain_alone(context, view, known)[0]
    return Logged(Episode(obs, mask, action, gain, alone), context, known, np.array([kept]), views)


def _check_pair(task: LoggedTask, table: OptionTable, where: str | Path) -> None:
    """The log is of this network if its options are."""
    options = int(table.count[0])
    if task.option >= options:
        raise InputError(where, f"task {task.task}: option", task.option, f"less than {options}, as the profile has")
    decided = (task.exit, task.partition)
    if task.exit and task.fallback != UNREACHABLE:
        pair = (int(table.exit[0, task.option]), int(table.partition[0, task.option]))
        if task.option == DROP or pair != decided:
            raise InputError(where, f"task {task.task}: exit, partition", decided, f"{pair}, by the profile")
    if task.answered_exit > int(table.exit[0].max()):
        raise InputError(where, f"task {task.task}: answered_exit", task.answered_exit, "an exit of the profile")
    last = int(table.partition[0, table.exit[0] == task.answered_exit].max(initial=0))
    answered = _answered_partition(task, last)
    if task.answered_exit and answered > last:
        raise InputError(where, f"task {task.task}: answered_partition", answered, f"at most {last}, its exit's last")


def _context(table: OptionTable, task: LoggedTask) -> Context:
    facts = task.facts
    return Context(
        options=table,
        deadline_ms=np.array([task.deadline_ms]),
        rate_hz=np.array([facts.rate_hz]),
        gain_terms=facts.gain_terms,
        rtt_ms=facts.rtt_ms,
        workers=facts.workers,
        streams=facts.streams,
    )


def _view(task: LoggedTask) -> View:
    """The view; of the other streams' devices a device sees nothing."""
    seen = task.seen
    return View(
        row=np.zeros(1, np.int64),
        now_ms=np.array([seen.now_ms - task.facts.from_ms]),
        stream=np.zeros(1, np.int64),
        device_wait_ms=np.array([seen.device_wait_ms]),
        uplink_wait_ms=np.array([seen.uplink_wait_ms]),
        edge_wait_ms=np.array([seen.edge_wait_ms]),
        rate_bits_per_ms=np.array([seen.rate_bits_per_ms]),
        others_wait_ms=np.zeros((1, task.facts.streams)),
        unseen_wait_ms=None if seen.unseen_wait_ms is None else np.array([seen.unseen_wait_ms]),
        kept_share=None if seen.kept_share is None else np.array([seen.kept_share]),
    )


def _gain(task: LoggedTask, table: OptionTable, profile: Profile) -> float:
    """The gain: what the (exit, partition) that answered is worth, less the energy of the option as decided."""
    worth = 0.0
    if task.answered_exit:
        last = profile.exits[task.answered_exit - 1].after_block
        worth = profile.accuracy(task.answered_exit, _answered_partition(task, last))
    weight = task.facts.energy_weight_per_mj
    if weight > 0 and task.exit:
        worth -= weight * float(table.energy_mj[0, task.option])
    latency_ms = np.inf if task.latency_ms is None else task.latency_ms
    return float(task_gain(worth, latency_ms, task.deadline_ms, *task.facts.gain_terms))


def _answered_partition(task: LoggedTask, last: int) -> int:
    """The partition that answered, of 0 to ``last``; where a log does not say so, fallbacks ended on the device."""
    if task.answered_partition is not None:
        return task.answered_partition
    return task.partition if task.fallback is None else last
