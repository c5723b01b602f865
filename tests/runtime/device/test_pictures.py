"""From pictures to frames: the right part, the right order of channels, the right numbers."""

from __future__ import annotations

import numpy as np
import pytest

from hasten.core.errors import HastenError, InputError
from hasten.runtime.device.pictures import PictureFit, centre
from hasten.split.manifest import TensorSpec

pytest.importorskip("cv2")
BLUE, GREEN, RED = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def fit(shape, dtype):
    return PictureFit([TensorSpec(name="x", shape=shape, dtype=dtype)])


def painted(height, width, colour):
    return np.full((height, width, 3), colour, np.uint8)


@pytest.mark.parametrize(("colour", "channel"), [(RED, 0), (GREEN, 1), (BLUE, 2)])
def test_red_comes_first_wherever_the_channels_are(colour, channel):
    first, last = (
        fit((3, 8, 6), "uint8").frame(painted(20, 30, colour)),
        fit((8, 6, 3), "float32").frame(painted(20, 30, colour)),
    )
    assert first.shape == (3, 8, 6) and first.dtype == np.uint8 and first.flags.c_contiguous
    assert last.shape == (8, 6, 3) and last.dtype == np.float32
    for number in range(3):
        assert (first[number] == 255 * (number == channel)).all()
        assert (last[..., number] == float(number == channel)).all()


def test_one_channel_is_grey_as_the_eye_weighs_colours():
    grey = fit((1, 4, 4), "float32").frame(painted(4, 4, GREEN))
    assert grey.shape == (1, 4, 4) and grey == pytest.approx(0.587, abs=0.01)


@pytest.mark.parametrize(("size", "part"), [((10, 30), (10, 10)), ((30, 10), (10, 10)), ((7, 7), (7, 7))])
def test_the_largest_centred_part_is_taken(size, part):
    picture = np.arange(size[0] * size[1] * 3).reshape(*size, 3)
    found = centre(picture, 1.0)
    assert found.shape == (*part, 3)
    top, left = (size[0] - part[0]) // 2, (size[1] - part[1]) // 2
    assert (found == picture[top : top + part[0], left : left + part[1]]).all()


def test_what_is_cut_off_does_not_show():
    picture = painted(10, 30, GREEN)
    picture[:, :10], picture[:, 20:] = RED, BLUE
    frame = fit((3, 5, 5), "uint8").frame(picture)
    assert (frame[1] == 255).all() and not frame[[0, 2]].any()


@pytest.mark.parametrize(("shape", "dtype"), [((4, 8, 8), "uint8"), ((3, 8), "uint8"), ((3, 8, 8), "int64")])
def test_inputs_that_are_no_pictures_are_named(shape, dtype):
    with pytest.raises(
        InputError, match=r"1 or 3 channels, first or last, uint8 or float32; others by MODULE:FUNCTION"
    ):
        fit(shape, dtype)


def test_without_opencv_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(HastenError, match=r"pip install 'hasten\[camera\]'"):
        fit((3, 8, 8), "uint8")
