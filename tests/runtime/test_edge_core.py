"""The edge without sockets: order, lateness, refusals, the load report."""

from __future__ import annotations

import math
import queue
import threading

import numpy as np
import pytest

from hasten.core.errors import InputError
from hasten.runtime.edge_core import EdgeCore, Refusal
from hasten.runtime.pace import now_ms
from hasten.runtime.wire import Answer, Code, Status, WireError, types_bytes
from hasten.split.codec import Codec
from hasten.split.executor import Executor, zeros

DONE_S = 10.0


class GatedRunner:
    """Waits for a permit before each call and notes the calls; class 3 wins."""

    def __init__(self):
        self.permits = threading.Semaphore(0)
        self.calls = []
        self.entered = threading.Semaphore(0)

    def finish(self, partition, exit_, tensors):
        self.entered.release()
        assert self.permits.acquire(timeout=DONE_S)
        self.calls.append((partition, exit_))
        if exit_ == 1:
            raise ValueError("broken head")
        return np.array([0.0, 0.0, 0.0, 5.0, 0.0], np.float32)


@pytest.fixture
def gated(package):
    runner = GatedRunner()
    core = EdgeCore([package], runners=[runner])
    core.start()
    served = core.served(bytes.fromhex(package.digest))
    yield runner, core, served
    for _ in range(100):
        runner.permits.release()
    core.close()


def payload(package, cut=0) -> memoryview:
    specs = package.manifest.cuts[cut].tensors
    return memoryview(types_bytes(specs) + Codec().encode([zeros(spec) for spec in specs], specs))


def test_answers_what_the_package_answers(package):
    core = EdgeCore([package])
    core.start()
    answers = queue.SimpleQueue()
    try:
        frame = package.samples()[0][:1]
        specs = package.manifest.cuts[0].tensors
        rest = memoryview(types_bytes(specs) + Codec().encode([frame], specs))
        served = core.served(bytes.fromhex(package.digest))
        core.submit(served, 0, 2, rest, math.inf, answers.put)
        answer = answers.get(timeout=DONE_S)
    finally:
        core.close()
    logits = Executor(package).finish(0, 2, [frame])
    assert answer.status is Status.DONE
    assert answer.class_index == logits.argmax()
    assert answer.confidence == pytest.approx(float(np.exp(logits).max() / np.exp(logits).sum()), rel=1e-5)


def test_a_slower_edge_decodes_and_computes_more_slowly(package):
    profile = package.profile
    heads = tuple(head.model_copy(update={"edge_ms": 1.0}) for head in profile.exits)
    slow = profile.model_copy(update={"exits": heads})
    core = EdgeCore([package], slowdown=20.0, profiles=[slow])
    core.start()
    answers = queue.SimpleQueue()
    try:
        served = core.served(bytes.fromhex(package.digest))
        core.submit(served, 0, 2, payload(package), math.inf, answers.put)
        answer = answers.get(timeout=DONE_S)
        took_us = served.edge_ms(0, 2) * 1000
    finally:
        core.close()
    assert answer.compute_us + answer.decode_us >= took_us - 2
    assert 0 < answer.decode_us < took_us


def test_first_come_first_served(package, gated):
    runner, core, served = gated
    answers = queue.SimpleQueue()
    for cut in (0, 1, 2, 0, 1):
        core.submit(served, cut, 2, payload(package, cut), math.inf, answers.put)
    for _ in range(5):
        runner.permits.release()
    assert all(answers.get(timeout=DONE_S).class_index == 3 for _ in range(5))
    assert [cut for cut, _ in runner.calls] == [0, 1, 2, 0, 1]


def test_a_task_too_late_at_its_turn_is_not_run(package, gated):
    runner, core, served = gated
    answers = queue.SimpleQueue()
    core.submit(served, 0, 2, payload(package), math.inf, answers.put)
    assert runner.entered.acquire(timeout=DONE_S)
    core.submit(served, 0, 2, payload(package), now_ms(), answers.put)
    runner.permits.release()
    assert answers.get(timeout=DONE_S).status is Status.DONE
    assert answers.get(timeout=DONE_S).status is Status.LATE
    assert len(runner.calls) == 1


