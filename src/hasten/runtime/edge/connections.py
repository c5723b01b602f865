"""Who is connected to an edge: how many may be, and for how long without a word. No sockets here.

A connection is a stranger until its HELLO has been accepted; then it is a device. Strangers have few places of their
own, so however many come, devices keep theirs: when all are taken, the stranger that has been there for longest goes,
after a moment in which an honest one would have said HELLO. A device that lost its link comes back before its old
connection is known to be dead; where all places are taken, such old connections go.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from hasten.core.errors import InputError
from hasten.runtime.clock import Clock
from hasten.runtime.edge.carried import CarriedWork
from hasten.runtime.edge.served import Refusal
from hasten.runtime.notes import Notes
from hasten.runtime.wire.frames import Code

STRANGER_MS = 50.0
"""A stranger's place is taken by another after so long at the earliest."""
SUCCEEDED_MS = 400.0
"""A device's connection is an old one when it has been silent for so long and since a later one of its name and address
came (devices call a link dead after 500 ms of silence at the earliest)."""
RECENT_WAITS = 50
SPARE_DESCRIPTORS = 16
"""File descriptors that are left for everything but connections."""


@dataclass(frozen=True)
class ConnectionLimits:
    """How many connections there may be, and how long each may be silent."""

    devices: int = 1000
    strangers: int = 64
    hello_ms: float = 5_000.0
    """From connecting to a complete HELLO, TLS included."""
    idle_ms: float = 120_000.0
    """A device that sends nothing for so long has vanished; pings count."""

    @property
    def per_address(self) -> int:
        """Devices from one address: half of all, so that one host never takes every place."""
        return max(self.devices // 2, 1)


def fitting(devices: int, descriptors: int) -> ConnectionLimits:
    """Limits for ``devices`` at most, fewer where there are too few free file ``descriptors``.

    Raises:
        InputError: ``devices`` is below 1, or not even one device and one stranger fit.
    """
    if devices < 1:
        raise InputError("edge", "max-devices", devices, "at least 1")
    free = descriptors - SPARE_DESCRIPTORS
    if free < 2:
        raise InputError("edge", "file descriptors", descriptors, f"at least {SPARE_DESCRIPTORS + 2} that are free")
    strangers = min(ConnectionLimits.strangers, max(free // 4, 1))
    return ConnectionLimits(min(devices, free - strangers), strangers)


@dataclass(eq=False, slots=True)
class Guest:
    """One connection."""

    address: str
    port: int
    since_ms: float
    close: Callable[[Code, str], None] = lambda code, text: None
    """Ends it, with a code and a word why."""
    name: str | None = None
    """Of a device; a stranger has none."""
    token: bytes = b""
    """Digest of the token that it was let in with."""
    heard_ms: float = 0.0
    leaving: str = "it closed the connection"
    """Why it goes, when it goes."""
    answered: int = 0
    late: int = 0
    refused: int = 0
    """Tasks that ended so,"""
    waits_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_WAITS))
    """and for how long the last ones that were answered waited."""
    carried: CarriedWork = field(default_factory=CarriedWork)
    """How much of a worker it takes up lately."""

    def __str__(self) -> str:
        where = f"{self.address}:{self.port}"
        return where if self.name is None else f"{self.name} ({where})"

    def fields(self) -> dict[str, object]:
        """Who it is, as data."""
        known = {"device": self.name} if self.name is not None else {}
        return {**known, "address": f"{self.address}:{self.port}"}


class Connections:
    """The connections of an edge. All calls are made in the event loop.

    Attributes:
        limits: how many there may be, and how long each may be silent.
        welcomed: how many devices have been, in all.
        ended: how many connections the edge refused or ended, by why: a code's name, or a kind of trouble with TLS.
    """

    def __init__(self, limits: ConnectionLimits, clock: Clock, notes: Notes) -> None:
        self.limits = limits
        self.welcomed = 0
        self.ended: Counter[str] = Counter()
        self._clock, self._notes = clock, notes
        self._strangers: dict[Guest, None] = {}  # in order of arrival
        self._devices: dict[Guest, None] = {}
        self._addresses: Counter[str] = Counter()

    @property
    def devices(self) -> int:
        """How many devices are connected."""
        return len(self._devices)

    def everybody(self) -> list[Guest]:
        """All of them."""
        return [*self._strangers, *self._devices]

    def wait_ms(self) -> float:
        """How long the next one has to wait until there is a place for a stranger."""
        if len(self._strangers) < self.limits.strangers:
            return 0.0
        eldest = next(iter(self._strangers))
        return max(eldest.since_ms + STRANGER_MS - self._clock.now_ms(), 0.0)

    def objection(self, address: str) -> Refusal | None:
        """Why no other device may come from this address, if so."""
        if len(self._devices) >= self.limits.devices:
            return Refusal(Code.BUSY, f"{len(self._devices)} devices are connected, which is all that may")
        if self._addresses[address] >= self.limits.per_address:
            text = f"{self._addresses[address]} devices from {address} are connected, which is all that may"
            return Refusal(Code.BUSY, text)
        return None

    def arrived(self, address: str, port: int) -> Guest:
        """A stranger has come; when there is no place for it, the eldest goes. Its ``close`` is still to be set."""
        if len(self._strangers) >= self.limits.strangers:
            eldest = next(iter(self._strangers))
            self.end(eldest, Code.IDLE, "no HELLO yet, and others wait for the place")
            self.remove(eldest)
        guest = Guest(address, port, self._clock.now_ms())
        self._strangers[guest] = None
        return guest

    def welcome(self, guest: Guest, name: str) -> Refusal | None:
        """A stranger has said HELLO: it is a device now, unless there is no place."""
        guest.name = name
        refusal = self._make_room(guest)
        if refusal is not None:
            guest.name = None
            return refusal
        self._strangers.pop(guest, None)
        self._devices[guest] = None
        self._addresses[guest.address] += 1
        guest.heard_ms = self._clock.now_ms()
        self.welcomed += 1
        self._notes.tell("come", f"edge: {guest} connected", **guest.fields())
        return None

    def _make_room(self, guest: Guest) -> Refusal | None:
        """Have old connections go until this device has a place; why there is none, if so."""
        refusal = self.objection(guest.address)
        old = self._succeeded(guest) if refusal is not None else []
        while refusal is not None and old:
            before = old.pop(0)
            self.end(before, Code.IDLE, "a later connection of this device has taken its place")
            self.remove(before)
            refusal = self.objection(guest.address)
        return refusal

    def _succeeded(self, newest: Guest) -> list[Guest]:
        """Connections that a later one has succeeded, silent for longest first."""
        came_ms = {(it.address, it.name): it.since_ms for it in [*self._devices, newest]}
        longest_ms = self._clock.now_ms() - SUCCEEDED_MS

        def succeeded(it: Guest) -> bool:
            later_ms = came_ms[it.address, it.name]
            return it.since_ms < later_ms and it.heard_ms <= min(later_ms, longest_ms)

        old = [it for it in self._devices if succeeded(it)]
        if self._addresses[newest.address] >= self.limits.per_address:
            old = [it for it in old if it.address == newest.address]
        return sorted(old, key=lambda it: it.heard_ms)

    def refused(self, guest: Guest, refusal: Refusal) -> None:
        """A device's task is refused."""
        text = f"edge: a task of {guest} refused: {refusal.text}"
        self._notes.tell(f"task {refusal.code.name}", text, reason=refusal.text, **guest.fields())

    def turned_away(self, where: str, refusal: Refusal) -> None:
        """Somebody is not even let in."""
        self.ended[refusal.code.name.lower()] += 1
        fields = {"address": where, "code": refusal.code.name.lower(), "reason": refusal.text}
        self._notes.tell("refused", f"edge: {where} refused: {refusal.text}", **fields)

    def end(self, guest: Guest, code: Code, text: str) -> None:
        """Close a connection with a word why."""
        self.ended[code.name.lower()] += 1
        guest.leaving = text
        guest.close(code, text)

    def no_tls(self, guest: Guest, kind: str, text: str) -> None:
        """A stranger with whom there is no TLS goes."""
        self.ended[kind] += 1
        guest.leaving = text
        self.remove(guest)

    def remove(self, guest: Guest) -> None:
        """A connection is gone."""
        if guest in self._devices:
            del self._devices[guest]
            self._addresses[guest.address] -= 1
            if not self._addresses[guest.address]:
                del self._addresses[guest.address]
        elif guest in self._strangers:
            del self._strangers[guest]
        else:
            return
        kind = "refused" if guest.name is None else "gone"
        fields = guest.fields() | {"reason": guest.leaving}
        self._notes.tell(kind, f"edge: {guest} {kind}: {guest.leaving}", **fields)

    def check_tokens(self, accepted: Callable[[bytes], bool]) -> None:
        """Have those go whose token is accepted no more."""
        for guest in [g for g in self._devices if not accepted(g.token)]:
            self.end(guest, Code.TOKEN, "its token is accepted no more")

    def check(self) -> None:
        """Have those go that have been silent for too long; to be called now and then."""
        now = self._clock.now_ms()
        for guest in [g for g in self._strangers if now - g.since_ms > self.limits.hello_ms]:
            self.end(guest, Code.IDLE, f"no HELLO within {self.limits.hello_ms / 1000.0:.0f} s")
        for guest in [g for g in self._devices if now - g.heard_ms > self.limits.idle_ms]:
            self.end(guest, Code.IDLE, f"nothing came for {self.limits.idle_ms / 1000.0:.0f} s")
