"""Why runs in virtual time answer fewer tasks in time than simulated ones: one cause switched off at a time.

Simulated devices see everything by default; those of a run estimate. Here the runtime's own agents are shown, in
virtual time, what they cannot know: the true rate of their link, the edge's load as it is, or also the frames of all
other devices, queued, planned and on their way. Or they never take tasks back. What stays of the difference when they
see all is the runtime's own. Virtual time is deterministic, so that the table is the same on any computer.

Before that, the three worlds side by side: what is left between simulated devices and virtual time.

Usage: python benchmarks/virtual_gap.py [--worlds]
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from hasten.core.profile import Profile
from hasten.core.profile_names import load_profile
from hasten.core.results import Result
from hasten.core.scenario import Scenario, load_scenario, scenario_from
from hasten.demo import DEVICES
from hasten.fidelity.conform import predict
from hasten.fidelity.played import DEVICE_FULL_MS, EDGE_FULL_MS, RATE_HZ, RTT_MS, link_mbps
from hasten.runtime.device.backlog_estimate import BacklogEstimator, Transfer
from hasten.runtime.device.rescue import Rescue
from hasten.runtime.virtual import cluster
from hasten.runtime.virtual.cluster import run_virtual_scenario
from hasten.runtime.virtual.network import VirtualLink

CAMERAS = Path(__file__).parents[1] / "examples" / "three-cameras.yaml"
SCHEDULERS = ("greedy", "greedy:point")
COMPARED = ("greedy", "greedy:point", "edgent", "neurosurgeon", "fixed:3,1")
COMPARED_SEEDS = (0, 1, 2, 3)
TIGHT_DEADLINE_MS = 120.0


@dataclass(frozen=True)
class Shown:
    """What devices of a run are shown beyond what they can see."""

    rate: bool = False
    edge: bool = False
    everything: bool = False
    rescue: bool = True


SHOWN = {
    "as it is": Shown(),
    "true rate": Shown(rate=True),
    "true load of the edge": Shown(edge=True),
    "sees all": Shown(everything=True),
    "takes no task back": Shown(rescue=False),
    "sees all, takes none back": Shown(everything=True, rescue=False),
}


class World:
    """All estimators of a run with their links, and when frames that were sent reach the edge."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock  # kept, so that no other's takes its identity
        self.links: dict[BacklogEstimator, VirtualLink] = {}
        self.arrives_ms: dict[Transfer, float] = {}

    def rate(self, estimator: BacklogEstimator, now: float) -> float:
        """Bits per millisecond of an estimator's link now."""
        line: Any = self.links[estimator].line
        return float(line._trace.at(max(now - line._start_ms, 0.0)))

    def edge_wait_ms(self, estimator: BacklogEstimator) -> list[float]:
        """Of each worker, by what the edge has."""
        core = self.links[estimator]._peer.core  # type: ignore[attr-defined]
        return list(core.report().backlog_ms)

    def see_all(self, estimator: BacklogEstimator, now: float) -> None:
        """Project everybody's frames, planned ones included, as the simulator does."""
        workers = [now + wait_ms for wait_ms in self.edge_wait_ms(estimator)]
        lines = {id(link.line): max(link.line._free_ms, now) for link in self.links.values()}  # type: ignore[attr-defined]
        known = [(transfer, owner) for owner in self.links for transfer in owner._transfers]
        coming = [
            (self.arrives_ms[transfer], transfer.edge_ms)
            for transfer, _ in known
            if transfer.sent and transfer.edge_ms > 0 and self.arrives_ms[transfer] > now  # not those of pings
        ]
        planned = [(transfer, owner) for transfer, owner in known if not transfer.sent]
        for transfer, owner in sorted(planned, key=lambda one: one[0].ready_ms):
            link = self.links[owner]
            line = id(link.line)
            lines[line] = max(lines[line], transfer.ready_ms) + transfer.bits / self.rate(owner, now)
            coming.append((lines[line] + link.up_ms, transfer.edge_ms))
        for at_ms, edge_ms in sorted(coming):
            first = workers.index(min(workers))
            workers[first] = max(workers[first], at_ms) + edge_ms
        estimator.rate_bits_per_ms = self.rate(estimator, now)
        estimator.uplink_wait_ms = lines[id(self.links[estimator].line)] - now
        estimator.edge_wait_ms = sorted(max(free_ms - now, 0.0) for free_ms in workers)


@contextmanager
def showing(shown: Shown) -> Iterator[None]:
    """Within, runs in virtual time show their devices so much."""
    station, update, sent = cluster._station, BacklogEstimator.update, BacklogEstimator.transfer_sent
    worlds: dict[int, World] = {}
    world_of: dict[BacklogEstimator, World] = {}

    def watched(*given: Any) -> Any:
        *_, (link,), clock = given
        made = station(*given)
        world = worlds.setdefault(id(clock), World(clock))
        estimator = made.agent._beliefs[0].backlogs
        world.links[estimator], world_of[estimator] = link, world
        return made

    def noted(self: BacklogEstimator, transfer: Transfer, bits: float, now_ms: float) -> None:
        sent(self, transfer, bits, now_ms)
        link: Any = world_of[self].links[self]  # the frame has just been handed to the line
        world_of[self].arrives_ms[transfer] = link.line._free_ms + link.up_ms

    def told(self: BacklogEstimator, now_ms: float, connected: bool, device_wait_ms: float) -> None:
        world = world_of[self]
        believed = self._link.rate_bits_per_ms
        if shown.edge:
            self._report_ms, self._reported_ms = world.edge_wait_ms(self), now_ms
        if shown.rate and connected:
            self._link.rate_bits_per_ms = world.rate(self, now_ms)
            with mock.patch.object(self, "_rate_bound", lambda *given: math.inf):
                update(self, now_ms, connected, device_wait_ms)
            self._link.rate_bits_per_ms = believed
        else:
            update(self, now_ms, connected, device_wait_ms)
        if shown.everything and connected:
            world.see_all(self, now_ms)

    with (
        mock.patch.object(cluster, "_station", watched),
        mock.patch.object(BacklogEstimator, "transfer_sent", noted),
        mock.patch.object(BacklogEstimator, "update", told),
    ):
        if shown.rescue:
            yield
        else:
            with mock.patch.object(Rescue, "_take_back", lambda self, task, why: None):
                yield


