"""A task that its edge has failed goes on at another one, where that answers in time and better than the device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hasten.runtime.device.chosen_option import ChosenOption
from hasten.runtime.device.contact import Contact
from hasten.runtime.device.parts import Parts
from hasten.runtime.device.tasks import Fallback, Reason, Task


class Moving:
    """Moves tasks, each once at most, from the tensors at hand: they are encoded and sent again."""

    def __init__(self, parts: Parts, contacts: Sequence[Contact]) -> None:
        self._clock, self._beliefs = parts.clock, parts.beliefs
        self._adapter, self._stage, self._rescue = parts.adapter, parts.stage, parts.rescue
        self._contacts = contacts

    def moves(self, task: Task, why: Fallback) -> bool:
        """Send a task to another edge if that is worth it; returns whether it is."""
        if task.moved is not None or task.choice is None or not task.choice.offloads:
            return False
        found = self._best(task, self._clock.now_ms())
        if found is None:
            return False
        task.moved, task.choice = why, found
        task.exit, task.partition, task.edge = found.exit, found.partition, found.edge
        now = self._clock.now_ms()
        task.moved_ms = now - task.arrived_ms
        task.predicted_ms = now - task.arrived_ms + found.latency_ms
        contact = self._contacts[found.edge]
        contact.plan(task, found, now)

        def encoded(result: object) -> None:
            if isinstance(result, bytes):
                contact.send(task, result)
                return
            assert task.transfer is not None  # just planned
            self._beliefs[found.edge].backlogs.transfer_gone(task.transfer)
            self._rescue.now(task, why, Reason.NO_EXIT_IN_TIME)

        self._stage.encode(task, found.partition, encoded, urgent=True)
        return True

    def _best(self, task: Task, now: float) -> ChosenOption | None:
        """The most accurate option from here on at another edge; None if the device itself does as well.

        An edge that has asked a task with so little time left to wait is passed over.
        """
        known, cut = self._adapter.known, task.held_cut
        here = self._stage.best_way(task, urgent=True)
        best: ChosenOption | None = None
        accuracy = here.accuracy if here is not None else 0.0
        left_ms = task.arrived_ms + task.deadline_ms - now
        usable = [contact.usable(now, left_ms) for contact in self._contacts]
        for beliefs, there in zip(self._beliefs, usable, strict=True):
            if there:
                beliefs.backlogs.update(now, True, self._stage.urgent_wait_ms(now))
        for option in np.flatnonzero(known.sent & (known.profiled.partition[0] == cut)).tolist():
            edge = int(known.edge[option])
            found = self._from_here(option)
            in_time = now + found.latency_ms <= task.arrived_ms + task.deadline_ms
            if edge != task.edge and usable[edge] and in_time and found.accuracy > accuracy:
                best, accuracy = found, found.accuracy
        return best

    def _from_here(self, option: int) -> ChosenOption:
        """An option of whose part on the device only the encoding is left."""
        known = self._adapter.known
        table, edge = known.profiled, int(known.edge[option])
        beliefs, partition = self._beliefs[edge], int(table.partition[0, option])
        device_ms, edge_ms = beliefs.device.encode_ms(partition), float(known.edge_ms[option])
        payload_bits = float(table.payload_bits[0, option])
        latency_ms = beliefs.latency_ms(device_ms, payload_bits, edge_ms, beliefs.rtt_ms)
        return ChosenOption(
            option=option,
            exit=int(table.exit[0, option]),
            partition=partition,
            edge=edge,
            device_ms=device_ms,
            edge_ms=edge_ms,
            payload_bits=payload_bits,
            latency_ms=latency_ms,
            planned_ms=latency_ms,
            slack=0.0,
            promised=None,
            accuracy=float(table.accuracy[0, option]),
        )
