"""An edge that runs alike tasks at once, over sockets: every frame gets its own answer."""

from __future__ import annotations

import pytest

import hasten as hs
from hasten.core.profile import SegmentBatches
from hasten.split.executor import Executor

LONG_MS = 60_000.0


@pytest.fixture
def times(package, tmp_path):
    """A profile by which two at once take little longer than one."""
    batches = (SegmentBatches(exit=2, partition=0, sizes=(1, 2, 4, 8), ms=(1.0, 1.1, 1.2, 1.4)),)
    path = tmp_path / "profile.json"
    path.write_text(package.profile.model_copy(update={"edge_batches": batches}).to_json())
    return path


def test_frames_that_wait_are_run_at_once_and_each_has_its_own_answer(package, times, monkeypatch):
    sizes = []
    at_once = Executor.outputs_of

    def counted(self, partition, exit_, samples):
        sizes.append(len(samples))
        return at_once(self, partition, exit_, samples)

    frames, executor = package.samples()[0], Executor(package)
    right = [int(executor.finish(0, 2, [frame[None]]).argmax()) for frame in frames]
    with (
        hs.Edge([package], port=0, profile=times, slowdown=100.0) as edge,
        hs.Device(package, edge.address, "fixed:2,0", LONG_MS) as device,
    ):
        monkeypatch.setattr(Executor, "outputs_of", counted)
        futures = [device.submit(frames[i % len(frames)]) for i in range(20)]
        answers = [future.result() for future in futures]
    assert [answer.label for answer in answers] == [right[i % len(frames)] for i in range(20)]
    assert {answer.ran_on for answer in answers} == {"edge"} and all(answer.on_time for answer in answers)
    assert max(sizes) > 2 and sum(sizes) <= 20
