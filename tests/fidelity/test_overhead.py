"""The overhead of a task, measured with real processes."""

from __future__ import annotations

from hasten.fidelity.overhead import framed, with_overhead
from hasten.runtime.wire.tasks import payload_head, submit_head


def test_each_role_measures_its_own(package):
    told = []
    both = with_overhead(package.profile, package, tasks=3, progress=lambda text, done: told.append(done))
    assert 0 < both.task_ms < 500
    assert 0 <= both.offload_ms < 500
    assert both.model_copy(update={"task_ms": 0.0, "offload_ms": 0.0}) == framed(package.profile, package)
    assert told[-1] == 1.0


def test_a_device_keeps_what_the_edge_measured(package):
    known = package.profile.model_copy(update={"offload_ms": 7.0})
    found = with_overhead(known, package, "device", tasks=3)
    assert found.offload_ms == 7.0
    assert found.task_ms > 0


def test_what_is_sent_is_a_whole_frame(package):
    profile = framed(package.profile, package)
    for partition, cut in enumerate(package.manifest.cuts):
        whole = len(submit_head(1, partition, 1, 0.0, payload_head(cut), cut.payload_bytes)) + cut.payload_bytes
        assert profile.payload_bytes(partition) == whole
    assert framed(profile, package) == profile  # measured once more, nothing is added again
