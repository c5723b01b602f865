"""An edge whose tasks are computed by replicas on a Ray cluster of this machine, with devices as ever."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_package import build_tiny

import hasten as hs
from hasten.core.confidence import StopRule
from hasten.core.errors import HastenError, InputError
from hasten.core.profile import SegmentBatches
from hasten.runtime.edge.ray_serve.application import Application, application_name
from hasten.runtime.edge.ray_serve.scaling import ReplicaRange
from hasten.runtime.edge.served import ReplicaError
from hasten.runtime.outputs import top_class
from hasten.split.executor import Executor

pytestmark = pytest.mark.timeout(300)  # a machine with much else to do starts Ray slowly

LONG_MS = 60_000.0
SLOWDOWN = 40.0
PATIENCE_S, LOSS = 60.0, 0.5


@pytest.fixture(scope="module", autouse=True)
def ray_serve():
    """Takes long to import, so not by processes that only collect the tests."""
    return pytest.importorskip("ray.serve")


@pytest.fixture(scope="module")
def times(package, tmp_path_factory):
    """A profile by which the network takes a while, two at once little longer than one."""
    batches = (SegmentBatches(exit=2, partition=0, sizes=(1, 2, 4), ms=(1.0, 1.1, 1.2)),)
    heads = tuple(head.model_copy(update={"edge_ms": 0.5}) for head in package.profile.exits)
    path = tmp_path_factory.mktemp("times") / "profile.json"
    path.write_text(package.profile.model_copy(update={"edge_batches": batches, "exits": heads}).to_json())
    return path


@pytest.fixture(scope="module")
def stopping(package, tmp_path_factory):
    """The same network; about half of its frames may stop at the first exit."""
    sure = [top_class(logits)[1] for logits in right(package, package.samples()[0])[1]]
    rule = StopRule(max_accuracy_loss=LOSS, thresholds=(float(np.median(sure)), None))
    return build_tiny(tmp_path_factory.mktemp("stopping") / "tiny.hasten", stop=rule)


@pytest.fixture(scope="module")
def edge(package, stopping, times):
    """One replica, which may become two; the second package comes while it serves."""
    options = {"ray": "local", "replicas": "1:2", "slowdown": SLOWDOWN, "profile": times}
    with hs.Edge([package], port=0, **options) as opened:
        opened.add_package(stopping)
        yield opened


@pytest.fixture(scope="module")
def frames(package):
    return package.samples()[0]


def core_of(edge):
    return edge._edge.server.core


def right(package, frames):
    """What the network gives for each frame at each exit."""
    executor = Executor(package)
    return {exit_: [executor.finish(0, exit_, [frame[None]]) for frame in frames] for exit_ in (1, 2)}


@pytest.mark.parametrize("option", [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)])
def test_answers_are_those_of_an_edge_without_ray_to_the_bit(edge, package, stopping, frames, option):
    exit_, partition = option
    for served in (package, stopping):
        found = []
        with hs.Edge([served], port=0) as embedded:
            for address in (edge.address, embedded.address):
                with hs.Device(served, address, f"fixed:{exit_},{partition}", LONG_MS, outputs=True) as device:
                    answers = [device.infer(frame) for frame in frames[:3]]
                assert {(it.exit, it.partition, it.fallback) for it in answers} == {(exit_, partition, None)}
                found.append([(it.label, it.confidence, it.outputs["logits"].tobytes()) for it in answers])
        assert found[0] == found[1]


def test_a_task_that_may_stop_takes_one_call_and_stops_where_it_would(edge, stopping, frames, monkeypatch):
    application, called = edge._edge._application, []
    call = application.call
    monkeypatch.setattr(application, "call", lambda *given: called.append(given[0]) or call(*given))
    served = next(it for it in core_of(edge).services.all if it.digest.hex() == stopping.digest)
    monkeypatch.setattr(served._remote, "_call", application.call)
    found = []
    with hs.Edge([stopping], port=0) as embedded:
        for address in (edge.address, embedded.address):
            with hs.Device(stopping, address, "fixed:2,0", LONG_MS, max_accuracy_loss=LOSS) as device:
                found.append([(it.exit, it.label, it.confidence) for it in map(device.infer, frames)])
    assert found[0] == found[1] and {exit_ for exit_, _, _ in found[0]} == {1, 2}
    assert called == ["run"] * len(frames)


def test_frames_that_wait_are_sent_to_a_replica_at_once(edge, package, frames, monkeypatch):
    sizes, served = [], core_of(edge).services.all[0]
    at_once = served.runner.outputs_of

    def counted(partition, exit_, samples):
        sizes.append(len(samples))
        return at_once(partition, exit_, samples)

    monkeypatch.setattr(served.runner, "outputs_of", counted)
    labels = [int(logits.argmax()) for logits in right(package, frames)[2]]
    with hs.Device(package, edge.address, "fixed:2,0", LONG_MS) as device:
        answers = [it.result() for it in [device.submit(frame) for frame in frames]]
    assert [answer.label for answer in answers] == labels and {answer.ran_on for answer in answers} == {"edge"}
    assert 2 <= max(sizes) <= 4


def busy_until(edge, package, frames, come):
    """Keep the edge busy until ``come``; every answer that was given, with its frame's number."""
    answers, end_s = [], time.monotonic() + PATIENCE_S
    with hs.Device(package, edge.address, "fixed:2,1", LONG_MS) as device:
        while not come(len(answers)):
            assert time.monotonic() < end_s
            futures = [device.submit(frame) for frame in frames]
            answers += [(number, future.result()) for number, future in enumerate(futures)]
    return answers


