"""The simulator and its environments beside peers, in one run on one core.

    python benchmarks/simulator.py [--quick]

Peers model the same three-stage queue: a pure-Python Gymnasium environment (grant order, constant rate, the same
observation), a SimPy model of a whole run with decisions drawn beforehand, and one in which Greedy decides
(``simpy_peer.py``; the table shows the share of tasks that it decides and finishes as hasten does). Whole evaluations
are those of the built-in classical schedulers, decisions and results included; rates are measured with 400 runs of
1,500 tasks at once, of realizations drawn before. What drawing costs is a row of its own.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium
import numpy as np
import simpy
from simpy_peer import SimpyGreedy

import hasten.api
import hasten.sim
from hasten.core.scenario import Realization, Scenario, ViewSpec, scenario_from
from hasten.features.layout import ActionLayout
from hasten.features.observation import CLIP, deadline_rates
from hasten.schedulers import make_scheduler

ENVIRONMENTS = 1024
CLASSICAL = (
    "greedy",
    "min-latency",
    "neurosurgeon",
    "edgent",
    "device-only",
    "edge-only",
    "dads",
    "load-threshold",
    "random",
)
PIECE = 50


def scenario(order: str, rate: dict, workers: int, tasks: int = 500) -> Scenario:
    """Three cameras with AlexNet."""
    arrivals = {"kind": "poisson", "rate_hz": 15}
    stream = {"name": "cam", "count": 3, "profile": "alexnet-pi", "deadline_ms": 80, "arrivals": arrivals}
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [stream],
            "uplink": {"order": order, "rate": rate},
            "edge": {"workers": workers, "slowdown": 4},
            "tasks_per_stream": tasks,
        }
    )


CONSTANT = {"kind": "constant", "mbps": 10}
VARYING = {"kind": "gauss_markov", "mean_mbps": 10, "sigma_mbps": 4}


def best_rate(work: Callable[[], int], seconds: float) -> float:
    """Largest rate (items per second of this process) among repeated calls of ``work``, which returns items done."""
    work()
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        done = work()
        best = max(best, done / (time.perf_counter() - started))
    return best


class PlainEnv(gymnasium.Env):
    """The same environment in plain Python: shared uplink, grant order, constant rate, one worker, no round trip."""

    def __init__(self, scenario: Scenario) -> None:
        table, _ = scenario.options.undominated()
        self.device, self.bits, self.edge, self.worth = (
            a[0].tolist() for a in (table.device_ms, table.payload_bits, table.edge_ms, table.worth)
        )
        self.deadline = float(scenario.deadlines_ms[0])
        self.deadline_rate = float(deadline_rates(table, scenario.deadlines_ms)[0])
        features = ActionLayout(len(self.device)).size
        self.action_space = gymnasium.spaces.Discrete(len(self.device) + 1)
        self.observation_space = gymnasium.spaces.Box(-CLIP, CLIP, (features,), np.float32)
        realization = scenario.realize(0)
        self.arrivals, self.streams = realization.arrival_ms.tolist(), realization.stream.tolist()
        self.rate = float(realization.rates[0].bits_per_ms[0])

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        """Begin the episode."""
        super().reset(seed=seed)
        self.k, self.alpha, self.beta, self.epsilon = 0, [0.0] * 3, 0.0, 0.0
        self.last, self.gap, self.any_last, self.any_gap = [0.0] * 3, [66.0] * 3, 0.0, 22.0
        return self.look()

    def look(self) -> tuple:
        """The observation and the mask of the next decision."""
        now, m, deadline = self.arrivals[self.k], self.streams[self.k], self.deadline
        device, uplink = max(self.alpha[m] - now, 0.0), max(self.beta - now, 0.0)
        edge = max(self.epsilon - now, 0.0)
        others = [max(a - now, 0.0) for i, a in enumerate(self.alpha) if i != m]
        gap, any_gap = now - self.last[m], now - self.any_last
        self.gap[m] += 0.125 * (gap - self.gap[m])
        self.any_gap += 0.125 * (any_gap - self.any_gap)
        self.last[m] = self.any_last = now
        share = self.rate / (self.rate + self.deadline_rate)
        times = [device, uplink, edge, edge, sum(others) / 2, max(others), gap, self.gap[m], any_gap, self.any_gap]
        times = [min(t / deadline, CLIP) for t in times]
        latency, gain, mask = [], [], []
        for x, s, y, w in zip(self.device, self.bits, self.edge, self.worth, strict=True):
            end = device + x
            if s > 0:
                end = max(max(end, uplink) + s / self.rate, edge) + y
            latency.append(min(end / deadline, CLIP))
            gain.append(w if end <= deadline else 0.0)
            mask.append(1 if end <= deadline else 0)
        mask.append(0 if any(mask) else 1)
        features = [*times[:6], share, share, 1.0, *times[6:], *latency, *gain]
        return np.array(features, dtype=np.float32), {"action_mask": np.array(mask, dtype=np.int8)}

    def step(self, action: int) -> tuple:
        """Decide one task."""
        now, m = self.arrivals[self.k], self.streams[self.k]
        reward = 0.0
        if action < len(self.device):
            done = max(now, self.alpha[m]) + self.device[action]
            finish, sent = done, self.beta
            if self.bits[action] > 0:
                sent = max(done, self.beta) + self.bits[action] / self.rate
                finish = max(sent, self.epsilon) + self.edge[action]
            if finish - now <= self.deadline + 1e-6:
                self.alpha[m] = done
                if self.bits[action] > 0:
                    self.beta, self.epsilon = sent, finish
                reward = self.worth[action]
        self.k += 1
        ended = self.k + 1 >= len(self.arrivals)
        observation, info = self.look()
        return observation, reward, False, ended, info


def plain_environment(scenario: Scenario) -> Callable[[], int]:
    env = gymnasium.wrappers.OrderEnforcing(PlainEnv(scenario))
    actions = np.random.default_rng(0).integers(0, env.action_space.n, 2000).tolist()
    env.reset(seed=0)

    def work() -> int:
        for action in actions:
            if env.step(action)[3]:
                env.reset()
        return len(actions)

    return work


def vector_environment(scenario: Scenario, episodes: int | None) -> Callable[[], int]:
    env = gymnasium.make_vec(
        "hasten/Offload-v0",
        num_envs=ENVIRONMENTS,
        vectorization_mode="vector_entry_point",
        scenario=scenario,
        episodes=episodes,
    )
    _, info = env.reset(seed=0)
    rng = np.random.default_rng(0)
    actions = []
    for _ in range(PIECE):  # allowed actions of real states, so that tasks do use the resources
        action = (rng.random(info["action_mask"].shape) * info["action_mask"]).argmax(axis=1)
        info = env.step(action)[4]
        actions.append(action)

    def work() -> int:
        for action in actions:
            env.step(action)
        return PIECE * ENVIRONMENTS

    return work


def whole_episodes(scenario: Scenario, episodes: int | None, seconds: float) -> float:
    """Steps per second over everything, resets and the drawing of new episodes included."""
    work = vector_environment(scenario, episodes)
    longest = scenario.realize(0).tasks
    for _ in range(longest // PIECE + 2):  # all episodes of a limited number have been drawn after a few rounds
        work()
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        done += work()
    return done / (time.perf_counter() - started)


def simpy_run(scenario: Scenario, realization: Realization, option: np.ndarray) -> Callable[[], int]:
    """A lean SimPy model of a run in ready order with given decisions, constant rate, no deadlines checked."""
    table = scenario.options
    device = table.device_ms[realization.stream, option].tolist()
    transfer = (table.payload_bits[realization.stream, option] / realization.rates[0].bits_per_ms[0]).tolist()
    edge = table.edge_ms[realization.stream, option].tolist()
    arrivals, streams = realization.arrival_ms.tolist(), realization.stream.tolist()
    finish = [0.0] * len(arrivals)

    def work() -> int:
        env = simpy.Environment()
        devices = [simpy.Resource(env) for _ in range(3)]
        uplink, workers = simpy.Resource(env), simpy.Resource(env, scenario.edge.workers)

        def task(k: int) -> Iterator:
            with devices[streams[k]].request() as turn:
                yield turn
                yield env.timeout(device[k])
            if transfer[k] > 0:
                with uplink.request() as turn:
                    yield turn
                    yield env.timeout(transfer[k])
                with workers.request() as turn:
                    yield turn
                    yield env.timeout(edge[k])
            finish[k] = env.now

        def source() -> Iterator:
            for k, at in enumerate(arrivals):
                yield env.timeout(at - env.now)
                env.process(task(k))

        env.process(source())
        env.run()
        return len(arrivals)

    return work


def executed(scenario: Scenario, realization: Realization) -> np.ndarray:
    """The decisions of Greedy, as options."""
    result = hasten.sim.simulate_realizations(scenario, make_scheduler("greedy"), [realization])[0]
    pairs = zip(realization.stream, result.decisions, strict=True)
    return np.array([scenario.options.index(int(m), int(e), int(p)) for m, (e, p) in pairs])


def memory_for_a_million() -> tuple[int, float]:
    """Tasks and peak memory in MB of a process that simulates a million tasks in one batch."""
    if "--million" in sys.argv:
        results = hasten.api.simulate_batch(scenario("ready", VARYING, 3), make_scheduler("greedy"), range(667))
        print(sum(result.tasks for result in results), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        sys.exit(0)
    command = [sys.executable, __file__, "--million"]
    tasks, megabytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return int(tasks), float(megabytes)


def evaluations(name: str, run: Scenario, seconds: float) -> None:
    """Whole evaluations of one scenario, SimPy with Greedy being the peer."""
    print(f"\n{f'M tasks/s, whole evaluations: {name}':<72}{'M/s':>8}{'ratio':>9}")
    simpy_model = SimpyGreedy(run, run.realize(0))
    peer = best_rate(simpy_model.run, seconds)
    row(f"SimPy, greedy deciding (peer; {simpy_model.agreement():.1%} of tasks the same)", peer, peer)
    drawn = [run.realize(seed) for seed in range(400)]
    for scheduler in CLASSICAL:

        def evaluate(scheduler: str = scheduler) -> int:
            results = hasten.sim.simulate_realizations(run, make_scheduler(scheduler), drawn)
            return sum(result.tasks for result in results)

        row(f"hasten, {scheduler}", best_rate(evaluate, seconds), peer)

    def draw() -> int:
        return sum(run.realize(seed).tasks for seed in range(20))

    row("hasten, drawing the realizations", best_rate(draw, seconds), peer)


def device_views(name: str, run: Scenario, seconds: float) -> None:
    """Whole evaluations as devices see, beside those of the system as it is."""
    print(f"\n{f'M decisions/s, views of devices: {name}':<72}{'M/s':>8}{'ratio':>9}")
    drawn = [run.realize(seed) for seed in range(400)]
    devices = run.model_copy(update={"view": ViewSpec(kind="device")})
    for scheduler in ("greedy", "greedy:point"):
        rates = []
        for seen in (run, devices):

            def evaluate(scheduler: str = scheduler, seen: Scenario = seen) -> int:
                results = hasten.sim.simulate_realizations(seen, make_scheduler(scheduler), drawn)
                return sum(result.tasks for result in results)

            rates.append(best_rate(evaluate, seconds))
        row(f"hasten, {scheduler}: fresh views (peer)", rates[0], rates[0], 2)
        row(f"hasten, {scheduler}: views of devices (target 1)", rates[1], rates[0], 2)


def main() -> None:
    seconds = 0.3 if "--quick" in sys.argv else 2.0
    tasks, megabytes = memory_for_a_million()
    print("rates are the best of repeated pieces, but 'with resets' counts everything over the whole time\n")
    simple, costly = scenario("grant", CONSTANT, 1), scenario("ready", VARYING, 3)
    plain = best_rate(plain_environment(simple), seconds)
    print(f"{'M steps/s':<72}{'M/s':>8}{'ratio':>9}")
    row("environment in plain Python (peer)", plain, plain)
    row(
        f"vector, {ENVIRONMENTS}: shared, grant, constant rate",
        best_rate(vector_environment(simple, 1024), seconds),
        plain,
    )
    row("  the same with resets, 1,024 different episodes", whole_episodes(simple, 1024, seconds), plain)
    row("  the same with resets, every episode new", whole_episodes(simple, None, seconds), plain)
    row(
        f"vector, {ENVIRONMENTS}: ready, varying rate, 3 workers",
        best_rate(vector_environment(costly, 1024), seconds),
        plain,
    )
    row("  the same with resets, 1,024 different episodes", whole_episodes(costly, 1024, seconds), plain)

    print(f"\n{'M tasks/s, whole runs, decisions given':<72}{'M/s':>8}{'ratio':>9}")
    ready = scenario("ready", CONSTANT, 1)
    realization = ready.realize(0)
    option = np.maximum(executed(ready, realization), 0)
    peer = best_rate(simpy_run(ready, realization, option), seconds)
    row("SimPy: ready, constant (peer)", peer, peer)
    for name, run in (("grant, constant", simple), ("ready, constant", ready), ("ready, varying, 3 workers", costly)):
        drawn = run.realize(0)
        replayer, plan = hasten.sim.Replayer(run, drawn), executed(run, drawn)

        def replay(replayer: hasten.sim.Replayer = replayer, plan: np.ndarray = plan) -> int:
            replayer.total_gain(plan)
            return len(plan)

        row(f"hasten: {name}", best_rate(replay, seconds), peer)
    for name, run in (("grant, constant", simple), ("ready, constant", ready), ("ready, varying, 3 workers", costly)):
        evaluations(name, run, seconds)
    for name, run in (("grant, constant", simple), ("ready, constant", ready), ("ready, varying, 3 workers", costly)):
        device_views(name, run, seconds)
    print(f"\nmemory of a process that simulates {tasks:,} tasks at once: {megabytes:.0f} MB (limit 1000)")


def row(name: str, rate: float, peer: float, digits: int = 0) -> None:
    print(f"{name:<72}{rate / 1e6:>8.2f}{rate / peer:>8.{digits}f}x", flush=True)


if __name__ == "__main__":
    main()
