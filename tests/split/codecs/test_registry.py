"""Codecs by name, and what a package that names one gets."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from hasten.core.errors import InputError
from hasten.split.codecs import CODECS, CutCodecs, make_codec
from hasten.split.manifest import DEFAULT_CODEC, Cut, TensorSpec

SPEC = TensorSpec(name="t", shape=(3,), dtype="float32")


class Plain:
    """A codec of one file: float32 as it is."""

    name = "plain"

    def encode(self, tensors, specs):
        return b"".join(tensor.tobytes() for tensor in tensors)

    def decode(self, payload, specs):
        return [np.frombuffer(payload, np.float32).reshape(1, *specs[0].shape)]

    def max_payload_bytes(self, specs):
        return sum(spec.nbytes for spec in specs)


def test_each_codec_has_the_name_that_it_is_found_by():
    assert {make_codec(name).name for name in CODECS} == set(CODECS)


def test_an_unknown_codec_is_named_with_those_there_are():
    with pytest.raises(InputError, match=r"codec: got 'uint8-zst', expected .*did you mean uint8-zstd"):
        make_codec("uint8-zst")


def test_a_cut_without_a_codec_has_the_one_from_before_there_were_several():
    cut = Cut.model_validate({"name": "old", "tensors": [SPEC.model_dump()], "payload_bytes": 3})
    assert cut.codec == DEFAULT_CODEC == "uint8-zstd"


def test_every_cut_is_coded_by_the_codec_that_it_names(monkeypatch):
    monkeypatch.setitem(CODECS, "plain", Plain)
    coarse = Cut(name="coarse", tensors=(SPEC,), payload_bytes=3)
    exact = coarse.model_copy(update={"codec": "plain"})
    tensor, codecs = np.array([[0.1, 0.5, 0.7]], np.float32), CutCodecs()
    np.testing.assert_array_equal(codecs.decode(codecs.encode([tensor], exact), exact)[0], tensor)
    assert not np.array_equal(codecs.decode(codecs.encode([tensor], coarse), coarse)[0], tensor)
    assert codecs.of(exact) is codecs.of(SimpleNamespace(codec="plain", name="other"))
