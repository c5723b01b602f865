"""What is a frame of a package, and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from hasten.core.errors import InputError
from hasten.runtime.device.inputs import FrameInput
from hasten.split.manifest import TensorSpec

INPUT = FrameInput([TensorSpec(name="x", shape=(2, 3), dtype="float32")])


def test_a_frame_is_taken_with_and_without_its_batch_axis_and_copied_if_asked():
    frame = np.arange(6, dtype=np.float32).reshape(2, 3)
    for given in (frame, frame[None], {"x": frame}):
        (batch,) = INPUT.batch(given, copy=False)
        assert batch.shape == (1, 2, 3) and np.shares_memory(batch, frame)
        assert not np.shares_memory(INPUT.batch(given, copy=True)[0], frame)
    turned = np.asfortranarray(frame)
    for copy in (False, True):
        (batch,) = INPUT.batch(turned, copy)
        assert batch.flags.c_contiguous and (batch[0] == frame).all()


def test_large_finite_numbers_are_finite():
    assert INPUT.batch(np.full((2, 3), 3e38, np.float32), copy=False)[0].max() == np.float32(3e38)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(bad):
    frame = np.ones((2, 3), np.float32)
    frame[1, 2] = bad
    with pytest.raises(InputError, match=rf"frame: got {bad}, expected finite numbers"):
        INPUT.batch(frame, copy=False)


@pytest.mark.parametrize(
    ("given", "got"),
    [
        (np.ones((3, 2), np.float32), r"'float32\[3, 2\]'"),
        (np.ones((2, 3)), r"'float64\[2, 3\]'"),
        (np.ones((2, 3), ">f4"), r"'>f4\[2, 3\]'"),
        (np.ones((1, 1, 2, 3), np.float32), r"'float32\[1, 1, 2, 3\]'"),
        (None, "'NoneType'"),
    ],
)
def test_what_was_expected_is_named(given, got):
    with pytest.raises(
        InputError, match=rf"got {got}, expected a numpy array float32\[2, 3\], or a dict with it as 'x'"
    ):
        INPUT.batch(given, copy=True)


@pytest.mark.parametrize("given", [{}, {"y": 1}, {"x": 1, "y": 2}])
def test_a_dict_has_just_the_input(given):
    with pytest.raises(InputError, match="expected one input, named 'x'"):
        INPUT.batch(given, copy=True)


PAIR = FrameInput(
    [TensorSpec(name="ids", shape=(4,), dtype="int64"), TensorSpec(name="mask", shape=(4,), dtype="bool")]
)
IDS, MASK = np.arange(4), np.array([True, True, False, False])


def test_several_inputs_come_by_name_in_any_order():
    ids, mask = PAIR.batch({"mask": MASK, "ids": IDS[None]}, copy=True)
    assert ids.tolist() == [[0, 1, 2, 3]] and mask.tolist() == [MASK.tolist()]
    assert not np.shares_memory(ids, IDS)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (IDS, r"frame: got 'ndarray', expected a dict \{'ids': int64\[4\], 'mask': bool\[4\]\}"),
        ({"ids": IDS}, r"frame: got \['ids'\], expected the inputs ids, mask"),
        ({"ids": IDS, "mask": MASK, "more": MASK}, "expected the inputs ids, mask"),
        ({"ids": IDS.astype(np.int32), "mask": MASK}, r"frame: ids: got 'int32\[4\]', expected .* int64\[4\]"),
        ({"ids": IDS, "mask": MASK[:3]}, r"frame: mask: got 'bool\[3\]'"),
        ({"ids": IDS, "mask": MASK.astype(int)}, r"frame: mask: got 'int64\[4\]'"),
    ],
)
def test_several_inputs_are_refused_by_name(given, said):
    with pytest.raises(InputError, match=said):
        PAIR.batch(given, copy=False)
