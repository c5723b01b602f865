import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from hasten.core.errors import InputError
from hasten.networks import sources
from hasten.networks.data import own_dataset
from hasten.networks.sources import read_part, read_parts

X = np.arange(40 * 3, dtype=np.float64).reshape(40, 3)
Y = np.arange(40, dtype=np.int32) % 4


class Rows:
    """A data set with rows of named columns, as Hugging Face's are."""

    def __init__(self):
        self.features = {"label": type("ClassLabel", (), {"names": ["a", "b", "c", "d"]})()}
        self.column_names = ["pixel_values", "label", "note"]

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        if index >= len(X):
            raise IndexError(index)
        return {"pixel_values": X[index].tolist(), "label": int(Y[index]), "note": "ignored"}


class Pairs(torch.utils.data.Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, index):  # never raises IndexError, as many do not
        return torch.tensor(X[index % 40]), int(Y[index % 40])


def as_generator():
    yield from zip(X, Y, strict=True)


IDS, MASK = np.arange(40 * 3).reshape(40, 3), np.arange(40)[:, None] % 4 > np.arange(3)


class Texts(Rows):
    """Rows with a column for each of a network's inputs, and others."""

    def __getitem__(self, index):
        return {"text": "ignored", "mask": MASK[index].tolist(), "ids": IDS[index].tolist(), "label": int(Y[index])}


SEVERAL = {
    "columns": lambda: {"ids": IDS, "mask": MASK, "y": Y},
    "dictionary and labels": lambda: ({"mask": MASK, "ids": IDS}, Y),
    "dictionary as x": lambda: {"x": {"ids": IDS, "mask": MASK}, "label": Y},
    "tuple and labels": lambda: ((IDS, torch.tensor(MASK)), Y),
    "rows": Texts,
    "loader of rows": lambda: DataLoader(
        [{"ids": i, "mask": m, "label": y} for i, m, y in zip(IDS, MASK, Y, strict=True)], batch_size=16
    ),
    "loader of tensors": lambda: DataLoader(TensorDataset(*map(torch.tensor, (IDS, MASK, Y))), batch_size=7),
    "loader of pairs": lambda: DataLoader([((i, m), y) for i, m, y in zip(IDS, MASK, Y, strict=True)], batch_size=7),
    "items": lambda: [({"ids": i, "mask": m}, y) for i, m, y in zip(IDS, MASK, Y, strict=True)],
}


@pytest.mark.parametrize("kind", SEVERAL)
def test_several_inputs_are_arrays_by_the_names_of_the_networks_parameters(kind):
    part = read_part("data", SEVERAL[kind](), ("ids", "mask", "positions", "labels"))
    assert list(part.x) == ["ids", "mask"] and (part.x["ids"].dtype, part.x["mask"].dtype) == (np.int64, np.bool_)
    np.testing.assert_array_equal(part.x["ids"], IDS)
    np.testing.assert_array_equal(part.x["mask"], MASK)
    np.testing.assert_array_equal(part.y, Y)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (({"ids": IDS, "mask": MASK[:39]}, Y), r"inputs: mask: got \(39, 3\), expected \(N, ...\) with the same N"),
        (
            [({"ids": IDS[0], "mask": MASK[0]}, 1), ({"ids": IDS[0], "mask": MASK[0, :2]}, 1)],
            r"item 1: got .*'mask': \(2,\)",
        ),
        ([{"a": 1, "b": 2}] * 2, "columns: got .*called as the network's parameters ids, mask"),
        ([(1, 2, 3, 4)] * 2, "several inputs as a dictionary by their names"),
        (({"ids": IDS, "mask": np.full((40, 3), np.nan)}, Y), "inputs: mask: got 'NaN"),
    ],
)
def test_several_inputs_that_cannot_be_used_are_named(given, message):
    with pytest.raises(InputError, match=message):
        read_part("data", given, ("ids", "mask"))


def test_parts_of_several_inputs():
    given = {"ids": IDS, "mask": MASK}
    dataset = own_dataset(((given, Y), (given, Y)), names=("ids", "mask"))
    assert [len(x["mask"]) for x in (dataset.train_x, dataset.val_x, dataset.test_x)] == [36, 4, 40]
    rows = np.concatenate([dataset.train_x["ids"], dataset.val_x["ids"]])[:, 0] // 3
    np.testing.assert_array_equal(np.concatenate([dataset.train_x["mask"], dataset.val_x["mask"]]), MASK[rows])
    assert sorted(rows) == list(range(40))
    with pytest.raises(InputError, match=r"inputs: got \['ids'\], expected those of train, \['ids', 'mask'\]"):
        own_dataset({"train": (given, Y), "test": ({"ids": IDS}, Y)})
    with pytest.raises(InputError, match="dtype of mask: got 'int64', expected that of train, bool"):
        own_dataset({"train": (given, Y), "test": ({"ids": IDS, "mask": IDS}, Y)})


GIVEN = {
    "pair of arrays": lambda: (X, Y),
    "list of tensors": lambda: [torch.tensor(X), torch.tensor(Y)],
    "mapping": lambda: {"x": X, "y": Y[:, np.newaxis]},
    "loader": lambda: DataLoader(TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=7),
    "dataset": Pairs,
    "rows": Rows,
    "loader of rows": lambda: DataLoader([{"x": x, "label": y} for x, y in zip(X, Y, strict=True)], batch_size=16),
    "generator": as_generator,
}


