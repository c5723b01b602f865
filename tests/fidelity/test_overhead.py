"""The overhead of a task, measured with real processes."""

from __future__ import annotations

from hasten.core.noise import TimeSpread
from hasten.fidelity.overhead import extras_ms, framed, with_overhead
from hasten.runtime.wire.tasks import payload_head, submit_head


def test_each_role_measures_its_own(package):
    told = []
    both = with_overhead(package.profile, package, tasks=3, progress=lambda text, done: told.append(done))
    assert 0 < both.task_ms < 500
    assert 0 <= both.offload_ms < 500
    assert both.spread.local_extra_ms[0] == both.spread.offload_extra_ms[0] == 0.0  # those below the median
    assert both.spread.local_extra_ms[-1] > 0
    bare = {"task_ms": 0.0, "offload_ms": 0.0, "spread": package.profile.spread}
    assert both.model_copy(update=bare) == framed(package.profile, package)
    assert told[-1] == 1.0


def test_a_device_keeps_what_the_edge_measured(package):
    before = TimeSpread(offload_extra_ms=tuple(range(9)), local_extra_ms=tuple(range(100, 109)))
    known = package.profile.model_copy(update={"offload_ms": 7.0, "spread": before})
    found = with_overhead(known, package, "device", tasks=3)
    assert found.offload_ms == 7.0
    assert found.task_ms > 0
    assert found.spread.offload_extra_ms == tuple(range(9))
    assert found.spread.local_extra_ms[0] == 0.0


def test_extras_are_what_exceeds_the_median():
    assert extras_ms([5.0, 1.0, 2.0, 3.0, 4.0]) == (0.0, 0.0, 0.0, 0.0, 1.0, 1.6, 1.88, 1.98, 2.0)


def test_what_is_sent_is_a_whole_frame(package):
    profile = framed(package.profile, package)
    for partition, cut in enumerate(package.manifest.cuts):
        whole = len(submit_head(1, partition, 1, 0.0, payload_head(cut), cut.payload_bytes)) + cut.payload_bytes
        assert profile.payload_bytes(partition) == whole
    assert framed(profile, package) == profile  # measured once more, nothing is added again
