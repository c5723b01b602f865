"""Make the links of ``examples/two-edges.yaml``: what two access points give to somebody who walks between them.

``python scripts/two_edges_traces.py`` writes ``examples/traces/west.csv`` and ``east.csv``. One round is a minute: from
beside the western point to beside the eastern one, a while there, and back. A rate falls with the square of the
distance, ripples (a first-order Gauss-Markov factor), and is nothing out of range. The recordings repeat.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

STEP_S = 0.5
ROUND_S = 60.0
NEAR_MBPS = 24.0
HALF_WAY = 0.33
"""At this share of the way between the points a rate is half of what it is beside its point."""
RANGE = 0.8
"""Farther away, as a share of the way, there is no link."""
RIPPLE, MEMORY = 0.25, 0.8

FOLDER = Path(__file__).parent.parent / "examples" / "traces"


def walk() -> np.ndarray:
    """(S,): where the device is at each step, 0 in the west and 1 in the east."""
    phase = np.arange(0.0, ROUND_S, STEP_S) / ROUND_S
    return np.clip(1.5 - np.abs(4.0 * phase - 2.0), 0.0, 1.0)


def rates(distance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(S,): Mbit/s at these distances."""
    ripple, factor = np.zeros(len(distance)), 0.0
    for i, noise in enumerate(rng.standard_normal(len(distance))):
        factor = MEMORY * factor + RIPPLE * np.sqrt(1.0 - MEMORY**2) * noise
        ripple[i] = np.exp(factor)
    mbps = NEAR_MBPS / (1.0 + (distance / HALF_WAY) ** 2) * ripple
    return np.where(distance <= RANGE, mbps, 0.0)


def main() -> None:
    """Write both recordings."""
    FOLDER.mkdir(exist_ok=True)
    place = walk()
    for number, (name, distance) in enumerate({"west": place, "east": 1.0 - place}.items()):
        mbps = rates(distance, np.random.default_rng(number))
        lines = [f"{STEP_S * i:.1f},{rate:.2f}" for i, rate in enumerate(mbps)]
        (FOLDER / f"{name}.csv").write_text("\n".join(["time_s,uplink_mbps", *lines]) + "\n")


if __name__ == "__main__":
    main()
