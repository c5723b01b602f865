"""Training a policy: rounds of simulated runs and gradient steps; the best policy on a validation set is kept.

Every random number of a round comes from (seed, round), and runs end with their round. So a checkpoint between
rounds holds networks, optimizer and replay memory and nothing of the simulator, and training that goes on from it
gives the same bits as one that was never interrupted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import HastenError, InputError
from hasten.core.scenario import Scenario
from hasten.features.observation import FEATURE_VERSION
from hasten.learn.afterstate_network import AfterstateNetwork
from hasten.learn.checkpoint import load_checkpoint, part, prefixed, save_checkpoint
from hasten.learn.collect import EpsilonGreedy
from hasten.learn.curve import CurvePoint, FinishedTraining, Interrupted, judged, manifest_of
from hasten.learn.domain import Domain, draw_runs
from hasten.learn.dqn import Step
from hasten.learn.improvement_margin import choose_margins, usual_margins
from hasten.learn.initial_replay import filled_replay, replay_of
from hasten.learn.interruption import check_interrupt
from hasten.learn.logs import Logged
from hasten.learn.method import method_for
from hasten.learn.network import DuelingNetwork
from hasten.learn.replay import PrioritizedReplay
from hasten.learn.settings import Settings
from hasten.learn.transitions import Experience, joined
from hasten.learn.validation import Score, Validation
from hasten.policies.manifest import ImprovementMargins
from hasten.policies.policy import AnyPolicy, finite_tensors
from hasten.schedulers.learned import Learned

UPDATES_PER_ROLLOUTS = 40
"""Gradient steps for each batch of paired rollouts, which holds a few thousand pairs."""
LEAST_SHOWN = 0.9
"""Share of the demonstrations wanted below which it is said how many there are."""
EXPLODED = 10.0
"""Training ends when an action is valued at more than this many times what is possible."""

OnPoint = Callable[[CurvePoint], None]


class Trainer:
    """One training in progress."""

    def __init__(
        self,
        scenario: Scenario,
        domain: Domain,
        settings: Settings,
        logs: Sequence[Logged] = (),
        start: AnyPolicy | None = None,
    ) -> None:
        self._scenario, self._domain, self._settings, self._logs = scenario, domain, settings, logs
        table, _ = scenario.options.undominated()
        width = table.exit.shape[1]
        self._method = method_for(width, settings, several=len(scenario.every_edge) > 1)
        self._dqn = self._method.learner
        if start is not None:
            finite_tensors(start, "policy")
            self._method.load(start)
            self._dqn.start_over()
        self._validation = Validation(scenario, domain, self._method.observation_function)
        self._notes: list[str] = []
        self._replay, self._expert, shown = filled_replay(scenario, domain, settings, self._method, logs)
        self._demonstrations = self._replay.demonstrations
        if settings.init != "none" and shown < LEAST_SHOWN * settings.demonstrations:
            self._note(f"only {shown} of {settings.demonstrations} demonstrations: few decisions have a choice")
        several = self._method.has_rollouts(domain.streams_of(scenario)[1])
        self._rollouts_after = settings.rollouts_from * settings.updates if several else np.inf
        self._rollouts = self._no_rollouts = False
        worth = max(float(np.abs(table.worth).max()), *(abs(term) for term in scenario.gain.terms()))
        self._largest_possible = worth / (1.0 - settings.discount)
        self._round = 0
        self._transitions = 0
        self._seconds = 0.0
        self._curve: list[CurvePoint] = []
        self._best: tuple[CurvePoint, NDArray[np.float32]] | None = None

    def run(self, checkpoint: Path | None, on_point: OnPoint | None) -> FinishedTraining:
        """Go on until all steps are done or the values explode.

        Raises:
            Interrupted: by a Ctrl-C, wherever it was.
        """
        try:
            return self._outcome(self._go_on(checkpoint, on_point))
        except KeyboardInterrupt:
            raise Interrupted(self._so_far()) from None

    def _go_on(self, checkpoint: Path | None, on_point: OnPoint | None) -> str:
        """Rounds until the end; returns why they ended before, empty if they did not."""
        settings = self._settings
        if self._dqn.updates == 0:
            self._pretrain()
        while self._dqn.updates < settings.updates:
            started = time.perf_counter()
            step = self._play_round()
            self._seconds += time.perf_counter() - started
            stopped = self._what_is_wrong(step)
            if stopped:
                return stopped
            if self._round % settings.validate_every == 0 or self._dqn.updates >= settings.updates:
                point = self._evaluate(step)
                if checkpoint is not None:
                    self._save_if_possible(checkpoint)
                if on_point is not None:
                    on_point(point)
        return ""

    def _pretrain(self) -> None:
        """Steps on demonstrations alone; their priorities stay as they are, so that none is forgotten early."""
        if self._replay.demonstrations:
            rng = np.random.default_rng([self._settings.seed, 3])
            for _ in range(self._settings.pretrain):
                self._learn(rng, set_errors=False)

    def _play_round(self) -> Step:
        """Let the policy decide some runs, then take gradient steps; returns the last one."""
        settings = self._settings
        rng = np.random.default_rng([settings.seed, 2, self._round])
        for found in self._experience(rng):
            self._replay.add(found)
            self._transitions += len(found)
        if self._replay.size == 0:
            raise HastenError(
                "training: no decision of the simulated runs had anything to choose between and a task after it, so "
                "there is nothing to learn from: a run needs at least two tasks and options that can be on time"
            )
        for _ in range(settings.round_updates):
            step = self._learn(rng)
        self._round += 1
        return step

    def _experience(self, rng: np.random.Generator) -> Iterator[Experience]:
        """A round's own experience, in parts."""
        settings = self._settings
        if self._dqn.updates >= self._rollouts_after and not self._no_rollouts:
            batches = range(max(settings.round_updates // UPDATES_PER_ROLLOUTS, 1))
            parts = (self._method.rollouts(self._scenario, self._domain, rng) for _ in batches)
            first = next((part for part in parts if len(part)), None)
            if first is not None and not self._rollouts:
                self._start_rollouts()
            if first is not None:
                yield first
                yield from parts
            if self._rollouts:
                return
            self._no_rollouts = True
            self._note(
                "runs are too short for paired rollouts: what another option leads to is told by the timing law alone"
            )
        actor = EpsilonGreedy(self._method.acting(self._dqn.network), settings.explore_at(self._dqn.updates), rng)
        for _ in range(settings.batches):
            runs = draw_runs(self._scenario, self._domain, rng, settings.runs, settings.tasks)
            yield self._method.record(runs, actor, rng).experience

    def _start_rollouts(self) -> None:
        """Forget all simulated experience, demonstrations included: rollouts know better. Logs of real runs stay."""
        nothing = self._replay.at(np.zeros(0, dtype=np.int64))
        given = joined([nothing, self._method.of_logs(self._logs)]) if self._logs else nothing
        self._replay = replay_of(given, self._settings, self._settings.rollouts_replay)
        self._expert = np.zeros(self._replay.capacity, dtype=np.bool_)
        self._rollouts = True

    def _learn(self, rng: np.random.Generator, set_errors: bool = True) -> Step:
        check_interrupt()
        settings, done = self._settings, self._dqn.updates
        if isinstance(self._replay, PrioritizedReplay):
            self._replay.beta = settings.beta_at(done)
        place, weight = self._replay.sample(settings.batch, rng)
        margin = settings.margin_at(done)
        by_expert = np.where(self._expert[place], margin, 0.0) if margin > 0 else None
        step = self._method.step(self._replay.at(place), weight, by_expert, settings.learning_rate_share(done))
        if set_errors and isinstance(self._replay, PrioritizedReplay):
            self._replay.set_errors(place, step.error)
        return step

    def _what_is_wrong(self, step: Step) -> str:
        """Why training cannot go on; empty if it can."""
        if not np.isfinite(step.loss):
            return f"the loss became {step.loss} after {self._dqn.updates} steps"
        if step.largest_value > EXPLODED * self._largest_possible:
            return (
                f"action values reached {step.largest_value:.3g} after {self._dqn.updates} steps, "
                f"where at most {self._largest_possible:.3g} is possible"
            )
        return ""

    def _evaluate(self, step: Step) -> CurvePoint:
        """Validate the averaged network and keep it if it is the best."""
        method, average = self._method, self._dqn.average
        score = self._validation.score(method.acting(average))
        explore = self._settings.explore_at(self._dqn.updates)
        point = CurvePoint(
            self._dqn.updates, self._transitions, self._seconds, step.loss, step.largest_value, explore, score
        )
        self._curve.append(point)
        if self._best is None or score.selection_score > self._best[0].score.selection_score:
            self._best = point, average.parameters.copy()
        return point

    def _outcome(self, stopped: str) -> FinishedTraining:
        """The best policy with its margins, judged as it will decide."""
        if self._best is None:
            raise HastenError(f"training diverged before any policy was good enough to keep: {stopped}")
        point, network = self._best[0], self._best_network()
        method = self._method
        margins = choose_margins(
            self._scenario, self._domain, method.observation_function, method.acting(network), method.margins
        )
        policy = self._policy(network, margins)
        best = dataclasses.replace(point, score=self._validation.judge(lambda: Learned(policy)))
        return FinishedTraining(judged(policy, best), tuple(self._curve), best, stopped, tuple(self._notes))

    def _so_far(self) -> FinishedTraining | None:
        """The best policy at once, without what takes a while."""
        if self._best is None:
            return None
        point, stopped = self._best[0], f"interrupted after {self._dqn.updates} steps"
        policy = judged(self._policy(self._best_network(), usual_margins(self._method.margins)), point)
        return FinishedTraining(policy, tuple(self._curve), point, stopped, tuple(self._notes))

    def _best_network(self) -> DuelingNetwork | AfterstateNetwork:
        assert self._best is not None
        network = self._dqn.network.like()
        network.parameters[:] = self._best[1]
        return network

    def _policy(self, network: DuelingNetwork | AfterstateNetwork, margins: ImprovementMargins | None) -> AnyPolicy:
        manifest = manifest_of(self._scenario, self._domain, self._settings, network.policy_hidden, margins)
        return network.policy(manifest)

    def _note(self, text: str) -> None:
        """Say something once, at the end."""
        if text not in self._notes:
            self._notes.append(text)

    def _save_if_possible(self, path: Path) -> None:
        """A checkpoint; if it cannot be written, training goes on without."""
        try:
            self.save(path)
        except InputError as error:
            self._note(f"a checkpoint is missing: {error}")

    def save(self, path: Path) -> None:
        """Write a checkpoint, after a validation."""
        assert self._best is not None
        facts = {
            "mark": self._mark(),
            "round": self._round,
            "rollouts": self._rollouts,
            "no_rollouts": self._no_rollouts,
            "transitions": self._transitions,
            "seconds": self._seconds,
            "curve": [dataclasses.asdict(point) for point in self._curve],
        }
        arrays = prefixed("dqn", self._dqn.state()) | prefixed("replay", self._replay.state())
        save_checkpoint(path, facts, arrays | {"best": self._best[1], "expert": self._expert})

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint of the same training.

        Raises:
            InputError: it is of another scenario, domain or settings.
        """
        facts, arrays = load_checkpoint(path)
        if facts["mark"] != self._mark():
            expected = "a checkpoint of the same scenario, ranges and settings: remove the file to start anew"
            raise InputError(path, "mark", facts["mark"], expected)
        self._round, self._transitions, self._seconds = facts["round"], facts["transitions"], facts["seconds"]
        self._curve = [CurvePoint(**point | {"score": Score(**point["score"])}) for point in facts["curve"]]
        best = max(self._curve, key=lambda point: point.score.selection_score)
        self._no_rollouts = facts.get("no_rollouts", False)
        if facts["rollouts"]:
            self._start_rollouts()
        self._best, self._expert = (best, arrays["best"]), arrays["expert"]
        self._dqn.restore(part(arrays, "dqn"))
        self._replay.restore(part(arrays, "replay"))

    def _mark(self) -> str:
        """Identifies what is trained."""
        whole = [
            FEATURE_VERSION,
            self._scenario.model_dump(mode="json"),
            dataclasses.asdict(self._domain),
            dataclasses.asdict(self._settings),
            self._demonstrations,
        ]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]