@pytest.mark.parametrize("kind", GIVEN)
def test_whatever_holds_the_data_the_arrays_are_the_same(kind):
    part = read_part("data", GIVEN[kind]())
    np.testing.assert_array_equal(part.x, X.astype(np.float32))
    np.testing.assert_array_equal(part.y, Y)
    assert part.x.dtype == np.float32 and part.y.dtype == np.int64


def test_names_of_classes_come_along():
    assert read_part("data", Rows()).class_names == ("a", "b", "c", "d")
    named = TensorDataset(torch.tensor(X), torch.tensor(Y))
    named.classes = ["w", "x", "y", "z"]
    assert read_part("data", DataLoader(named)).class_names == ("w", "x", "y", "z")


@pytest.mark.parametrize("given", [X, torch.tensor(X), list(X), DataLoader(torch.tensor(X), batch_size=8)])
def test_without_labels(given):
    part = read_part("data", given)
    assert part.y is None
    np.testing.assert_array_equal(part.x, X.astype(np.float32))


@pytest.mark.parametrize(("dtype", "wanted"), [("int32", "int64"), ("uint8", "uint8"), ("bool", "bool"), ("f2", "f4")])
def test_types_that_networks_take(dtype, wanted):
    assert read_part("data", np.zeros((2, 3), dtype)).x.dtype == np.dtype(wanted)


def test_pictures_have_their_channels_first():
    from PIL import Image

    grey = [(Image.new("L", (5, 4), shade), 0) for shade in (10, 20)]
    colour = [(Image.new("RGB", (5, 4), (1, 2, 3)), 0)] * 2
    assert read_part("data", grey).x.shape == (2, 1, 4, 5)
    x = read_part("data", colour).x
    assert x.shape == (2, 3, 4, 5) and x[0, :, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "got 'int', expected arrays, a pair"),
        ([np.zeros(3), np.zeros(4), np.zeros(3)], r"item 1: got \(4,\), expected the shape of the first, \(3,\)"),
        (iter([]), "no items"),
        ([(np.zeros(3), 1), (np.zeros(3),)], "labels of all items or of none"),
        ([(1, 2, 3)], "an input and a label"),
        ([{"a": 1, "b": 2}] * 2, "columns: got .*one of x, image"),
        ((X, Y[:-1]), r"integers \(40,\), one per input"),
        ((X, Y - 1), "class numbers from 0"),
        ((X, np.full(40, np.nan)), "labels: got 'NaN"),
        (np.full((2, 3), np.nan), "finite numbers"),
        (np.zeros((2, 3), "U1"), "uint8, integers, booleans or floats"),
        (np.zeros((1, 3)), "at least 2 inputs"),
    ],
)
def test_what_cannot_be_used_is_named(given, message):
    with pytest.raises(InputError, match=message):
        read_part("data", given)


@pytest.mark.parametrize("y", [np.zeros((40, 4, 4), np.int32), np.zeros(40), np.zeros((40, 2), bool)])
def test_targets_that_are_no_classes(y):
    dataset = own_dataset((X, y))
    assert dataset.classes == 0 and dataset.test_y.shape == (8, *y.shape[1:])
    assert dataset.test_y.dtype == {"i": np.int64, "f": np.float32, "b": np.bool_}[y.dtype.kind]


def test_data_that_do_not_fit_into_memory_are_refused_while_they_are_read(monkeypatch):
    monkeypatch.setattr(sources, "MAX_BYTES", 100)
    endless = (np.zeros(4) for _ in iter(int, 1))
    with pytest.raises(InputError, match="more than 100 bytes"):
        read_part("data", endless)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"train": (X, Y), "validation": (X, Y), "test": (X, Y)}, {"train", "val", "test"}),
        (((X, Y), (X, Y)), {"train", "test"}),
        ((X, Y, X, Y), {"train", "test"}),
        ((X, Y), {"train"}),
        ({"x": X, "y": Y}, {"train"}),
        ((Pairs(), Pairs()), {"train", "test"}),
    ],
)
def test_parts_are_recognised(given, names):
    assert set(read_parts("data", given, 0)) == names


def test_a_loaders_order_is_drawn_with_the_seed():
    loader = DataLoader(TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=8, shuffle=True)
    orders = [read_parts("data", loader, seed)["train"].x[:, 0].tolist() for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_what_is_not_given_is_set_aside_once():
    dataset = own_dataset((X, Y), seed=1)
    assert [len(dataset.test_x), len(dataset.val_x), len(dataset.train_x)] == [8, 3, 29]
    rows = np.concatenate([dataset.train_x, dataset.val_x, dataset.test_x])[:, 0]
    assert sorted(rows) == X[:, 0].tolist()
    np.testing.assert_array_equal(dataset.test_y, (dataset.test_x[:, 0] / 3).astype(int) % 4)
    assert dataset.classes == 4


def test_parts_have_to_fit_each_other():
    with pytest.raises(InputError, match=r"shape of x: got \(2,\), expected that of train, \(3,\)"):
        own_dataset({"train": (X, Y), "test": (X[:, :2], Y)})
    with pytest.raises(InputError, match="labels: got False, expected as in train, True"):
        own_dataset({"train": (X, Y), "test": X})
    with pytest.raises(InputError, match="enough to set some aside"):
        own_dataset((X[:2], Y[:2]))
