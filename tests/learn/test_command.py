"""What a training writes: checked before it begins, kept somewhere when a disk fails, never the end of it."""

import struct
from pathlib import Path

import numpy as np
import pytest
from learn_scenarios import SMALL, cameras
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event

import hasten as hs
from hasten.core.errors import HastenError, InputError
from hasten.learn import command, trainer
from hasten.learn.checkpoint import load_checkpoint
from hasten.learn.command import save_somewhere, train_to_file
from hasten.learn.curve import CurvePoint, TrainedScheduler
from hasten.learn.domain import FIXED
from hasten.learn.event_files import EventWriter, scalars
from hasten.learn.validation import Score
from hasten.policies.policy import load_policy

pytestmark = pytest.mark.usefixtures("quick_training")

POINT = CurvePoint(7, 40, 1.5, 0.25, 0.75, 0.4, Score(0.6, 0.5, 0.7, 0.9, 1.1, 0.0, 0.3, False))


@pytest.fixture
def trained(quick_training):
    return hs.train(cameras(1), domain=FIXED, **SMALL)


@pytest.fixture
def no_training(monkeypatch):
    def train(*args, **options):
        raise AssertionError("the training began")

    monkeypatch.setattr(command, "train", train)
    monkeypatch.setattr(trainer.Trainer, "__init__", train)


def to_file(output, **options):
    return train_to_file(cameras(1), Path(output), FIXED, lambda what, done: None, [], None, **(SMALL | options))


@pytest.mark.parametrize("output", ["", "file/policy.onnx"])
def test_a_policy_that_cannot_be_written_is_noticed_before_the_training(tmp_path, no_training, output):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match=r"output: got .*, expected a writable file"):
        to_file(tmp_path / output)


def test_checkpoints_and_events_that_cannot_be_written_are_noticed_before_the_training(tmp_path, no_training):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match="checkpoint: got"):
        hs.train(cameras(1), domain=FIXED, checkpoint=tmp_path, **SMALL)
    with pytest.raises(InputError, match="tensorboard: got"):
        hs.train(cameras(1), domain=FIXED, tensorboard=tmp_path / "file", **SMALL)


def test_a_policy_that_cannot_be_written_after_all_is_kept_and_named(tmp_path, trained, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with pytest.raises(HastenError, match="the policy is kept in ") as failure:
        save_somewhere(trained, tmp_path)
    kept = Path(str(failure.value).rsplit(" ", 1)[1])
    assert load_policy(kept).manifest == trained.policy.manifest


def test_a_failing_checkpoint_is_told_once_and_training_goes_on(tmp_path, monkeypatch):
    def fail(path, facts, arrays):
        raise InputError(path, "checkpoint", str(path), "a file that can be written (No space left on device)")

    monkeypatch.setattr(trainer, "save_checkpoint", fail)
    found = hs.train(cameras(1), domain=FIXED, checkpoint=tmp_path / "ck", **SMALL).training
    assert len(found.curve) == 2
    (warning,) = [text for text in found.warnings() if "checkpoint" in text]
    assert warning.startswith("a checkpoint is missing") and "No space left" in warning


def test_event_files_are_what_tensorboard_reads(tmp_path):
    with EventWriter(tmp_path / "runs") as writer:
        writer(POINT)
    data, events = writer.path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body, rest = data[12 : 12 + length], data[12 + length :]
        assert [struct.unpack("<I", part[:4])[0] for part in (data[8:], rest)] == [masked(data[:8]), masked(body)]
        events.append(Event.FromString(body))
        data = rest[4:]
    assert events[0].file_version == "brain.Event:2" and events[1].step == 7
    values = {value.tag: value.simple_value for value in events[1].summary.value}
    assert values == {tag: pytest.approx(value) for tag, value in scalars(POINT).items()}


def masked(data):
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def test_a_full_disk_ends_events_and_not_the_training(tmp_path):
    with EventWriter(tmp_path) as writer, Path("/dev/full").open("wb", buffering=0) as full:
        writer._file.close()
        writer._file = full
        writer(POINT)
        assert "no events after 7 steps (No space left on device)" in writer.failure
        writer(POINT)


def test_a_checkpoint_with_nan_weights_is_refused_by_name(tmp_path):
    path = tmp_path / "ck"
    hs.train(cameras(1), domain=FIXED, checkpoint=path, **SMALL)
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["dqn.average"][3] = np.nan
    with path.open("wb") as file:
        np.savez(file, **arrays)
    with pytest.raises(InputError, match=r"dqn.average: got 'NaN or infinity'"):
        load_checkpoint(path)


def test_trained_scheduler_is_saved_whole(tmp_path, trained):
    path = tmp_path / "new" / "policy.onnx"
    assert isinstance(trained, TrainedScheduler)
    trained.save(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["policy.onnx"]
