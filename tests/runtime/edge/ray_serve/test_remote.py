"""A package in service from replicas that are played: what they are asked, and what is believed of them."""

from __future__ import annotations

import numpy as np
import pytest

from hasten.core.profile import SegmentBatches
from hasten.runtime.edge.ray_serve.board import Ready
from hasten.runtime.edge.ray_serve.remote import RemoteServed


class Played:
    """Replicas that tell ``ready`` and write down what is asked of them."""

    def __init__(self, *ready):
        self.ready, self.asked = list(ready), []

    def call(self, method, *given):
        self.asked.append((method, *given))
        return {"run": (1, {"logits": 1.0}), "run_together": [2.0], "check": ({}, [3.0])}[method]

    def hold(self, package, profile):
        self.asked.append(("hold", package, profile))
        return self.ready

    def drop(self, digest):
        self.asked.append(("drop", digest))


@pytest.fixture
def profile(package):
    """Times of batches for two segments."""
    batches = (SegmentBatches(exit=exit_, partition=0, sizes=(1, 2), ms=(1.0, 1.1)) for exit_ in (1, 2))
    return package.profile.model_copy(update={"edge_batches": tuple(batches)})


def test_only_what_all_replicas_run_in_batches_is_run_so(package, profile):
    replicas = Played(Ready(frozenset({(0, 1), (0, 2)}), None), Ready(frozenset({(0, 2)}), None))
    served = RemoteServed(package, replicas, profile=profile)
    served.warm()
    assert replicas.asked == [("hold", package, profile)]
    assert served.batch_sizes(0, 1) == (1,) and served.batch_sizes(0, 2) == (1, 2)
    assert served.shortfall() is None


def test_a_replica_that_has_too_little_memory_says_so(package):
    replicas = Played(Ready(frozenset(), None), Ready(frozenset(), "memory: 1 MB hold 2 of 5 segments"))
    served = RemoteServed(package, replicas)
    served.warm()
    assert served.shortfall() == "tiny: memory: 1 MB hold 2 of 5 segments"


def test_every_kind_of_work_is_one_call(package):
    replicas, tensors = Played(), [np.zeros((1, 1, 32, 32), np.uint8)]
    served = RemoteServed(package, replicas)
    assert served.run(0, 2, tensors, True) == (1, {"logits": 1.0})
    assert served.runner.outputs(0, 2, tensors) == {"logits": 1.0}
    assert served.runner.outputs_of(0, 2, [tensors]) == [2.0]
    assert served.runner.check(0, 1, tensors) == ({}, [3.0])
    digest = package.digest
    assert replicas.asked == [
        ("run", digest, 0, 2, tensors, True),
        ("run", digest, 0, 2, tensors, False),
        ("run_together", digest, 0, 2, [tensors]),
        ("check", digest, 0, 1, tensors),
    ]


def test_what_is_served_no_longer_is_dropped(package):
    replicas = Played()
    RemoteServed(package, replicas).end()
    assert replicas.asked == [("drop", package.digest)]
