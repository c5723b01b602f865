"""What a device tells once: kinds of things, not texts, and not without end."""

from __future__ import annotations

from hasten.runtime.device.endings import MOST_KINDS, Teller


def test_kinds_that_never_end_are_told_of_up_to_a_number():
    said = []
    teller = Teller(said.append)
    for kind in range(3 * MOST_KINDS):
        for _ in range(2):
            teller.once(f"kind {kind}", f"{kind}")
    assert said == [str(kind) for kind in range(MOST_KINDS)]
    assert len(teller._told) == MOST_KINDS
