import numpy as np
import pytest
import torch

from hasten.core.errors import InputError
from hasten.networks.augment import augmented, check_augmentation

PICTURES = torch.arange(64 * 2 * 16 * 16, dtype=torch.float32).reshape(64, 2, 16, 16)


def test_nothing_is_changed_unless_asked_for():
    assert augmented(PICTURES, ()) is PICTURES


def test_about_half_of_the_pictures_are_mirrored_the_others_not():
    torch.manual_seed(0)
    changed = augmented(PICTURES, ("flip",))
    mirrored = [torch.equal(new, old.flip(2)) for new, old in zip(changed, PICTURES, strict=True)]
    same = [torch.equal(new, old) for new, old in zip(changed, PICTURES, strict=True)]
    assert 16 < sum(mirrored) < 48 and sum(mirrored) + sum(same) == 64


def test_shifted_pictures_repeat_their_edge():
    torch.manual_seed(0)
    seen = set()
    for new, old in zip(augmented(PICTURES, ("shift",)), PICTURES, strict=True):
        matches = []
        for down in range(-2, 3):
            for right in range(-2, 3):
                rows, columns = (torch.arange(16) + down).clamp(0, 15), (torch.arange(16) + right).clamp(0, 15)
                if torch.equal(new, old[:, rows][:, :, columns]):
                    matches.append((down, right))
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) > 15


def test_types_are_kept_and_wrong_requests_refused():
    assert augmented(PICTURES.to(torch.uint8), ("flip", "shift")).dtype == torch.uint8
    with pytest.raises(InputError, match="one of flip, shift"):
        check_augmentation(("turn",), np.zeros((2, 1, 4, 4)))
    with pytest.raises(InputError, match=r"pictures \(N, C, H, W\)"):
        check_augmentation(("flip",), np.zeros((2, 4)))
