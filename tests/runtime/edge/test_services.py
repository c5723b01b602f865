"""Which packages an edge serves, and when one that is retired is let go of."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hasten.core.errors import InputError
from hasten.runtime.edge.services import LINGERS_MS, Services
from hasten.runtime.wire.handshake import MAX_TEXT_BYTES


def served(number, name="net"):
    digest = f"{number:064x}"[::-1]
    package = SimpleNamespace(digest=digest, manifest=SimpleNamespace(name=name))
    return SimpleNamespace(digest=bytes.fromhex(digest), package=package)


def test_a_retired_package_stays_for_its_devices_and_a_while_longer():
    old, new = served(1), served(2)
    services = Services([old])
    services.enter(old)
    services.add(new)
    services.retire(old.digest, 0.0)
    assert services.let_go(1e9) == [] and services.find(old.digest) is old
    services.enter(old)  # one comes back, or another
    services.leave(old, 1e9)
    assert services.let_go(2e9) == []
    services.leave(old, 2e9)
    assert services.let_go(2e9 + LINGERS_MS - 1.0) == []
    assert services.let_go(2e9 + LINGERS_MS) == [old]
    assert services.find(old.digest) is None and services.all == [new]
    assert services.let_go(3e9) == []


def test_one_that_nobody_has_goes_after_a_while_and_one_that_is_added_again_stays():
    old, new = served(1), served(2)
    services = Services([old, new])
    services.retire(old.digest, 5.0)
    services.retire(new.digest, 5.0)
    services.add(new)
    assert services.let_go(5.0 + LINGERS_MS) == [old]
    assert services.all == [new]


def test_a_device_with_another_package_is_told_what_is_served_and_what_to_do():
    services = Services([served(number, f"net{number}") for number in range(1, 6)])
    services.retire(served(5).digest, 0.0)
    text = services.objection(served(9).digest)
    assert "got package 900000000000" in text and "net4 400000000000 and 1 more" in text
    assert "net5" not in text and "net1" not in text
    assert "hasten device --watch" in text and "hasten edge --watch" in text
    longest = Services([served(number, "n" * 64) for number in range(1, 6)]).objection(served(9).digest)
    assert len(longest.encode()) < MAX_TEXT_BYTES


def test_an_edge_begins_with_a_package():
    with pytest.raises(InputError, match=r"packages: got \[\], expected at least one"):
        Services([])
