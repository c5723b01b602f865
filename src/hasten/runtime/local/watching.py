"""Waits for a round's devices, tells its events, and does what somebody changes meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hasten.core.scenario import Realization
from hasten.runtime.local.changes import Changes, RunChange
from hasten.runtime.local.processes import Child, ChildError
from hasten.runtime.local.rounds import RoundFiles
from hasten.runtime.pace import now_ms

POLL_S = 0.1
LONGER_THAN_PLANNED_S = 60.0
"""A round that takes so much longer than its arrivals has failed."""
EDGE_ENDED = "edge_ended"


class Processes(Protocol):
    """The processes of a run."""

    edges: list[Child]
    relays: list[Child]
    devices: list[Child]

    def restart_edges(self) -> int:
        """Start every edge that has ended again where it was; how many had."""


class Watch:
    """One round's watch.

    Attributes:
        changed: how often something was changed by hand.
    """

    def __init__(self, processes: Processes, realization: Realization, files: RoundFiles, changes: Changes) -> None:
        self.changed = 0
        self._processes, self._files, self._changes = processes, files, changes
        self._tasks = max(realization.tasks, 1)
        self._last_ms = float(realization.arrival_ms.max(initial=0.0))
        self._told_ended: set[Child] = set()

    def wait(self, tell: Callable[[float], None]) -> None:
        """Until every device has played its tasks; ``tell`` hears the share that is done."""
        self._changes.begin()
        try:
            self._wait(tell)
        finally:
            self._changes.end()
            self._files.end()

    def _wait(self, tell: Callable[[float], None]) -> None:
        devices = self._processes.devices
        done: dict[Child, int] = dict.fromkeys(devices, 0)
        running = list(devices)
        until_ms = self._until_ms(1.0)
        slowest = 1.0

        def do(change: RunChange) -> str:
            nonlocal until_ms, slowest
            slowest = min(slowest, change.factor) if change.kind == "pace" else slowest
            text = self._do(change)
            until_ms = self._until_ms(slowest)
            return text

        while running:
            if now_ms() > until_ms:
                raise ChildError(f"{running[0].name}: not done in time")
            self._check()
            for device in list(running):
                message = device.poll(POLL_S)
                self.changed += self._changes.serve(do)
                if message is None:
                    continue
                if "refused" in message:
                    self._files.event("refused", f"{device.name}: {message['refused']}")
                    continue
                done[device] = message.get("tasks") or message.get("done") or 0
                if "ok" in message:
                    running.remove(device)
            tell(sum(done.values()) / self._tasks)

    def _until_ms(self, slowest: float) -> float:
        return now_ms() + self._last_ms / slowest + 1000.0 * LONGER_THAN_PLANNED_S

    def _check(self) -> None:
        """A link that has ended fails the round; an edge that has is told."""
        for relay in self._processes.relays:
            if not relay.alive:
                raise relay.death()
        for edge in self._processes.edges:
            if not edge.alive and edge not in self._told_ended:
                self._told_ended.add(edge)
                others = any(other.alive for other in self._processes.edges)
                goes_on = "devices use the others" if others else "devices answer alone"
                self._files.event(EDGE_ENDED, f"{self._called(edge)} has ended; {goes_on}")

    def _called(self, edge: Child) -> str:
        return edge.name if len(self._processes.edges) > 1 else "the edge"

    def _do(self, change: RunChange) -> str:
        """Make a change and tell it."""
        processes, factor = self._processes, None
        if change.kind == "rate":
            factor = change.factor
            for relay in processes.relays:
                relay.ask("scale", factor=factor)
            text = f"links set to {factor:g} times the scenario's rate; frames already handed over keep their times"
        elif change.kind == "pace":
            for device in processes.devices:
                device.tell("pace", pace=change.factor)
            text = f"tasks arrive at {change.factor:g} times the scenario's rate from the next gap on"
        elif change.kind == "scheduler":
            for device in processes.devices:
                device.tell("scheduler", name=change.scheduler)
            text = f"{change.scheduler} decides from the next task on"
        elif change.kind == "kill_edge":
            text = self._kill_edge()
        else:
            ended = [self._called(edge) for edge in processes.edges if not edge.alive]
            processes.restart_edges()
            were = "was" if len(ended) == 1 else "were"
            text = f"{' and '.join(ended)} {were} started again" if ended else "every edge runs already"
        self._files.event(change.kind, text, factor)
        return text

    def _kill_edge(self) -> str:
        """Kill the first edge that lives; what was done, in words."""
        edge = next((edge for edge in self._processes.edges if edge.alive), None)
        if edge is None:
            return "no edge is alive"
        edge.kill()
        return f"{self._called(edge)} was killed"
