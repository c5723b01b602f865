from __future__ import annotations

import re
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from hasten.core.errors import HastenError, InputError
from hasten.split.executor import ExecutionError, Executor, Key, segments_of, zeros
from hasten.split.package import open_package
from hasten.split.segment_times import time_segments


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


class CountedSession:
    """Stands for a session: makes nothing, takes no time but a virtual millisecond."""

    def __init__(self, outputs, tick):
        self.outputs, self.tick = outputs, tick

    def run(self, tensors):
        self.tick(1.0)
        return [np.zeros(shape, np.float32) for shape in self.outputs]


class Workshop:
    """Makes sessions that take 50 virtual milliseconds to make, and counts them."""

    def __init__(self):
        self.made, self.now_ms = [], 0.0

    def __call__(self, package, key, threads):
        self.made.append(key)
        self.tick(50.0)
        manifest = package.manifest
        cut = manifest.cuts[key.partition].tensors
        outputs = [(1, *spec.shape) for spec in cut] if key.kind == "prefix" else [(1, manifest.classes)]
        return CountedSession(outputs, self.tick)

    def tick(self, ms):
        self.now_ms += ms

    def clock(self):
        return self.now_ms / 1e3


def small_executor(package, keys, **settings):
    """An executor with the memory of ``keys``, and the workshop that serves it."""
    workshop = Workshop()
    memory = sum(Executor(package).segment_bytes(Key(*key)) for key in keys)
    return Executor(package, memory_bytes=memory, make=workshop, clock=workshop.clock, **settings), workshop


def test_what_is_used_is_kept_although_not_all_fits(package):
    """Options taken in turns, as a scheduler takes them, beside all that was warmed up and is not used."""
    used = [("prefix", 1, 0), ("finish", 1, 3), ("finish", 2, 3)]
    executor, workshop = small_executor(package, used)
    executor.warm()
    for _ in range(8):
        executor.prefix(1, [])
        executor.finish(1, 3, [])
        executor.finish(2, 3, [])
    workshop.made.clear()
    for _ in range(20):
        executor.prefix(1, [])
        executor.finish(1, 3, [])
        executor.finish(2, 3, [])
    assert workshop.made == []


def test_more_in_turns_than_fits_rebuilds_the_odd_one_only(package):
    executor, workshop = small_executor(package, [("finish", 0, 3), ("finish", 1, 3)])
    for _ in range(50):
        for partition in (0, 1, 2):
            executor.finish(partition, 3, [])
    assert len(workshop.made) < 60, "two stay, the third is made for each of its 50 calls"
    assert executor.build_ms("finish", 0, 3) == 0.0
    assert executor.build_ms("finish", 2, 3) == pytest.approx(50.0), "predictions can know what a call costs"


def test_wanted_options_are_warmed_and_nothing_else_takes_their_place(package):
    after = package.manifest.exits[0].after_block
    executor, workshop = small_executor(package, [("finish", 0, 1)], options=[(1, after)], role="device")
    executor.warm()
    assert workshop.made == [Key("finish", 0, 1)], "exit 1 on the device is one segment"
    assert executor.shortfall() is None
    for _ in range(5):
        executor.finish(0, 3, [])
    workshop.made.clear()
    executor.finish(0, 1, [])
    assert workshop.made == []


def test_a_shortfall_is_told_in_words(package):
    executor, _ = small_executor(package, [("finish", 0, 1)])
    executor.warm()
    assert re.fullmatch(
        r"memory: 1 MB hold 1 of \d+ segments, all need \d+ MB; .* takes up to \d+ ms", executor.shortfall()
    )
    assert Executor(package, memory_bytes=0).finish(0, 1, [zeros(package.manifest.input)]).shape == (5,), "one fits"


def test_roles_need_their_part_of_an_option(package):
    manifest = package.manifest
    assert segments_of(manifest, [(3, 1)], "edge") == [Key("finish", 1, 3)]
    assert segments_of(manifest, [(3, 1), (2, 0)], "device") == [
        Key("prefix", 1, 0),
        Key("finish", 1, 3),
        Key("finish", 0, 2),
    ]
    local = manifest.exits[0].after_block
    assert segments_of(manifest, [(1, local)], "edge") == []


def test_times_hold_no_making_of_sessions(package):
    """With memory for one segment at a time, each call would make its session anew."""
    for memory in (0, 3 << 20, 1 << 30):
        workshop = Workshop()
        executor = Executor(package, memory_bytes=memory, make=workshop, clock=workshop.clock)
        times = time_segments(executor, gap_ms=0, repeats=5, clock=workshop.clock)
        assert [run for _, run in times.finish.values()] == pytest.approx([1.0] * len(times.finish))
        assert [run for run, _ in times.prefix.values()] == pytest.approx([0.0] + [1.0] * (len(times.prefix) - 1))
        segments = len(segments_of(package.manifest, package.manifest.options()))
        assert len(workshop.made) <= segments + package.manifest.block_count


def test_weights_are_not_held_by_the_package(package):
    """They are views into the mapped file; a session takes its own copy."""
    opened = open_package(package.path)
    weight = next(iter(opened.weights.values()))
    assert not weight.flags.owndata and not weight.flags.writeable
    frame = [zeros(opened.manifest.input)]
    wanted = Executor(package).finish(0, 3, frame)
    np.testing.assert_array_equal(Executor(opened).finish(0, 3, frame), wanted)


def test_a_package_written_over_while_open_is_refused_not_run(package, tmp_path):
    path = tmp_path / "p.hasten"
    path.write_bytes(package.path.read_bytes())
    opened = open_package(path)
    executor = Executor(opened)
    executor.warm([(1, 0)])
    with path.open("r+b") as file:
        file.truncate(100)
    assert executor.finish(0, 1, [zeros(opened.manifest.input)]).shape == (5,), "what was built goes on"
    with pytest.raises(InputError, match="other bytes than when it was opened"):
        executor.finish(0, 2, [zeros(opened.manifest.input)])


def test_running_a_package_needs_no_torch_and_no_onnx(package):
    program = f"""
import sys
import hasten.split.inspect, hasten.fidelity.profiling
from hasten.split.codecs.uint8_zstd import Uint8Zstd
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