def test_a_backlog_brings_a_replica_and_one_that_dies_costs_no_task(edge, package, frames):
    import ray
    from ray.util import list_named_actors

    core, labels = core_of(edge), [int(logits.argmax()) for logits in right(package, frames)[2]]
    assert core.workers == 1
    answers = busy_until(edge, package, frames, lambda count: core.workers == 2)

    def kill_once(count):
        if count == len(frames):
            name = next(it["name"] for it in list_named_actors(all_namespaces=True) if "#replica#" in it["name"])
            ray.kill(ray.get_actor(name, namespace="serve"))
        return count >= 5 * len(frames)

    answers += busy_until(edge, package, frames, kill_once)
    assert [answer.label for _, answer in answers] == [labels[number] for number, _ in answers]
    assert {answer.outcome for _, answer in answers} == {"on_time"}
    assert core.totals["refused (failed)"] == 0, "the other replica had them"


def test_what_a_replica_raises_is_what_the_segment_raises(edge):
    served = core_of(edge).services.all[0]
    with pytest.raises(InputError, match="partition: got 7"):
        served.runner.outputs(7, 2, [np.zeros((1, 1, 32, 32), np.float32)])


def wait_for_drops():
    for thread in threading.enumerate():
        if thread.name == "hasten-drop":
            thread.join(PATIENCE_S)


def test_replicas_drop_what_is_served_no_longer(edge, newer):
    application, asked = edge._edge._application, (newer.digest, 0, 2, [newer.samples()[0][:1]], False)
    application.hold(newer, None)
    assert application.call("run", *asked)[0] == 2
    application.drop(newer.digest)
    wait_for_drops()
    with pytest.raises(KeyError, match=newer.digest) as raised:  # the board has it no longer, either
        application.call("run", *asked)
    assert "Traceback" not in str(raised.value) and "\n" not in str(raised.value), "a device reads it"


def test_a_package_that_replicas_cannot_read_is_refused_and_they_serve_on(edge, package, frames, tmp_path):
    application, broken = edge._edge._application, tmp_path / "broken.hasten"
    broken.write_bytes(b"nothing")
    with pytest.raises(HastenError, match=r"--ray: replicas do not start with broken\.hasten: .*") as refused:
        application.hold(SimpleNamespace(path=broken, digest="broken"), None)
    assert "Traceback" not in str(refused.value)
    assert "broken" not in application._ray.get(application._board.digests.remote())
    with hs.Device(package, edge.address, "fixed:2,0", LONG_MS) as device:
        assert device.infer(frames[0]).ran_on == "edge"


