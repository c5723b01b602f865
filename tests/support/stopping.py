"""A profile whose tasks may stop early, with stops that are easy to reckon with."""

from __future__ import annotations

from typing import Any

from hasten.core.profile import Profile

EASY = {1: 0.4, 2: 0.3}
"""Of tasks for a later exit the share that stops at each."""
RIGHT_EARLY, RIGHT_LATE = 0.96, 0.85
"""Of those that stop early, and of those that go all the way."""
LOSS = 0.01


def confidence(after_block: list[int], thresholds: list[float | None]) -> dict[str, Any]:
    """What a package says that stops at exits 1 and 2 where these have thresholds."""
    outcomes = []
    for e, after in enumerate(after_block, start=1):
        shares = [EASY[k] if k in EASY and thresholds[k - 1] is not None else 0.0 for k in range(1, e)]
        shares.append(1.0 - sum(shares))
        accuracies = [RIGHT_EARLY] * (e - 1) + [RIGHT_LATE]
        outcomes.append([{"shares": shares, "accuracies": accuracies}] * (after + 1))
    return {"max_accuracy_loss": LOSS, "thresholds": thresholds, "outcomes": outcomes}


def stopping_profile(**given: Any) -> Profile:
    """Three exits behind blocks 1, 3 and 4; tasks may stop at the first two."""
    blocks = [
        {"name": f"b{i}", "device_ms": 10.0, "edge_ms": 1.0, "output_bytes": 1000, "encode_ms": 0.5}
        for i in range(1, 5)
    ]
    heads = [(1, 0.6, 2.0), (3, 0.8, 3.0), (4, 0.9, 4.0)]
    exits = [
        {"name": f"e{after}", "after_block": after, "accuracy": accuracy, "device_ms": ms, "edge_ms": ms / 10}
        for after, accuracy, ms in heads
    ]
    return Profile.model_validate(
        {
            "schema": "hasten.profile/1", "name": "stopping", "source": "made up", "input_bytes": 4000,
            "input_encode_ms": 0.5, "blocks": blocks, "exits": exits,
            "confidence": confidence([1, 3, 4], [0.9, 0.8, None]),
        } | given
    )  # fmt: skip
