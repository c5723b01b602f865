"""Letters of 3 x 5 pixels, for pictures that are made without a drawing library."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HEIGHT, ADVANCE = 5, 4
"""Pixels of a letter, and from one to the next, before scaling."""
# Five rows of three pixels, an octal digit each.
_ROWS = {
    " ": "00000", "A": "25755", "B": "65656", "C": "34443", "D": "65556", "E": "74647", "F": "74644", "G": "34553",
    "H": "55755", "I": "72227", "J": "11152", "K": "55655", "L": "44447", "M": "57755", "N": "65555", "O": "25552",
    "P": "65644", "Q": "25563", "R": "65655", "S": "34216", "T": "72222", "U": "55557", "V": "55552", "W": "55775",
    "X": "55255", "Y": "55222", "Z": "71247", "0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711",
    "5": "74717", "6": "74757", "7": "71111", "8": "75757", "9": "75717", ".": "00002", ",": "00024", ":": "02020",
    "-": "00700", "=": "07070", "%": "51245", "/": "11244", ">": "42124", "(": "24442", ")": "21112", "?": "71202",
}  # fmt: skip


def write(picture: NDArray[np.uint8], x: int, y: int, text: str, colour: tuple[int, int, int], scale: int = 2) -> None:
    """Write ``text``, in capitals, into a picture (H, W, 3) from its upper left corner on; what is outside is cut off.

    What there is no letter for becomes a question mark.
    """
    for number, letter in enumerate(text.upper()):
        rows = [int(digit) for digit in _ROWS.get(letter, _ROWS["?"])]
        on = np.array([[row >> 2 & 1, row >> 1 & 1, row & 1] for row in rows], dtype=np.bool_)
        on = on.repeat(scale, axis=0).repeat(scale, axis=1)
        left = x + number * ADVANCE * scale
        part = picture[y : y + on.shape[0], left : left + on.shape[1]]
        part[on[: part.shape[0], : part.shape[1]]] = colour