class Played:
    """Ray with a board and replicas in this process, for an application: what they were asked, in order."""

    def __init__(self, application, raised=None):
        self.asked, self.raised, self.dropped = [], raised, threading.Event()
        application._ray, application._board, application._everybody = self, self, self
        application._serve = SimpleNamespace(delete=self.fails)

    def __getattr__(self, method):
        return SimpleNamespace(remote=lambda *given: self.asked.append((method, *given[:1])))

    def get(self, answer, timeout):
        return answer

    def broadcast(self, method, digest):
        def results(timeout_s):
            with pytest.raises(RuntimeError):  # Ray Serve refuses to wait in an event loop
                asyncio.get_running_loop()
            self.asked.append((f"all {method}", digest))
            if method == "drop":
                self.dropped.set()
            raise self.raised

        return SimpleNamespace(results=results)

    def is_initialized(self):
        return True

    def fails(self, *given, **named):
        raise RuntimeError("the cluster has gone")

    kill = fails

    def shutdown(self):
        self.asked.append(("shutdown",))


@pytest.fixture
def alone():
    """An application that is connected to nothing."""
    return Application("hasten-played", ReplicaRange(1, 2), 1 << 20)


def test_replicas_are_told_what_to_drop_from_an_event_loop(alone):
    played = Played(alone, TimeoutError())

    async def drop():
        alone.drop("digest")

    asyncio.run(drop())
    assert played.dropped.wait(30)
    assert played.asked == [("withdraw", "digest"), ("all drop", "digest")]


def test_a_package_that_does_not_load_is_left_on_no_board(alone, package):
    played = Played(alone, ValueError("no room"))
    with pytest.raises(HastenError, match=r"--ray: replicas do not start with tiny\.hasten: no room"):
        alone.hold(package, None)
    assert played.dropped.wait(30)
    assert [asked for asked, _ in played.asked] == ["offer", "all hold", "withdraw", "all drop"]


def test_a_cluster_ends_whatever_fails_and_nothing_starts_it_anew(alone, package):
    played = Played(alone)
    alone._connected, alone._running = True, 1
    alone.close()
    assert played.asked[-1] == ("shutdown",)
    asked = len(played.asked)
    assert alone.count() == 0
    with pytest.raises(InputError, match="the edge is closed"):
        alone.connect("local")
    with pytest.raises(HastenError, match="the edge is closed"):
        alone.hold(package, None)
    with pytest.raises(ReplicaError, match="no replica is there"):
        alone.call("run")
    assert len(played.asked) == asked


def test_an_edge_in_the_same_place_keeps_its_name():
    assert application_name(7700) == application_name(7700) != application_name(7701)
    assert application_name(0) != application_name(0)


def test_a_second_edge_in_the_same_place_leaves_the_first_alone(edge, package, frames):
    first = edge._edge._application
    with pytest.raises(InputError, match=r"ray: got 'local', expected a Ray cluster for hasten-.*already taken"):
        Application(first._name, first.allowed, 1 << 20).connect("local")
    with hs.Device(package, edge.address, "fixed:2,0", LONG_MS) as device:
        assert device.infer(frames[0]).ran_on == "edge"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"replicas": "2"}, r"replicas: got '2', expected a Ray cluster"),
        ({"ray": "local", "replicas": "0"}, r"replicas: got '0', expected MIN or MIN:MAX"),
        ({"ray": "local", "workers": 2}, r"workers: got 2, expected replicas"),
        ({"ray": "ray://127.0.0.1:1"}, r"ray: got 'ray://127.0.0.1:1', expected local, auto, or"),
    ],
)
def test_what_cannot_be(package, options, said):
    with pytest.raises(InputError, match=said):
        hs.Edge([package], port=0, **options)
