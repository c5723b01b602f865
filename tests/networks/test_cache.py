import pytest
import torch

import hasten.networks
from hasten.networks.cache import cached_weights, keep_weights, recipe_hash


class FakePackage:
    def __init__(self, folder):
        self.__file__ = str(folder / "__init__.py")


def test_a_recipe_is_what_it_is_made_of(tmp_path, monkeypatch):
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "graph.py").write_text("cuts = 1")
    code, seen = (hasten.networks, FakePackage(tmp_path)), set()

    def recipe(**changed):
        return recipe_hash({"epochs": 3, "seed": 0, **changed}, code)

    seen.add(recipe())
    assert recipe() in seen
    seen.add(recipe(epochs=4))
    (tmp_path / "graph.py").write_text("cuts = 2")
    seen.add(recipe())
    monkeypatch.setattr(torch, "__version__", "0.0")
    seen.add(recipe())
    assert len(seen) == 4


def test_weights_come_back_or_are_refused(tmp_path):
    path = tmp_path / "w.pt"
    assert cached_weights(path) is None
    keep_weights(path, {"a": torch.arange(3.0)})
    assert torch.equal(cached_weights(path)["a"], torch.arange(3.0))
    whole = path.read_bytes()
    for damaged in (b"", whole[:40], whole[: len(whole) // 2], b"x" * 300):
        path.write_bytes(damaged)
        assert cached_weights(path) is None


def test_weights_that_would_run_code_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return pytest.fail, ("code was run",)

    torch.save({"a": Evil()}, tmp_path / "w.pt")
    assert cached_weights(tmp_path / "w.pt") is None