def accuracy(results: Sequence[Result]) -> float:
    """The mean on-time accuracy."""
    return float(np.mean([result.on_time_accuracy for result in results]))


def simulated(scenario: Scenario, scheduler: str, seeds: Sequence[int]) -> float:
    return accuracy(predict(scenario, [scheduler], seeds, lambda text, done: None))


def virtual(scenario: Scenario, scheduler: str, seeds: Sequence[int], shown: Shown) -> float:
    with showing(shown):
        outcome = run_virtual_scenario(scenario, [scheduler], seeds)
    assert not outcome.failures, outcome.failures
    return accuracy(outcome.results)


def with_device_views(scenario: Scenario) -> Scenario:
    data = scenario.model_dump(by_alias=True) | {"view": {"kind": "device"}}
    return scenario_from(data, scenario.name if scenario.folder is None else scenario.folder / scenario.name)


def scaled(profile: Profile) -> Profile:
    """With the times to the last exit that the demo's device and edge take."""
    last = profile.exits[-1]
    device = DEVICE_FULL_MS / (sum(block.device_ms for block in profile.blocks) + last.device_ms)
    edge = EDGE_FULL_MS / (sum(block.edge_ms for block in profile.blocks) + last.edge_ms)

    def slower(part: Any) -> Any:
        return part.model_copy(update={"device_ms": device * part.device_ms, "edge_ms": edge * part.edge_ms})

    blocks, exits = tuple(map(slower, profile.blocks)), tuple(map(slower, profile.exits))
    return profile.model_copy(update={"blocks": blocks, "exits": exits})


def like_the_demo(folder: Path) -> Scenario:
    """Three streams over links of their own that vary as the demo's, with tighter deadlines."""
    profile = scaled(load_profile("resnet-110"))
    (folder / "profile.json").write_text(profile.to_json(), encoding="utf-8")
    mbps = round(link_mbps(profile), 3)
    rate = {"kind": "gauss_markov", "mean_mbps": mbps, "sigma_mbps": mbps, "memory": 0.97, "step_ms": 250}
    stream = {
        "name": "camera",
        "count": DEVICES,
        "profile": str(folder / "profile.json"),
        "deadline_ms": TIGHT_DEADLINE_MS,
        "arrivals": {"kind": "poisson", "rate_hz": RATE_HZ},
    }
    uplink = {"topology": "dedicated", "order": "ready", "rtt_ms": RTT_MS, "rate": rate}
    return scenario_from(
        {"schema": "hasten.scenario/1", "streams": [stream], "uplink": uplink, "tasks_per_stream": 240}
    )


def worlds(title: str, scenario: Scenario) -> None:
    """Print what each scheduler reaches in each world, in per cent."""
    print(f"{title}, seeds 0 to 3: on-time accuracy in per cent")
    print(f"  {'':14} {'simulated':>10} {'view: device':>13} {'virtual':>8}")
    for name in COMPARED:
        values = (
            simulated(scenario, name, COMPARED_SEEDS),
            simulated(with_device_views(scenario), name, COMPARED_SEEDS),
            virtual(scenario, name, COMPARED_SEEDS, Shown()),
        )
        fresh, device, played = (100.0 * value for value in values)
        print(f"  {name:14} {fresh:10.2f} {device:13.2f} {played:8.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", action="store_true", help="only the worlds side by side")
    only_worlds = parser.parse_args().worlds
    with tempfile.TemporaryDirectory() as folder:
        worlds("three-cameras.yaml", load_scenario(CAMERAS))
        worlds("like the demo, 120 ms", like_the_demo(Path(folder)))
        if not only_worlds:
            causes(Path(folder))


def causes(folder: Path) -> None:
    """Print what runs in virtual time reach when devices are shown more, or take no task back."""
    cases = (
        ("three-cameras.yaml, seed 0", load_scenario(CAMERAS), (0,)),
        ("like the demo, 120 ms, seeds 0 to 3", like_the_demo(folder), (0, 1, 2, 3)),
    )
    print(f"{'on-time accuracy':40} " + " ".join(f"{name:>13}" for name in SCHEDULERS))
    for title, scenario, seeds in cases:
        rows = {
            "simulated": [simulated(scenario, name, seeds) for name in SCHEDULERS],
            "simulated, view: device": [simulated(with_device_views(scenario), name, seeds) for name in SCHEDULERS],
        }
        for case, shown in SHOWN.items():
            rows[f"virtual, {case}"] = [virtual(scenario, name, seeds, shown) for name in SCHEDULERS]
        print(title)
        for label, values in rows.items():
            print(f"  {label:38} " + " ".join(f"{value:13.3f}" for value in values), flush=True)


if __name__ == "__main__":
    main()
