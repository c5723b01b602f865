import gzip
import zipfile

import numpy as np
import pytest

from hasten.core.errors import InputError
from hasten.networks import array_files, data
from hasten.networks.data import load_dataset


def write_parts(folder, train_n=40, test_n=10, shape=(2, 4, 4), dtype=np.uint8, classes=3, **replaced):
    rng = np.random.default_rng(0)
    for part, count in (("train", train_n), ("test", test_n)):
        arrays = {"x": rng.integers(0, 200, (count, *shape)).astype(dtype), "y": np.arange(count) % classes}
        arrays |= {key.removeprefix(f"{part}_"): v for key, v in replaced.items() if key.startswith(f"{part}_")}
        np.savez(folder / f"{part}.npz", **{key: value for key, value in arrays.items() if value is not None})


def test_folder_splits_off_validation(tmp_path):
    write_parts(tmp_path)
    dataset = load_dataset(str(tmp_path), seed=1)
    assert (len(dataset.train_x), len(dataset.val_x), len(dataset.test_x)) == (36, 4, 10)
    assert dataset.classes == 3 and dataset.input_shape == (2, 4, 4) and dataset.name == tmp_path.name
    with np.load(tmp_path / "train.npz") as stored:
        rows = {(image.tobytes(), int(label)) for image, label in zip(stored["x"], stored["y"], strict=True)}
    parts = zip([*dataset.train_x, *dataset.val_x], [*dataset.train_y, *dataset.val_y], strict=True)
    assert {(image.tobytes(), int(label)) for image, label in parts} == rows


