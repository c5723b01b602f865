"""Weights in files beside an ONNX model: taken with what they are, and refused before anything of them is read."""

from __future__ import annotations

import os

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from hasten.core.errors import InputError
from hasten.split import external_data
from hasten.split.external_data import read_external
from hasten.split.light_model import session_of
from hasten.split.onnx_file import read_onnx

LIMIT = 1 << 20
WEIGHT = np.arange(100 * 8, dtype=np.float32).reshape(100, 8)
ROWS = np.array([3, 1], np.int64)


def outside(array, name, **entries):
    """A weight whose data lie as ``entries`` say."""
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    item = TensorProto(name=name, data_type=kind, dims=array.shape, data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        item.external_data.add(key=key, value=str(value))
    return item


@pytest.fixture
def place(tmp_path):
    """A folder with weights at their offsets, a secret outside, and links to it."""
    place = tmp_path / "model"
    (place / "inside").mkdir(parents=True)
    (place / "all.bin").write_bytes(WEIGHT.tobytes() + ROWS.tobytes())
    (place / "inside" / "all.bin").write_bytes(WEIGHT.tobytes())
    (tmp_path / "secret.bin").write_bytes(bytes(WEIGHT.nbytes))
    (place / "link.bin").symlink_to(tmp_path / "secret.bin")
    (place / "link").symlink_to(tmp_path)
    os.mkfifo(place / "pipe.bin")
    return place


def saved(place, weight, rows=None):
    """``y = w[rows] + x`` as a file without its weights."""
    graph = onnx.parser.parse_graph(
        "g (float[N, 8] x) => (float[2, 8] y) { picked = Gather(w, rows) \n y = Add(picked, x) }"
    )
    graph.initializer.extend([weight, numpy_helper.from_array(ROWS, "rows") if rows is None else rows])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    (place / "m.onnx").write_bytes(model.SerializeToString())
    return place / "m.onnx"


def read(path, limit=LIMIT):
    return read_external(onnx.load(str(path), load_external_data=False), path, limit)


@pytest.mark.parametrize("location", ["all.bin", "inside/all.bin", "./all.bin"])
def test_weights_are_mapped_from_where_they_lie(place, location):
    rows = outside(ROWS, "rows", location="all.bin", offset=WEIGHT.nbytes, length=ROWS.nbytes)
    light = read(saved(place, outside(WEIGHT, "w", location=location, length=WEIGHT.nbytes), rows))
    (array,) = light.weights.values()
    assert isinstance(array, np.memmap) and light.proto.ByteSize() < 400
    np.testing.assert_array_equal(array, WEIGHT)
    session = session_of(light.proto.SerializeToString(), light.weights, ort.SessionOptions())
    np.testing.assert_array_equal(session.run(None, {"x": np.ones((1, 8), np.float32)})[0], WEIGHT[ROWS] + 1)


def test_the_same_through_all_that_is_done_to_a_file(place):
    light = read_onnx(saved(place, outside(WEIGHT, "w", location="all.bin")))
    session = session_of(light.proto.SerializeToString(), light.weights, ort.SessionOptions())
    np.testing.assert_array_equal(session.run(None, {"x": np.ones((1, 8), np.float32)})[0], WEIGHT[ROWS] + 1)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"location": "../secret.bin"}, "location: got '../secret.bin', expected the relative path of a file in the"),
        ({"location": "inside/../../secret.bin"}, "location"),
        ({"location": "/etc/hostname"}, "location"),
        ({"location": "..\\secret.bin"}, "location"),
        ({"location": "a\0b"}, "location"),
        ({}, "location: got ''"),
        ({"location": "inside"}, "not a link or anything else"),
        ({"location": "pipe.bin"}, "not a link or anything else"),
        ({"location": "link.bin"}, "not a link or anything else"),
        ({"location": "link/secret.bin"}, "not a link or anything else"),
        ({"location": "absent.bin"}, "No such file"),
        ({"location": "all.bin", "length": WEIGHT.nbytes - 1}, "length: got 3199, expected 3200 bytes"),
        ({"location": "all.bin", "offset": 20}, "offset: got 20, expected data that lie within the 3216 bytes of all"),
        ({"location": "all.bin", "offset": -4}, "offset: got '-4', expected a number of bytes"),
        ({"location": "all.bin", "offset": "9" * 40}, "offset: got"),
    ],
)
def test_what_lies_elsewhere_or_does_not_fit_is_refused_by_the_weights_name(place, entries, said, monkeypatch):
    path = saved(place, outside(WEIGHT, "w", **entries))
    monkeypatch.setattr(external_data.np, "memmap", lambda *a, **k: pytest.fail("read before it was checked"))
    with pytest.raises(InputError, match="weight w") as caught:
        read(path)
    assert said in str(caught.value)


def test_sizes_are_counted_before_any_file_is_looked_at(place):
    with pytest.raises(InputError, match=r"weights: got '3\d\d\d bytes', expected at most 3200 bytes"):
        read(saved(place, outside(WEIGHT, "w", location="absent.bin")), limit=3200)
    huge = TensorProto(name="w", data_type=1, dims=[1 << 40, 8], data_location=TensorProto.EXTERNAL)
    huge.external_data.add(key="location", value="all.bin")
    path = saved(place, huge)
    with pytest.raises(InputError, match="expected at most"):
        read_onnx(path)
    huge.dims[0] = -1
    with pytest.raises(InputError, match=r"weight w: dims: got \[-1, 8\]"):
        read_onnx(saved(place, huge))
    for kind in (0, 99):
        unknown = outside(WEIGHT, "w", location="all.bin")
        unknown.data_type = kind
        with pytest.raises(InputError, match=f"weight w: data_type: got {kind}, expected a type"):
            read_onnx(saved(place, unknown))
    with pytest.raises(InputError, match="expected at most 100 bytes"):
        read_onnx(saved(place, outside(WEIGHT, "w", location="all.bin")), limit=100)


def test_tensors_in_attributes_are_checked_too(place):
    graph = onnx.parser.parse_graph("g (float[1, 8] x) => (float[1, 8] y) { y = Add(x, x) }")
    inner = helper.make_node("Constant", [], ["c"], value=outside(WEIGHT, "hidden", location="../secret.bin"))
    graph.node.insert(0, inner)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    (place / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="weight hidden: location"):
        read(place / "m.onnx")
