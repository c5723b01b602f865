"""A loop over frames: `python examples/frames_loop.py my.hasten [HOST:PORT]`."""

from __future__ import annotations

import sys
from collections import Counter

import hasten as hs


def main(package: str, edge: str | None = None) -> Counter[str]:
    """Answer the package's own samples one after another, and count how it went."""
    frames, labels = hs.open_package(package).samples()
    counts: Counter[str] = Counter()
    with hs.Device(package, edge=edge, deadline_ms=200, on_event=lambda event: print(event.text)) as device:
        for frame, label in zip(frames, labels, strict=True):
            answer = device.infer(frame)
            counts["correct"] += int(answer.label == label)
            counts[answer.outcome] += 1
    return counts


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    print(main(*sys.argv[1:]))
