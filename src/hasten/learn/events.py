"""Learning curves as TensorBoard event files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hasten.learn.curve import Point
from hasten.learn.train import OnPoint


@contextmanager
def event_writer(folder: str | Path | None, on_point: OnPoint | None) -> Iterator[OnPoint | None]:
    """Yield what writes every point to ``folder``, then tells ``on_point``; without a folder ``on_point`` itself."""
    if folder is None:
        yield on_point
        return
    from tensorboardX import SummaryWriter  # only who writes events needs it

    with SummaryWriter(str(folder)) as writer:

        def write(point: Point) -> None:
            for tag, value in scalars(point).items():
                writer.add_scalar(tag, value, point.updates)
            writer.flush()
            if on_point is not None:
                on_point(point)

        yield write


def scalars(point: Point) -> dict[str, float]:
    """A point's numbers under TensorBoard's slash-grouped names."""
    score = point.score
    return {
        "eval/gain": score.gain,
        "eval/gain_over_greedy": score.gain / max(score.greedy, 1e-9),
        "eval/share_of_plan": score.share,
        "eval/commonest_action_share": score.commonest,
        "train/loss": point.loss,
        "train/largest_value": point.largest_value,
        "train/explore": point.explore,
        "time/transitions": point.transitions,
        "time/seconds": point.seconds,
    }
