"""Which codec a cut gets when building chooses: the smallest that costs less than 0.3 points of accuracy there.

Sizes are means over some inputs. A codec's zstd form is tried instead of its plain form where it saves a hundredth.
Then the smallest is tried on the held-out data, and the next where it costs too much; lossless float32 ends the row.
Nothing depends on measured time, so the same build chooses the same.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

AUTO = "auto"
"""In place of a codec's name: chosen cut by cut."""

MAX_LOSS = 0.003
"""The share of answers that a chosen codec may cost at any exit behind its cut."""

DEVIATIONS = 2.0
"""A codec's effect on accuracy is stated from so many standard deviations of what chance alone would show."""

_LOSSLESS = "float32"
_ZSTD = "-zstd"
_WORTH = 0.99


def ranked(sizes: Mapping[str, float]) -> list[str]:
    """Codecs to try, smallest first, up to the lossless one.

    Args:
        sizes: mean payload in bytes by codec; those that cannot code the cut are absent, ``float32`` never is.
    """
    forms = []
    for plain in (name for name in sizes if not name.endswith(_ZSTD)):
        packed = plain + _ZSTD
        forms.append(packed if sizes.get(packed, np.inf) < _WORTH * sizes[plain] else plain)
    order = sorted(forms, key=lambda name: sizes[name])  # stable: the first of equals stays first
    end = next(place for place, name in enumerate(order) if name.removesuffix(_ZSTD) == _LOSSLESS)
    return order[: end + 1]


def costs_too_much(right: NDArray[np.float64], coded_right: NDArray[np.float64]) -> bool:
    """Whether some exit loses more than :data:`MAX_LOSS`, and chance is not the likely reason.

    It is not where the loss is :data:`DEVIATIONS`, and so will be stated, or exceeds the limit by one deviation.

    Both arguments are scores 0..1 (N, E) of the same inputs, without and with the codec. Only scores that changed
    count: the sum of their squares is the variance of the sum of changes. Of 1,000 inputs that were right 4 may be
    lost with none gained, of 30 one.
    """
    changes = coded_right - right
    lost, chance, allowed = -changes.sum(axis=0), np.sqrt((changes**2).sum(axis=0)), MAX_LOSS * len(right)
    return bool((lost > np.minimum(allowed + chance, np.maximum(allowed, DEVIATIONS * chance))).any())