def test_an_abandoned_task_is_skipped(package, gated):
    runner, core, served = gated
    answers = queue.SimpleQueue()
    core.submit(served, 0, 2, payload(package), math.inf, answers.put)
    assert runner.entered.acquire(timeout=DONE_S)
    core.submit(served, 1, 2, payload(package, 1), math.inf, answers.put).abandoned = True
    core.submit(served, 2, 2, payload(package, 2), math.inf, answers.put)
    runner.permits.release()
    runner.permits.release()
    assert isinstance(answers.get(timeout=DONE_S), Answer)
    assert isinstance(answers.get(timeout=DONE_S), Answer)
    assert runner.calls == [(0, 2), (2, 2)]


def test_failures_are_refused_and_the_worker_lives_on(package, gated):
    runner, core, served = gated
    answers = queue.SimpleQueue()
    runner.permits.release()
    runner.permits.release()
    core.submit(served, 0, 1, payload(package), math.inf, answers.put)
    failed = answers.get(timeout=DONE_S)
    assert isinstance(failed, Refusal)
    assert failed.code is Code.FAILED
    assert "broken head" in failed.text
    broken = memoryview(bytes(payload(package))[:-1])
    core.submit(served, 0, 2, broken, math.inf, answers.put)
    refused = answers.get(timeout=DONE_S)
    assert isinstance(refused, Refusal)
    assert refused.code is Code.PAYLOAD
    core.submit(served, 0, 2, payload(package), math.inf, answers.put)
    assert answers.get(timeout=DONE_S).class_index == 3


@pytest.mark.parametrize(("cut", "exit_"), [(3, 2), (2, 1), (0, 3), (9, 9), (0, 0)])
def test_unknown_cuts_and_exits_are_refused(package, gated, cut, exit_):
    _, core, served = gated
    with pytest.raises(WireError, match=f"cut {cut} for exit {exit_}"):
        core.submit(served, cut, exit_, payload(package), math.inf, print)


def test_tensors_of_another_cut_are_refused(package, gated):
    _, core, served = gated
    with pytest.raises(WireError, match="expected float32"):
        core.submit(served, 1, 2, payload(package, 0), math.inf, print)


def test_backlog_is_the_remaining_work(package, gated):
    runner, core, served = gated
    assert core.report().backlog_ms == (0.0,)
    answers = queue.SimpleQueue()
    core.submit(served, 0, 2, payload(package), math.inf, answers.put)
    assert runner.entered.acquire(timeout=DONE_S)
    for _ in range(3):
        core.submit(served, 0, 2, payload(package), math.inf, answers.put)
    report = core.report()
    one_ms = served.edge_ms(0, 2)
    assert report.waiting == 3
    assert 3 * one_ms <= report.backlog_ms[0] <= 4 * one_ms
    assert core.report().sequence == report.sequence + 1


def test_several_workers_share_one_queue(package):
    runner = GatedRunner()
    core = EdgeCore([package], workers=2, runners=[runner])
    core.start()
    try:
        served = core.served(bytes.fromhex(package.digest))
        answers = queue.SimpleQueue()
        for _ in range(2):
            core.submit(served, 0, 2, payload(package), math.inf, answers.put)
        assert runner.entered.acquire(timeout=DONE_S)
        assert runner.entered.acquire(timeout=DONE_S)  # both run at the same time
        core.submit(served, 0, 2, payload(package), math.inf, answers.put)
        assert len(core.report().backlog_ms) == 2
        for _ in range(3):
            runner.permits.release()
        assert all(answers.get(timeout=DONE_S).class_index == 3 for _ in range(3))
    finally:
        core.close()


@pytest.mark.parametrize("given", [{"workers": 0}, {"workers": 65}, {"slowdown": 0.5}])
def test_bad_numbers(package, given):
    with pytest.raises(InputError, match=next(iter(given))):
        EdgeCore([package], **given)


def test_a_profile_of_another_network_is_refused(package):
    other = package.profile.model_copy(
        update={"blocks": package.profile.blocks[:-1], "exits": package.profile.exits[:1]}
    )
    with pytest.raises(InputError, match="blocks, exits"):
        EdgeCore([package], profiles=[other])
