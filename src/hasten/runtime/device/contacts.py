"""An agent's edges: none, one, or several to choose from, each with a connection and beliefs of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from hasten.core.ping_schedule import WATCH_EVERY_MS
from hasten.runtime.device.chosen_option import ChosenOption
from hasten.runtime.device.contact import Contact
from hasten.runtime.device.moving import Moving
from hasten.runtime.device.parts import Parts
from hasten.runtime.device.tasks import Fallback, Task
from hasten.runtime.device.uplink import Uplink, UplinkUser

Connect = Callable[[UplinkUser], Uplink]
"""Makes the uplink to one edge."""


class Contacts:
    """Dealings with all of them. Where there is none, there is one contact, without an uplink."""

    def __init__(self, parts: Parts, connects: Sequence[Connect]) -> None:
        self._adapter = parts.adapter
        self._contacts = [
            Contact(parts, edge, connects[edge] if connects else None) for edge in range(len(parts.beliefs))
        ]
        if len(connects) > 1:
            parts.rescue.elsewhere = Moving(parts, self._contacts).moves

    async def start(self) -> None:
        """Connect to all, measure one link after the other, and have the scheduler plan with what was found."""
        await asyncio.gather(*(contact.connect() for contact in self._contacts))
        for contact in self._contacts:
            await contact.warm_up()
        self._adapter.begin()
        await self._adapter.rehearse()

    async def close(self) -> None:
        """Disconnect."""
        await asyncio.gather(*(contact.close() for contact in self._contacts))

    @property
    def connections(self) -> dict[str, bool]:
        """Of each edge, by its name, whether there is a connection."""
        return {contact.where: contact.connected for contact in self._contacts if contact.where is not None}

    def usable(self, now: float, deadline_ms: float) -> list[bool]:
        """Whether a task with this deadline should be sent, by edge.

        Where all that are there have asked to wait, each counts as an only one does: whether to wait is asked of it.
        """
        usable = [contact.usable(now, deadline_ms) for contact in self._contacts]
        return usable if any(usable) else [contact.reachable(now) for contact in self._contacts]

    def away(self, choice: ChosenOption | None, usable: Sequence[bool], now: float) -> Fallback | None:
        """Why what was chosen cannot be sent, if so; of a task that was dropped, what may have been missing."""
        if choice is not None and not choice.offloads:
            return None
        wanted = self._contacts if choice is None else [self._contacts[choice.edge]]
        missing = [contact for contact in wanted if not usable[contact.edge]]
        if not missing:
            return None
        asked_to_wait = all(contact.reachable(now) for contact in missing)
        return Fallback.REFUSED if asked_to_wait else Fallback.UNREACHABLE

    def of(self, task: Task) -> Contact:
        """The edge that a task was decided for."""
        return self._contacts[task.edge]

    async def watch(self) -> None:
        """Look after all of them, for ever."""
        while True:
            await asyncio.sleep(WATCH_EVERY_MS / 1000.0)
            for contact in self._contacts:
                contact.look()

    def learn_more(self, task: Task, goes: ChosenOption | None, stays: bool, now: float) -> None:
        """A task is decided: find out of edges that it does not go to whether they would be better by now.

        ``goes`` is the option that was chosen; ``stays``: it is not sent, whatever was chosen.
        """
        at = goes if goes is not None and not (stays and goes.offloads) else None
        for contact in self._contacts:
            if (stays or (at is not None and at.edge != contact.edge)) and contact.usable(now):
                contact.learn_more(task, at, now)

    @property
    def busiest(self) -> tuple[int, float]:
        """The edge that has answered most often, and what it said of its speed."""
        contact = max(self._contacts, key=lambda contact: contact.answers)
        return contact.edge, contact.slowdown