def test_the_seed_draws_the_validation_set(tmp_path):
    write_parts(tmp_path)
    first, again, other = (load_dataset(str(tmp_path), seed).val_x for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(
    ("replaced", "field"),
    [
        ({"train_y": np.zeros(39, np.int64)}, "y"),
        ({"train_y": np.zeros(40)}, "y"),
        ({"train_y": np.arange(40) - 1}, "y"),
        ({"test_y": np.full(10, 7)}, "y"),
        ({"train_x": np.zeros((40, 2, 4, 4))}, "x"),
        ({"train_x": np.full((40, 3), np.nan, np.float32)}, "x"),
        ({"train_x": np.zeros(40, np.uint8)}, "x"),
        ({"test_x": np.zeros((10, 2, 4, 5), np.uint8)}, "shape of x"),
        ({"test_x": np.zeros((10, 2, 4, 4), np.float32)}, "dtype of x"),
        ({"test_x": None}, "x"),
        ({"train_x": np.array([None] * 40)}, "x"),
    ],
)
def test_bad_arrays_are_named(tmp_path, replaced, field):
    write_parts(tmp_path, **replaced)
    with pytest.raises(InputError) as caught:
        load_dataset(str(tmp_path))
    assert caught.value.field == field
    assert caught.value.where.endswith(
        "test.npz" if field.endswith("of x") or "test" in str([*replaced]) else "train.npz"
    )
    assert "\n" not in str(caught.value)


def test_several_inputs_in_files_are_arrays_by_their_names(tmp_path):
    arrays = {"ids": np.arange(40 * 3).reshape(40, 3), "mask": np.ones((40, 3), bool), "shade": np.ones(40, np.float32)}
    y = np.arange(40) % 4
    np.savez(tmp_path / "train.npz", note=y, y=y, **arrays)
    np.savez(tmp_path / "test.npz", note=y, y=y, **arrays)
    both = {f"{name}_{part}": array for part in ("train", "test") for name, array in {**arrays, "y": y}.items()}
    np.savez(tmp_path / "all.npz", **both)
    names = ("mask", "ids", "shade", "more")
    for source in (tmp_path, tmp_path / "all.npz"):
        found = load_dataset(str(source), names=names)
        assert list(found.train_x) == ["mask", "ids", "shade"] and found.classes == 4
        np.testing.assert_array_equal(found.test_x["ids"], arrays["ids"])
        assert (len(found.train_y), len(found.val_x["shade"]), found.train_x["shade"].shape) == (36, 4, (36,))
    np.savez(tmp_path / "test.npz", y=y, **{**arrays, "mask": arrays["mask"][:30]})
    with pytest.raises(InputError, match="ids: got 40, expected as many as mask, 30"):
        load_dataset(str(tmp_path), names=names)


def test_truncated_and_absent_files(tmp_path):
    write_parts(tmp_path)
    whole = (tmp_path / "test.npz").read_bytes()
    (tmp_path / "test.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"test\.npz"):
        load_dataset(str(tmp_path))
    (tmp_path / "test.npz").unlink()
    with pytest.raises(InputError, match=r"test\.npz"):
        load_dataset(str(tmp_path))


def test_oversized_arrays_are_refused_before_they_are_read(tmp_path, monkeypatch):
    write_parts(tmp_path)
    monkeypatch.setattr(array_files, "MAX_ARRAY_BYTES", 100)
    with pytest.raises(InputError, match="at most 100 bytes"):
        load_dataset(str(tmp_path))


def test_unknown_name():
    with pytest.raises(InputError, match="digits, cifar10, a folder"):
        load_dataset("mnist")


def test_digits_parts_are_independent_draws():
    small = data.digits(seed=0, train=30, val=20, test=20)
    other = data.digits(seed=1, train=30, val=20, test=20)
    assert small.train_x.shape == (30, 1, 64, 64) and small.classes == 10
    assert (small.test_x != other.test_x).any()
    first = small.first(train=5, test=3)
    assert (len(first.train_y), len(first.val_y), len(first.test_x)) == (5, 20, 3)


def test_absent_cifar_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("HASTEN_DATA", str(tmp_path))
    with pytest.raises(InputError, match="HASTEN_DATA"):
        load_dataset("cifar10")


@pytest.fixture
def tiny_cifar(tmp_path, monkeypatch):
    """A folder of the data set's form with 20 images per batch in two strips."""
    image = pytest.importorskip("PIL.Image")
    monkeypatch.setattr(data, "CIFAR_BATCH", 20)
    monkeypatch.setenv("HASTEN_DATA", str(tmp_path))
    place = tmp_path / "cifar10"
    place.mkdir()
    rng, rows, stored = np.random.default_rng(0), ["batch,index,label,filename"], {}
    for batch in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        pixels = stored[batch] = rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
        with zipfile.ZipFile(place / f"{batch}.zip", "w") as archive:
            for strip in range(2):
                with archive.open(f"strip_{strip:02}.webp", "w") as member:
                    rows_of = pixels[10 * strip : 10 * strip + 10].reshape(320, 32, 3)
                    image.fromarray(rows_of).save(member, "WEBP", lossless=True)
        rows += [f"{batch},{index},{index % 10},x.png" for index in range(20)]
    (place / "labels.csv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    return place, stored


def test_cifar_is_read_exactly(tiny_cifar):
    _, stored = tiny_cifar
    dataset = load_dataset("cifar10")
    np.testing.assert_array_equal(dataset.test_x, stored["test_batch"].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(dataset.test_y, np.arange(20) % 10)
    assert (len(dataset.train_x), len(dataset.val_x), dataset.input_shape) == (90, 10, (3, 32, 32))


def test_broken_cifar_files_are_named(tiny_cifar):
    place, _ = tiny_cifar
    labels = (place / "labels.csv.gz").read_bytes()
    (place / "labels.csv.gz").write_bytes(gzip.compress(b"batch,index,label,filename\ntest_batch,0,1,x"))
    with pytest.raises(InputError, match=r"labels\.csv\.gz: data_batch_1: got 0, expected 20 labels"):
        load_dataset("cifar10")
    (place / "labels.csv.gz").write_bytes(labels[:-20])
    with pytest.raises(InputError, match=r"labels\.csv\.gz"):
        load_dataset("cifar10")
    (place / "labels.csv.gz").write_bytes(labels)
    (place / "data_batch_2.zip").write_bytes(b"not a zip")
    with pytest.raises(InputError, match=r"data_batch_2\.zip"):
        load_dataset("cifar10")
