"""The simulator: whole runs of a scenario, in which the very scheduler objects of the device agent decide.

Event-driven in continuous time, all topologies and orders (see ``sim.stages``). Rows of a batch advance together, one
decision each per step, so that a scheduler decides thousands of tasks in one call; a row's bits do not depend on its
company. All randomness is drawn beforehand by ``Scenario.realize``: schedulers compared meet the very same tasks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from hasten.core.calibration import prior_shares
from hasten.core.compiled import direct
from hasten.core.decision import Context, Noting, Observer, Outcomes, Scheduler, can_choose_edge, is_clairvoyant
from hasten.core.errors import HastenError
from hasten.core.expected_gain import ExpectedGain
from hasten.core.options import DROP
from hasten.core.ranking import Ranking, rule_of
from hasten.core.results import Result, edge_share
from hasten.core.scenario import Realization, Scenario, check_scenario
from hasten.sim.arrays import (
    FloatArray,
    IntArray,
    new_log,
    new_state,
    pack_links,
    pack_ranking,
    pack_rules,
    pack_tasks,
)
from hasten.sim.beliefs import new_beliefs
from hasten.sim.descriptions import describe, device_energy_mj
from hasten.sim.finishes import finishes_of
from hasten.sim.promises import Promises, new_promises, pack_expected, promise, recall, run_expected
from hasten.sim.steps import collect, commit, finish, observe, pass_time, restart, run_plan, run_ranked
from hasten.sim.world import Ends, OptionFacts, Told, World, new_view

TIMED_DECISIONS = 128
TIMED_STEPS = 16
"""So many decisions of a batch, and steps, are always left to ``decide`` and timed."""
STEPS_PER_REPORT = 64
"""After so many steps progress is told."""


def simulate_realizations(
    scenario: Scenario,
    scheduler: Scheduler,
    realizations: Sequence[Realization],
    progress: Callable[[float], None] | None = None,
) -> list[Result]:
    """Run ``scheduler`` on realizations of the scenario, all at once; bit for bit what single runs give.

    Decisions in the results are as executed: a task that the expired-task rule dropped is (0, 0). What a scheduler can
    do beyond deciding it declares (``Clairvoyant``, ``Observer``, ``Noting`` of ``core.decision``).

    The scheduler is reset once, for a batch of as many rows. The arrays of the views that it gets are valid until its
    next decision. ``progress`` is told the fraction of the steps done.
    """
    check_scenario(scenario, "simulate")
    if not realizations:
        return []
    if not can_choose_edge(scheduler):
        scenario.need_one_edge(f"scheduler {scheduler.name}")
    batch = _Batch(scenario, realizations, is_clairvoyant(scheduler))
    seeds = np.array([realization.seed for realization in realizations], dtype=np.int64)
    step_us = batch.run(scheduler, scenario.context(seeds), progress)
    results = _results(scheduler.name, batch, realizations, step_us)
    if isinstance(scheduler, Noting):
        results = [replace(result, notes=scheduler.notes(row)) for row, result in enumerate(results)]
    return results


def replay(scenario: Scenario, realization: Realization, option: IntArray) -> Result:
    """Execute given decisions: ``option`` (N,) in order of arrival, columns of ``scenario.options`` or DROP.

    As for a clairvoyant scheduler there is no prediction: in grant order an option that does finish late is dropped,
    in ready order a task that turns out late is cancelled where it stands.
    """
    return Replayer(scenario, realization).result(option)


class Replayer:
    """Runs one realization over and over with different given decisions, fully compiled."""

    def __init__(self, scenario: Scenario, realization: Realization) -> None:
        self._scenario = scenario
        self._realization = realization
        self._batch = _Batch(scenario, [realization], plans=True)
        self._gain = np.zeros(realization.tasks)

    def total_gain(self, option: IntArray) -> float:
        """Sum of the gains of all tasks when ``option`` (N,) is executed."""
        option = _checked("a plan", option, self._realization.tasks, self._scenario)
        return float(run_plan(option, self._batch.world, self._gain))

    def gain(self, option: IntArray) -> FloatArray:
        """Gain of each task (N,)."""
        self.total_gain(option)
        return self._gain.copy()

    def result(self, option: IntArray) -> Result:
        """Everything about the run."""
        self._batch.world.state.device_done_ms[:] = np.nan  # those of an earlier plan
        self.total_gain(option)
        result = _results("replay", self._batch, [self._realization], np.zeros(0))[0]
        return replace(result, finish_ms=result.finish_ms.copy())  # the next run uses the batch's arrays again


class _Batch:
    """Arrays of a batch of runs and the loop over its steps."""

    def __init__(self, scenario: Scenario, realizations: Sequence[Realization], plans: bool = False) -> None:
        """With ``plans``, decisions are given: devices do nothing by themselves."""
        self.scenario = scenario
        rules, tasks = pack_rules(scenario, scenario.options), pack_tasks(realizations)
        rules = rules._replace(from_devices=rules.from_devices and not plans)
        slots, workers, finishes = len(tasks.arrival_ms), scenario.edge.workers, finishes_of(scenario, scenario.options)
        self.rows, self.steps = len(realizations), int(tasks.number.max())
        self.promises: Promises | None = None
        self.world = World(
            rules=rules,
            tasks=tasks,
            links=pack_links(realizations),
            state=new_state(rules, self.rows, slots, self.steps),
            log=new_log(rules, self.rows, slots, workers),
            beliefs=new_beliefs(rules, self.rows, slots, self.steps, finishes),
        )

    def run(
        self, scheduler: Scheduler, context: Context, progress: Callable[[float], None] | None = None
    ) -> FloatArray:
        """Run all rows to their end; returns the time of each step's decisions, each row's share.

        What a ranking or expected gains decide needs no view: after some steps, which are timed, compiled code does
        the rest. No count is kept of promises where they are exact, or where nobody looks at them.
        """
        world, tasks, ways = self.world, self.world.tasks, self.world.rules.ways
        clairvoyant = is_clairvoyant(scheduler)
        predicts = world.rules.ready and not clairvoyant
        if world.rules.from_devices:
            restart(world)
        scheduler.reset(context)
        rule = rule_of(scheduler)
        if not (context.exact or clairvoyant or isinstance(rule, Ranking)):
            prior = np.tile(prior_shares(len(ways.rtt_ms)), (context.streams, 1, 1))
            self.promises = new_promises(prior, self.rows, len(tasks.arrival_ms))
        promises = self.promises
        compiled = isinstance(rule, Ranking | ExpectedGain) and len(ways.rtt_ms) == 1
        steps = min(self.steps, max(TIMED_DECISIONS // self.rows, TIMED_STEPS)) if compiled else self.steps
        step_us = np.zeros(steps)
        chosen = np.full(len(tasks.arrival_ms), DROP, dtype=np.int64)
        told = _Outcomes(world, chosen) if isinstance(scheduler, Observer) else None
        ends = set(tasks.number.tolist())
        row = np.arange(self.rows)
        view, arrays = new_view(row, world.rules)
        observe_now = direct(observe, 0, arrays, world)
        commit_now = direct(commit, 0, row, row, predicts, world)
        alone = world.rules.from_devices
        pass_now = direct(pass_time, 0, row, world) if alone else pass_time
        for k in range(steps):
            if progress is not None and k % STEPS_PER_REPORT == 0:
                progress(k / self.steps)
            if k in ends:
                row = np.flatnonzero(tasks.number > k)
                view, arrays = new_view(row, world.rules)
            if alone:
                pass_now(k, row, world)
            observe_now(k, arrays, world)
            if promises is not None and view.kept_share is not None:
                recall(k, row, view.kept_share, promises, world)
            if told is not None and isinstance(scheduler, Observer):
                scheduler.observe(told.until(k, row))
            started = time.perf_counter()
            decision = scheduler.decide(view)
            step_us[k] = (time.perf_counter() - started) * 1e6 / len(row)
            option = _checked(scheduler.name, decision.option, len(row), self.scenario)
            chosen[tasks.first[row] + k] = option
            if promises is not None:
                promise(k, arrays, option, promises, world)
            commit_now(k, row, option, predicts, world)
        stride = 1 if alone else max(self.steps - steps, 1)
        for k in range(steps, self.steps, stride):
            if alone:
                pass_now(k, np.flatnonzero(tasks.number > k), world)
            if isinstance(rule, Ranking):
                run_ranked(k, k + stride, predicts, pack_ranking(rule), world)
            elif isinstance(rule, ExpectedGain) and promises is not None:
                run_expected(k, k + stride, predicts, pack_expected(rule), promises, world)
        if alone:
            pass_now(-1, np.arange(self.rows), world)
        finish(world)
        return step_us


class _Outcomes:
    """Keeps track of which outcomes a learning scheduler has been told."""

    def __init__(self, world: World, chosen: IntArray) -> None:
        """``chosen`` (T,) is where the scheduler's options are noted."""
        self._world = world
        self._told = Told(
            chosen=chosen,
            reported=np.zeros(len(chosen), dtype=np.bool_),
            oldest=np.zeros(len(world.tasks.first), dtype=np.int64),
            task_of=np.zeros(len(chosen), dtype=np.int64),
            row_of=np.zeros(len(chosen), dtype=np.int64),
        )

    def until(self, k: int, row: IntArray) -> Outcomes:
        """What became known by the k-th decision of each row and has not been told before."""
        told, tasks, state = self._told, self._world.tasks, self._world.state
        found = collect(k, row, told, self._world)
        task = told.task_of[:found].copy()
        return Outcomes(
            row=told.row_of[:found].copy(),
            stream=tasks.stream[task],
            option=told.chosen[task],
            device_done_ms=state.device_done_ms[task] - tasks.arrival_ms[task],
            latency_ms=state.finish_ms[task] - tasks.arrival_ms[task],
        )


