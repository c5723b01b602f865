"""What the device's stage takes for a payload."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from virtual_cases import profile

from hasten.runtime.device.device_times import DeviceTimes
from hasten.runtime.device.stages import DeviceStage
from hasten.runtime.device.tasks import Arrival, Task


@pytest.mark.parametrize("cut", [0, 2])
def test_the_input_crosses_at_cut_0_however_far_the_processor_is(cut):
    frame, inner = [np.zeros(3)], [np.ones(5)]
    compute = SimpleNamespace(
        submit=lambda job, urgent: job.done(job.work(0.0)), play=lambda slowdown, planned_ms, work: (work(), 1.0)
    )
    machine = SimpleNamespace(compute=compute, encode=lambda tensors, cut: tensors)
    stage = DeviceStage(machine, None, profile(), [None] * 5, DeviceTimes(profile(), 1.0), None)
    task = Task(1, Arrival(0.0, 0, frame, 1), 0.0, 100.0, 100.0, tensors=inner, held_cut=2)
    payloads = []
    stage.encode(task, cut, payloads.append)
    assert payloads[0][0] is (inner if cut else frame)[0]
