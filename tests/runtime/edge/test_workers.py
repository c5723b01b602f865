"""Tasks on real threads: what comes out is the package's, and no failure ends a thread."""

from __future__ import annotations

import queue
import re

import numpy as np
import pytest

from hasten.core.errors import InputError
from hasten.runtime.edge.served import Computed, Refusal, Request, Served
from hasten.runtime.edge.workers import WorkerThreads
from hasten.runtime.wire.frames import Code
from hasten.runtime.wire.tasks import Status
from hasten.split.codecs import CodecError
from hasten.split.executor import Executor

DONE_S = 10.0


class Scripted:
    """Gives, or raises, one thing after the other."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)

    def outputs(self, partition, exit_, tensors):
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return {"logits": np.array(outcome, np.float32)}


@pytest.fixture
def threads():
    errors = []
    workers = WorkerThreads(2, errors.append)
    workers.errors = errors
    workers.start()
    yield workers
    workers.close(DONE_S)


def run(threads, request):
    outcomes = queue.SimpleQueue()
    threads.execute(0, request, outcomes.put)
    return outcomes.get(timeout=DONE_S)


def request(served, tensors=list, cut=0, exit_=2):
    return Request(served, cut, exit_, tensors, 1, float("inf"))


def test_answers_what_the_package_answers(package, threads):
    frame = package.samples()[0][:1]
    served = Served(package)
    served.warm()
    computed = run(threads, request(served, lambda: [frame]))
    logits = Executor(package).finish(0, 2, [frame])
    assert computed.status is Status.DONE
    assert computed.class_index == logits.argmax()
    assert computed.confidence == pytest.approx(float(np.exp(logits).max() / np.exp(logits).sum()), rel=1e-5)


def test_a_slower_edge_decodes_and_computes_more_slowly(package, threads):
    profile = package.profile
    heads = tuple(head.model_copy(update={"edge_ms": 1.0}) for head in profile.exits)
    served = Served(package, slowdown=20.0, profile=profile.model_copy(update={"exits": heads}))
    computed = run(threads, request(served, lambda: [package.samples()[0][:1]]))
    took_ms = served.edge_ms(0, 2)
    assert computed.compute_ms + computed.decode_ms >= took_ms - 0.01
    assert 0 < computed.decode_ms < took_ms


@pytest.mark.parametrize("logits", [[np.nan] * 5, [1, np.nan, 9, 0, 0], [np.inf, 0, 0, 0, 0], [-np.inf] * 5])
def test_an_output_that_is_not_finite_has_a_status_of_its_own(package, threads, logits):
    computed = run(threads, request(Served(package, Scripted(logits))))
    assert (computed.status, computed.class_index, computed.confidence) == (Status.INVALID, 0, 0.0)


def test_a_masked_class_is_no_damage(package, threads):
    computed = run(threads, request(Served(package, Scripted([-np.inf, 1.0, 1.0, -np.inf, -np.inf]))))
    assert (computed.status, computed.class_index) == (Status.DONE, 1)
    assert computed.confidence == pytest.approx(0.5)


FAILURES = {
    "a head that raises": (ValueError("broken head"), Code.FAILED, "broken head"),
    "memory": (MemoryError(), Code.FAILED, "MemoryError"),
    "a library that ends the program": (SystemExit(3), Code.FAILED, "SystemExit"),
    "another shape": ([0.0, 1.0], Code.FAILED, r"logits float32\[2\], expected logits float32\[5\]"),
    "a scalar": (1.0, Code.FAILED, r"logits float32\[\], expected"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_failures_are_refused_and_the_worker_lives_on(package, threads, failure):
    outcome, code, text = FAILURES[failure]
    served = Served(package, Scripted(outcome, [0.0, 0.0, 0.0, 5.0, 0.0]))
    refusal = run(threads, request(served))
    assert isinstance(refusal, Refusal)
    assert refusal.code is code
    assert re.search(text, refusal.text)
    assert run(threads, request(served)).class_index == 3


def test_a_payload_that_cannot_be_decoded_is_refused(package, threads):
    def tensors():
        raise CodecError("payload: got 3 bytes")

    refusal = run(threads, request(Served(package, Scripted()), tensors))
    assert (refusal.code, refusal.text) == (Code.PAYLOAD, "payload: got 3 bytes")


def test_a_call_that_fails_does_not_end_the_thread(package, threads):
    served = Served(package, Scripted([1.0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0]))

    def broken(outcome):
        raise SystemExit("reply")

    threads.execute(0, request(served), broken)
    assert isinstance(run(threads, request(served)), Computed)
    assert [str(error) for error in threads.errors] == ["reply"]


def test_closing_does_not_wait_for_a_stuck_thread(package):
    stuck = queue.SimpleQueue()
    threads = WorkerThreads()
    threads.start()
    threads.execute(0, request(Served(package, Scripted()), lambda: stuck.get(timeout=DONE_S)), print)
    threads.close(0.01)
    stuck.put([])


@pytest.mark.parametrize("count", [0, 65])
def test_bad_numbers(count):
    with pytest.raises(InputError, match="workers"):
        WorkerThreads(count)
