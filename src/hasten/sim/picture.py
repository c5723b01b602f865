"""A picture of a decision, drawn with numpy alone: backlogs, what options are predicted to take, what was decided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hasten.core.options import OptionTable
from hasten.features.layout import ActionLayout, StateFeature
from hasten.sim.pixel_font import write

Picture = NDArray[np.uint8]

HEIGHT, WIDTH = 360, 640
"""Of a picture (HEIGHT, WIDTH, 3), uint8, RGB."""
LONGEST = 2.0
"""Times are drawn up to so many deadlines."""
BACKGROUND, INK, SOFT, GRID = (255, 255, 255), (28, 33, 40), (89, 99, 110), (233, 237, 241)
DEVICE, UPLINK, EDGE, DEADLINE = (59, 116, 209), (199, 127, 10), (31, 143, 99), (180, 35, 53)
BACKLOGS = (
    ("device", StateFeature.DEVICE_WAIT, DEVICE),
    ("others", StateFeature.OTHERS_MEAN_WAIT, DEVICE),
    ("uplink", StateFeature.UPLINK_WAIT, UPLINK),
    ("edge", StateFeature.EDGE_WAIT, EDGE),
)
LEFT, RIGHT, BACKLOG_WIDTH, OPTION_X = 12, 84, 130, 330


@dataclass(frozen=True)
class Decided:
    """The last decision: whose task, what was chosen, and the reward of that step."""

    stream: int
    exit: int
    """0: dropped."""
    partition: int
    reward: float


@dataclass(frozen=True)
class Scene:
    """What is drawn: the task that is to be decided, as the observation (F,) and the mask (J+1,) tell of it."""

    number: int
    """Of the episode, from 0."""
    stream: int
    observation: NDArray[np.float32]
    mask: NDArray[np.int8]
    options: OptionTable
    """(M, J)"""


def draw(scene: Scene, last: Decided | None) -> Picture:
    """The picture, (HEIGHT, WIDTH, 3). Times are shares of the deadline; a red line is the deadline."""
    picture = np.full((HEIGHT, WIDTH, 3), BACKGROUND, dtype=np.uint8)
    write(picture, LEFT, 12, f"task {scene.number + 1}, stream {scene.stream + 1}", INK, 3)
    write(picture, LEFT, HEIGHT - 24, f"last: {_told(last)}", INK, 2)
    _backlogs(picture, scene)
    _options(picture, scene)
    return picture


def _told(last: Decided | None) -> str:
    if last is None:
        return "none"
    chosen = f"exit {last.exit}, partition {last.partition}" if last.exit else "dropped"
    return f"stream {last.stream + 1}, {chosen}, reward {last.reward:.2f}"


def _backlogs(picture: Picture, scene: Scene) -> None:
    write(picture, LEFT, 48, "backlog / deadline", SOFT)
    y = 70
    for name, feature, colour in BACKLOGS:
        write(picture, LEFT, y + 5, name, INK)
        _bar(picture, RIGHT, y, BACKLOG_WIDTH, 20, float(scene.observation[feature]) / LONGEST, colour)
        write(picture, RIGHT + BACKLOG_WIDTH + 8, y + 5, f"{scene.observation[feature]:.2f}", INK)
        y += 30
    x = RIGHT + round(BACKLOG_WIDTH / LONGEST)
    picture[66:y, x : x + 2] = DEADLINE
    write(picture, LEFT, y + 16, "rate, from 0 to 1", SOFT)
    _bar(picture, RIGHT, y + 34, BACKLOG_WIDTH, 20, float(scene.observation[StateFeature.RATE]), UPLINK)
    write(picture, RIGHT + BACKLOG_WIDTH + 8, y + 39, f"{scene.observation[StateFeature.RATE]:.2f}", INK)


def _options(picture: Picture, scene: Scene) -> None:
    """A row for each of the stream's options: its bar ends when the answer is predicted; allowed ones are blue.

    Of several edges its own stands behind the partition.
    """
    layout, table = ActionLayout(scene.options.exit.shape[1]), scene.options
    latencies, gains = scene.observation[layout.latencies], scene.observation[layout.gains]
    count, several = int(table.count[scene.stream]), bool(table.edge.any())
    write(picture, OPTION_X, 48, "predicted latency / deadline, gain", SOFT)
    top, height = 70, HEIGHT - 70 - 36
    step = max(min(height // max(count, 1), 24), 2)
    width, x = WIDTH - OPTION_X - 72 - 56, OPTION_X + 72
    shown = min(count, height // step)
    for j in range(shown):
        y = top + j * step
        colour = DEVICE if scene.mask[j] else (195, 202, 210)
        _bar(picture, x, y, width, max(step - 3, 1), float(latencies[j]) / LONGEST, colour)
        if step >= 12:
            text = f"E{table.exit[scene.stream, j]} P{table.partition[scene.stream, j]}"
            if several:
                text += f"/{table.edge[scene.stream, j]}"
            write(picture, OPTION_X, y + (step - 13) // 2, text, INK if scene.mask[j] else SOFT)
            write(picture, x + width + 8, y + (step - 13) // 2, f"{gains[j]:.2f}", INK if scene.mask[j] else SOFT)
    line = x + round(width / LONGEST)
    picture[top - 4 : top + shown * step, line : line + 2] = DEADLINE


def _bar(picture: Picture, x: int, y: int, width: int, height: int, share: float, colour: tuple[int, int, int]) -> None:
    picture[y : y + height, x : x + width] = GRID
    picture[y : y + height, x : x + round(width * min(max(share, 0.0), 1.0))] = colour
