from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from hasten.core.errors import HastenError, InputError
from hasten.split.executor import ExecutionError, Executor, zeros


@pytest.fixture(scope="module")
def executor(package) -> Executor:
    return Executor(package)


def test_every_option_gives_what_torch_gives(package, executor, make_net):
    """Raw frames in: the scaling to 0..1 is part of the graph."""
    module, *_ = make_net("residual")
    frames, _ = package.samples()
    for frame in (frames[:1], frames[5:6], np.full_like(frames[:1], 255)):
        with torch.no_grad():
            wanted = module(torch.from_numpy(frame.copy()).float() / 255)
        for exit_, partition in package.manifest.options():
            tensors = executor.prefix(partition, [frame]) if partition else [frame]
            logits = executor.finish(partition, exit_, tensors)
            assert logits.shape == (5,)
            np.testing.assert_allclose(logits, wanted[exit_ - 1][0].numpy(), rtol=1e-4, atol=1e-4)


def test_prefix_gives_the_tensors_that_the_manifest_declares(package, executor):
    for partition in range(1, package.manifest.block_count + 1):
        tensors = executor.prefix(partition, [zeros(package.manifest.input)])
        declared = [((1, *spec.shape), spec.dtype) for spec in package.manifest.cuts[partition].tensors]
        assert [(tensor.shape, str(tensor.dtype)) for tensor in tensors] == declared


@pytest.mark.parametrize(
    ("call", "mention"),
    [
        (lambda e: e.prefix(0, []), "partition: got 0"),
        (lambda e: e.prefix(99, []), "partition: got 99"),
        (lambda e: e.finish(0, 0, []), "exit: got 0"),
        (lambda e: e.finish(0, 4, []), "exit: got 4"),
        (lambda e: e.finish(4, 1, []), "partition: got 4, expected 0..3 for exit 1"),
        (lambda e: e.finish(-1, 1, []), "partition: got -1"),
    ],
)
def test_options_that_do_not_exist_are_refused(executor, call, mention):
    with pytest.raises(InputError, match=mention):
        call(executor)


def test_tensors_that_do_not_fit_are_an_error_in_one_line(executor):
    for tensors in ([np.zeros((1, 1, 20, 21), np.uint8)], [np.zeros((1, 1, 20, 20), np.float32)], []):
        with pytest.raises(ExecutionError) as caught:
            executor.finish(0, 1, tensors)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError):
        Executor(executor.package, threads=0)


def test_several_threads_share_one_executor(package):
    shared = Executor(package)
    frames, _ = package.samples()
    wanted = [Executor(package).finish(0, 3, [frame[None]]) for frame in frames]
    got: dict[int, np.ndarray] = {}

    def work(index: int) -> None:
        got[index] = shared.finish(3, 3, shared.prefix(3, [frames[index][None]]))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(frames))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, logits in enumerate(wanted):
        np.testing.assert_allclose(got[index], logits, rtol=1e-4, atol=1e-4)


def test_warm_builds_what_it_is_told(package):
    executor = Executor(package)
    executor.warm([(1, 0), (2, 3)])
    assert set(executor._sessions) == {("finish", 0, 1), ("prefix", 3, 0), ("finish", 3, 2)}


def test_sessions_unused_for_longest_make_room(package):
    probe = Executor(package)
    probe.warm([(1, 0), (2, 0), (3, 0)])
    needs = [probe._sessions["finish", 0, exit_].memory_bytes for exit_ in (1, 2, 3)]
    frame = [zeros(package.manifest.input)]
    small = Executor(package, memory_bytes=needs[0] + needs[2])
    wanted = [small.finish(0, 1, frame), small.finish(0, 2, frame)]
    small.finish(0, 1, frame)
    small.finish(0, 3, frame)
    assert set(small._sessions) == {("finish", 0, 1), ("finish", 0, 3)}, "exit 2 was unused for longest"
    np.testing.assert_array_equal(small.finish(0, 2, frame), wanted[1])
    assert len(Executor(package, memory_bytes=0).finish(0, 1, frame)) == 5, "one always fits"


def test_running_a_package_needs_no_torch_and_no_onnx(package):
    program = f"""
import sys
import hasten.split.inspect, hasten.profiling
from hasten.split.codec import decode, encode
from hasten.split.executor import Executor
from hasten.split.package import open_package
from hasten.split.verify import verify
package = open_package({str(package.path)!r})
verify(package, samples=2, random_inputs=1)
heavy = {{"torch", "onnx", "onnxscript", "numba", "scipy", "sklearn", "matplotlib"}} & set(sys.modules)
sys.exit(f"imported {{heavy}}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def test_errors_are_hastens_own():
    assert issubclass(ExecutionError, HastenError)
