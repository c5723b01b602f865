from dataclasses import replace

import numpy as np
import pytest

from hasten.networks import digits
from hasten.networks.digits import CANVAS, Clutter, cluttered, digits_by_part

CLEAN = Clutter(fragments=0, noise=0.0, background=(0.0, 0.0), ink=(1.0, 1.0))


@pytest.fixture(scope="module")
def parts():
    return digits_by_part()


def bilinear(digit, size, top, left, row, column):
    """The value of one canvas pixel, by the definition of bilinear interpolation with empty surroundings."""
    y = (row + 0.5 - top) * 8 / size - 0.5
    x = (column + 0.5 - left) * 8 / size - 0.5
    value = 0.0
    for i in range(8):
        for j in range(8):
            value += digit[i, j] * max(0.0, 1 - abs(y - i)) * max(0.0, 1 - abs(x - j))
    return value


def test_parts_share_no_original(parts):
    seen = [{image.tobytes() for image in images} for images, _ in parts.values()]
    assert [len(images) for images, _ in parts.values()] == [1197, 200, 400]
    assert not (seen[0] & seen[2] or seen[0] & seen[1] or seen[1] & seen[2])


def test_paste_is_bilinear_interpolation(parts):
    images = parts["train"][0][:2]
    size, corner = np.array([27.3, 33.0]), np.array([[4.2, 0.0], [20.7, 31.0]])
    drawn = digits.paste(images, size, corner)
    for which in range(2):
        for row in range(0, CANVAS, 5):
            for column in range(0, CANVAS, 5):
                wanted = bilinear(images[which], size[which], *corner[:, which], row, column)
                assert drawn[which, row, column] == pytest.approx(wanted, abs=1e-5)


def test_window_keeps_only_its_square(parts):
    images = parts["train"][0][:1]
    size, corner, window, side = np.array([40.0]), np.zeros((2, 1)), np.array([[8.0], [16.0]]), np.array([12.0])
    whole, cut = digits.paste(images, size, corner), digits.paste(images, size, corner, window, side)
    np.testing.assert_array_equal(cut[0, 8:20, 16:28], whole[0, 8:20, 16:28])
    cut[0, 8:20, 16:28] = 0
    assert not cut.any()


def test_equal_seeds_give_equal_pictures(parts):
    first, labels = cluttered(*parts["val"], 50, seed=3)
    again, _ = cluttered(*parts["val"], 50, seed=3)
    other, _ = cluttered(*parts["val"], 50, seed=4)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.shape == (50, 1, CANVAS, CANVAS) and first.dtype == np.uint8 and labels.shape == (50,)


def test_every_original_is_used_before_one_is_used_again(parts):
    images, labels = parts["val"]
    numbers = np.arange(len(labels))
    _, used = cluttered(images, numbers, 500, seed=0)
    counts = np.bincount(used, minlength=200)
    assert counts.min() == 2 and counts.max() == 3


def test_the_whole_digit_is_on_the_canvas(parts):
    images, labels = parts["val"]
    drawn, _ = cluttered(images, labels, 200, 0, CLEAN)
    small, _ = cluttered(images, labels, 200, 0, replace(CLEAN, digit_px=(26, 26)))
    assert (drawn.reshape(200, -1).max(axis=1) > 200).all()
    ink = small.reshape(200, -1).sum(axis=1).mean() / 255
    assert ink == pytest.approx(images.sum(axis=(1, 2)).mean() * (26 / 8) ** 2, rel=0.05)


def test_fragments_come_from_the_given_originals_only(parts):
    blank = np.zeros((5, 8, 8), np.float32)
    drawn, _ = cluttered(blank, np.zeros(5, np.int64), 20, 0, replace(CLEAN, fragments=8))
    assert not drawn.any()
    full, _ = cluttered(np.concatenate([blank, blank + 1]), np.arange(10), 20, 0, replace(CLEAN, fragments=8))
    assert (full.reshape(20, -1).max(axis=1) == 255).all()


def test_a_frame_hardly_compresses(parts):
    zstd = pytest.importorskip("backports.zstd")
    drawn, _ = cluttered(*parts["val"], 50, 0)
    assert np.mean([len(zstd.compress(frame.tobytes(), 1)) for frame in drawn]) > 3000
