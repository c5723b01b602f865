import numpy as np
import pytest
from PIL import Image

from hasten.core.errors import InputError
from hasten.networks.data import load_dataset


def draw(place, name, shade, size=(6, 4), mode="RGB"):
    place.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, shade).save(place / name)


@pytest.fixture
def animals(tmp_path):
    """Ten cats (red grows) and ten dogs (blue grows)."""
    for number in range(10):
        draw(tmp_path / "cat", f"{number}.png", (number, 0, 0))
        draw(tmp_path / "dog", f"{number}.png", (0, 0, number))
    return tmp_path


def test_folders_are_classes(animals):
    dataset = load_dataset(str(animals), seed=0)
    assert dataset.class_names == ("cat", "dog") and dataset.classes == 2
    assert dataset.train_x.dtype == np.uint8 and dataset.input_shape == (3, 4, 6)
    assert len(dataset.test_x) == 4 and len(dataset.train_x) + len(dataset.val_x) == 16
    assert not dataset.train_x[dataset.train_y == 0, 2].any() and not dataset.train_x[dataset.train_y == 1, 0].any()


def test_parts_that_are_there_are_used(animals):
    (animals / "train").mkdir()
    for name in ("cat", "dog"):
        (animals / name).rename(animals / "train" / name)
        draw(animals / "test" / name, "a.png", (1, 2, 3))
    assert len(load_dataset(str(animals)).test_x) == 2
    draw(animals / "test" / "bird", "a.png", (1, 2, 3))
    with pytest.raises(InputError, match=r"classes: got \['bird'\], expected folders for the same classes as in train"):
        load_dataset(str(animals))


def test_pictures_without_classes_have_no_labels_and_grey_ones_one_channel(tmp_path):
    for number in range(12):
        draw(tmp_path, f"{number}.png", number, mode="L")
    dataset = load_dataset(str(tmp_path))
    assert dataset.train_y is None and dataset.classes == 0 and dataset.input_shape == (1, 4, 6)


def test_several_sizes_are_refused_or_brought_to_one(animals):
    draw(animals / "dog", "wide.png", (9, 9, 9), size=(20, 10))
    with pytest.raises(InputError, match=r"size: got \(10, 20\), expected that of the first, \(4, 6\)"):
        load_dataset(str(animals))
    assert load_dataset(str(animals), size=(5, 3)).input_shape == (3, 5, 3)


def test_what_is_no_picture_is_named(animals, tmp_path):
    (animals / "cat" / "3.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"3\.png"):
        load_dataset(str(animals))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="at least two pictures"):
        load_dataset(str(tmp_path / "empty"))
