"""Who may be connected to an edge and for how long, in virtual time and without sockets."""

from __future__ import annotations

import pytest

from hasten.core.errors import InputError
from hasten.runtime.edge.connections import (
    SPARE_DESCRIPTORS,
    STRANGER_MS,
    SUCCEEDED_MS,
    ConnectionLimits,
    Connections,
    fitting,
)
from hasten.runtime.edge.served import Refusal
from hasten.runtime.notes import Notes
from hasten.runtime.wire.frames import Code


class Door:
    """Connections, and those that were closed: (guest, code)."""

    def __init__(self, clock, **limits):
        self.clock, self.closed, self.said = clock, [], []
        self.connections = Connections(ConnectionLimits(**limits), clock, Notes(self.said.append, clock.now_ms))

    def stranger(self, address="10.0.0.1"):
        guest = self.connections.arrived(address, 4000)

        def close(code, text):
            self.closed.append((guest, code))
            self.connections.remove(guest)  # as its socket will

        guest.close = close
        return guest

    def device(self, address="10.0.0.1", name="cam"):
        guest = self.stranger(address)
        return guest if self.connections.welcome(guest, name) is None else None


def test_strangers_never_take_the_places_of_devices(clock):
    door = Door(clock, devices=4, strangers=3)
    devices = [door.device("10.0.0.1"), door.device("10.0.0.2")]
    flood = [door.stranger() for _ in range(50)]
    assert [guest for guest, _ in door.closed] == flood[:47]
    assert door.connections.devices == 2
    assert door.device("10.0.0.3") is not None  # a newcomer that says HELLO gets in during the flood
    assert not any(guest in devices for guest, _ in door.closed)


def test_a_stranger_has_a_moment_to_say_hello(clock):
    door = Door(clock, strangers=2)
    door.stranger()
    assert door.connections.wait_ms() == 0.0
    clock.run(20.0)
    door.stranger()
    assert door.connections.wait_ms() == pytest.approx(STRANGER_MS - 20.0)
    clock.run(STRANGER_MS)
    assert door.connections.wait_ms() == 0.0


def test_a_stranger_that_says_nothing_goes(clock):
    door = Door(clock)
    guest = door.stranger()
    clock.run(4_900.0)
    door.connections.check()
    assert door.closed == []
    clock.run(200.0)
    door.connections.check()
    assert door.closed == [(guest, Code.IDLE)]
    assert door.said == ["edge: 10.0.0.1:4000 refused: no HELLO within 5 s"]


def test_a_device_that_has_vanished_goes_and_one_that_pings_stays(clock):
    door = Door(clock)
    vanished, alive = door.device(name="vanished"), door.device(name="alive")
    for _ in range(13):
        clock.run(10_000.0)
        alive.heard_ms = clock.now_ms()
        door.connections.check()
    assert door.closed == [(vanished, Code.IDLE)]
    assert door.connections.devices == 1
    assert door.said[-1] == "edge: vanished (10.0.0.1:4000) gone: nothing came for 120 s"


def test_a_device_that_comes_back_takes_the_place_of_its_dead_connection_where_all_are_taken(clock):
    door = Door(clock, devices=4)
    cam, other = door.device(), door.device(name="other")  # all places of this address
    clock.run(SUCCEEDED_MS - 1.0)
    assert door.device() is None  # its twin was heard of just now
    clock.run(1.0)
    assert door.device(name="third") is None  # nobody else takes a place
    assert door.device("10.0.0.2") is not None and door.closed == []  # there is a place, and nobody has to go
    back = door.device()
    assert back is not None and door.closed == [(cam, Code.IDLE)]
    assert door.connections.devices == 3 and other in door.connections.everybody()
    clock.run(SUCCEEDED_MS)
    assert door.device(name="fifth") is None  # silent, but nobody has come after them


def test_what_a_device_left_behind_takes_no_place_from_others(clock):
    door = Door(clock, devices=4)
    dead = door.device()
    clock.run(10.0)
    back = door.device()
    clock.run(SUCCEEDED_MS)
    assert door.device(name="other") is not None and door.closed == [(dead, Code.IDLE)]
    assert back in door.connections.everybody()


def test_devices_are_limited_in_all_and_per_address(clock):
    door = Door(clock, devices=4)
    assert door.device("10.0.0.1") and door.device("10.0.0.1")
    assert door.device("10.0.0.1") is None
    assert "2 devices from 10.0.0.1" in door.connections.objection("10.0.0.1").text
    first = door.device("10.0.0.2")
    assert first and door.device("10.0.0.3")
    assert "4 devices are connected" in door.connections.objection("10.0.0.4").text
    door.connections.remove(first)
    door.connections.remove(first)  # once is enough
    assert door.connections.objection("10.0.0.4") is None
    assert door.connections.welcomed == 4


def test_who_comes_goes_and_is_refused_is_told(clock):
    door = Door(clock)
    guest = door.device(name="cam-1")
    door.connections.refused(guest, Refusal(Code.CUT, "no such cut"))
    door.connections.remove(guest)
    door.connections.turned_away("10.0.0.9:1", Refusal(Code.BUSY, "full"))
    assert door.said == [
        "edge: cam-1 (10.0.0.1:4000) connected",
        "edge: a task of cam-1 (10.0.0.1:4000) refused: no such cut",
        "edge: cam-1 (10.0.0.1:4000) gone: it closed the connection",
        "edge: 10.0.0.9:1 refused: full",
    ]


def test_limits_fit_the_file_descriptors():
    assert fitting(1000, 100_000) == ConnectionLimits(1000, 64)
    tight = fitting(1000, 64)
    assert tight.devices + tight.strangers == 64 - SPARE_DESCRIPTORS
    assert tight.devices > 30
    with pytest.raises(InputError, match="file descriptors"):
        fitting(10, SPARE_DESCRIPTORS + 1)
    with pytest.raises(InputError, match="max-devices"):
        fitting(0, 1000)