def _checked(who: str, option: IntArray, decisions: int, scenario: Scenario) -> IntArray:
    """Refuse decisions that are not one valid option index each: a mistake in a scheduler."""
    option = np.ascontiguousarray(option)
    columns = scenario.options.exit.shape[1]
    if option.shape != (decisions,) or not np.issubdtype(option.dtype, np.integer):
        raise HastenError(f"{who}: decided {option.dtype}{list(option.shape)}, expected int64[{decisions}]")
    if decisions and (option.min() < DROP or option.max() >= columns):
        raise HastenError(f"{who}: chose option {option.min()} or {option.max()}, expected -1 to {columns - 1}")
    return option.astype(np.int64, copy=False)


def _results(scheduler: str, batch: _Batch, realizations: Sequence[Realization], step_us: FloatArray) -> list[Result]:
    """What happened to the tasks of each row."""
    scenario, tasks, state = batch.scenario, batch.world.tasks, batch.world.state
    options, number = scenario.options, len(tasks.arrival_ms)
    ends = Ends(
        pair=np.empty((number, 2), dtype=np.int64),
        accuracy=np.empty(number),
        exit=np.empty(number, dtype=np.int64),
        gain=np.empty(number),
        uplink_bits=np.zeros(batch.rows),
    )
    stops = options.stops
    accuracy = options.accuracy if stops is None else stops.accuracy.reshape(len(stops.accuracy), -1)
    describe(OptionFacts(options.exit, options.partition, accuracy), batch.world, ends)
    deadline_ms = batch.world.rules.deadline_ms[tasks.stream]
    energy_mj = device_energy_mj(scenario, tasks.stream, state)
    edge = options.edges(tasks.stream, state.option)
    results = []
    for b, realization in enumerate(realizations):
        own = slice(int(tasks.first[b]), int(tasks.first[b] + tasks.number[b]))
        results.append(
            Result(
                scheduler=scheduler,
                seed=realization.seed,
                arrival_ms=realization.arrival_ms,
                stream=realization.stream,
                decisions=ends.pair[own],
                finish_ms=state.finish_ms[own],
                deadline_ms=deadline_ms[own],
                accuracy=ends.accuracy[own],
                gain=ends.gain[own],
                uplink_bytes=float(ends.uplink_bits[b]) / 8.0,
                decision_us=step_us[: realization.tasks].copy(),
                answered_exit=ends.exit[own] if stops is not None or batch.world.rules.from_devices else None,
                promised=None if batch.promises is None else batch.promises.share_of[own],
                energy_mj=None if energy_mj is None else energy_mj[own],
                edge=edge[own],
                edge_share=edge_share([way.name for way in scenario.every_edge], edge[own], state.sent[own]),
            )
        )
    return results
