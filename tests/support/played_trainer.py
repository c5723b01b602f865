"""The real trainer's process, champion-challenger test and takeover, but its candidates come from files: ``candidate-ROUND.onnx``."""

from pathlib import Path

from hasten.learn import deploy
from hasten.learn.recording import recording_of
from hasten.policies.policy import load_policy


def played(current, tasks, profile, folder, settings, where):
    folder.mkdir()
    number = int(folder.name.removeprefix("round-"))
    unseen = recording_of(tasks, where).split(deploy.TRAINED_SHARE)[1]
    return load_policy(Path(where).parent / f"candidate-{number}.onnx"), unseen


if __name__ == "__main__":
    deploy.continue_policy = played
    deploy.main()
