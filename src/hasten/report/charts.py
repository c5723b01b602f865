"""Charts to explore: lines over a common axis, which a page draws with uPlot. Hover, zoom, and a legend that switches.

They hold numbers and plain texts only; a page escapes what it says of them. Colours are names of the page's palette,
so that they fit a light and a dark page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Style = Literal["line", "dashed", "dotted", "steps", "dots", "rings"]

TONES = 9
"""The palette has so many colours for things compared: ``c0`` to ``c8``. Others are ``text``, ``soft`` and ``bad``."""
EXIT_TONES = 8
"""And so many for exits, early to late: ``e0`` to ``e7``."""


@dataclass(frozen=True)
class ChartLine:
    """One line, or one kind of points, with a value (n,) at each x; NaN where it has none."""

    label: str
    y: FloatArray
    tone: str
    style: Style = "line"
    band: tuple[FloatArray, FloatArray] | None = None
    """Lower and upper end (n,) of an interval around it."""
    fill: bool = False
    """Whether the area below is filled."""


@dataclass(frozen=True)
class Chart:
    """Lines over a common axis ``x`` (n,), which does not fall."""

    x: FloatArray
    lines: Sequence[ChartLine]
    x_label: str
    y_label: str
    title: str = ""
    low: float | None = None
    """Ends of the y axis; None: as the values have it."""
    high: float | None = None
    digits: int = 3
    """Of values that are read off."""
    marks: Mapping[float, str] = field(default_factory=dict)
    """Lines across, at values of x."""
    names: Mapping[float, str] = field(default_factory=dict)
    """What values of y are called, where they are not read as numbers."""
    notes: Sequence[str] = ()
    """What there is to say at each x, beside the values."""
    height: int = 260
    """Pixels."""

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "x": _numbers(self.x, 8),
            "lines": [_line(line) for line in self.lines],
            "xLabel": self.x_label,
            "yLabel": self.y_label,
            "title": self.title,
            "low": self.low,
            "high": self.high,
            "digits": self.digits,
            "marks": [[float(x), text] for x, text in self.marks.items()],
            "names": [[float(y), text] for y, text in self.names.items()],
            "notes": list(self.notes),
            "height": self.height,
        }


def tone(number: int) -> str:
    """The colour of the ``number``-th thing that is compared."""
    return f"c{number % TONES}"


def exit_tone(number: int, deepest: int) -> str:
    """The colour of an exit (from 1) of a network whose last is ``deepest``."""
    return f"e{round((EXIT_TONES - 1) * (number - 1) / max(deepest - 1, 1))}"


def charts_json(charts: Sequence[Chart]) -> str:
    """Charts as JSON that may stand inside a ``script`` element: it cannot end it, whatever the texts are."""
    text = json.dumps([chart.plain() for chart in charts], allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _line(line: ChartLine) -> dict[str, Any]:
    found = {"label": line.label, "tone": line.tone, "style": line.style, "fill": line.fill, "y": _numbers(line.y, 5)}
    if line.band is not None:
        found["band"] = [_numbers(end, 5) for end in line.band]
    return found


def _numbers(values: FloatArray, digits: int) -> list[float | int | None]:
    """Rounded to significant digits; whole numbers without a point, None for what is none."""
    rounded = [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in values.tolist()]
    return [int(value) if value is not None and value.is_integer() else value for value in rounded]
