"""The trainer beside a device agent: ``python -m hasten.learn.deploy``, started by ``hasten device --learn``.

Round after round it waits until the agent has logged enough new tasks and goes on from the current policy, or from a
better one that was not enough so far: with the logged decisions as experience, in simulated runs around what was
recorded. The last third of the recording is kept from training, for the champion-challenger test
(``learn.champion_challenger``). Only a policy that passes replaces the file, at once; every verdict is written to
``verdicts.jsonl``. It says what happened in JSON lines and ends when its input does.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hasten.core.errors import HastenError, InputError
from hasten.core.options import StreamCosts, option_table
from hasten.core.profile import Profile
from hasten.core.profile_names import load_profile
from hasten.core.task_log import LoggedTask
from hasten.learn.champion_challenger import ENOUGH, RESAMPLES, judge
from hasten.learn.curve import learned_hidden
from hasten.learn.domain import FIXED
from hasten.learn.logs import read_tasks, rebuild
from hasten.learn.recording import DeviceRecording, recording_of, write_scenario
from hasten.learn.settings import Settings
from hasten.learn.train import train_policy
from hasten.policies.guard import observed_range
from hasten.policies.manifest import NetworkOptions, network_options
from hasten.policies.policy import AnyPolicy, load_policy, save_policy

TRAINED_SHARE = 2.0 / 3.0
AROUND = dataclasses.replace(FIXED, uplink_rate=(0.5, 2.0), arrival_rate=(0.5, 2.0))
"""How far training strays from what was recorded."""
WAIT_S = 0.5
LATEST_TASKS = 5000
"""So many tasks of a log are learned from; older ones are another time."""


def continue_policy(
    current: AnyPolicy, tasks: list[LoggedTask], profile: Profile, folder: Path, settings: Settings, where: str | Path
) -> tuple[AnyPolicy, DeviceRecording]:
    """A candidate trained on the first part of what was logged, and the rest of the recording, to judge it by.

    Raises:
        InputError: the policy is not for what the log shows, or the log is too short.
    """
    recording = recording_of(tasks, where)
    known, unseen = recording.split(TRAINED_SHARE)
    scenario = write_scenario(known, profile, folder)
    options = _own_options(current, profile, recording)
    logged = rebuild(tasks[: int(TRAINED_SHARE * len(tasks))], profile, options, where)
    trained = train_policy(scenario, AROUND, settings, logs=logged, start=current).policy
    manifest = trained.manifest
    seen = observed_range(scenario, [scenario.realize(0)])
    training_range = manifest.training_range.joined(seen)
    return dataclasses.replace(trained, manifest=manifest.model_copy(update={"training_range": training_range})), unseen


def settings_for(current: AnyPolicy, updates: int, seed: int) -> Settings:
    """Settings that go on gently from a policy, with its own discount and n of n-step returns."""
    training, values = current.manifest.training, current.manifest.values
    defaults = Settings.usual(values)
    return Settings.usual(
        values,
        init="mixed",
        seed=seed,
        updates=updates,
        hidden=learned_hidden(current.manifest),
        predicted_gain=bool(training.get("predicted_gain")),
        discount=float(training.get("discount") or defaults.discount),
        steps=int(training.get("steps") or defaults.steps),
        learning_rate=0.3 * defaults.learning_rate,
        demonstrations=5000,
        explore=0.1,
        explore_updates=updates,
        round_updates=min(defaults.round_updates, updates),
    )


def _own_options(current: AnyPolicy, profile: Profile, recording: DeviceRecording) -> NetworkOptions:
    """The policy's one network, which must have the very options that the device's scenario has."""
    facts = recording.facts
    table = option_table([StreamCosts(profile, facts.slowdown, facts.edge_slowdown, facts.energy_weight_per_mj)])
    (own,) = network_options([profile.name], table)
    networks = current.manifest.networks
    if len(networks) != 1 or (networks[0].fingerprint, networks[0].options) != (own.fingerprint, own.options):
        known = ", ".join(f"{network.profile} ({len(network.options)} options)" for network in networks)
        raise InputError("policy", "networks", known, f"only {profile.name} with this device's {len(own.options)}")
    return networks[0]


class Rounds:
    """The trainer's state between rounds; everything it writes goes into ``folder``."""

    def __init__(self, policy: Path, log: Path, profile: Profile, folder: Path, tasks: int, updates: int) -> None:
        self._policy, self._log, self._profile, self._folder = policy, log, profile, folder
        self._tasks, self._updates = tasks, updates
        self._number = 0
        self._read_bytes = 0
        self._logged = 0
        self._used = 0
        self._furthest: AnyPolicy | None = None
        """A candidate that was better than the current policy, if not enough: training goes on from there."""

    def step(self) -> dict[str, Any] | None:
        """One round if there are enough new tasks, else None; returns its verdict as logged."""
        self._count_tasks()
        if self._logged < self._used + self._tasks:
            return None
        self._used = self._logged
        tasks = read_tasks(self._log, growing=True)
        self._number += 1
        folder = self._folder / f"round-{self._number}"
        current = load_policy(self._policy)
        settings = settings_for(current, self._updates, self._number)
        try:
            candidate, unseen = continue_policy(
                self._furthest or current, tasks[-LATEST_TASKS:], self._profile, folder, settings, self._log
            )
        except HastenError as error:  # e.g. the edge has just changed, or training diverged
            return self._write({"accepted": False}, f"no candidate: {error}")
        return self.present(candidate, current, unseen, folder)

    def _count_tasks(self) -> None:
        """Count the lines that are new since last time."""
        if self._log.exists():
            with self._log.open("rb") as file:
                file.seek(self._read_bytes)
                new = file.read()
            self._read_bytes += len(new)
            self._logged += new.count(b"\n")

    def present(
        self, candidate: AnyPolicy, current: AnyPolicy, unseen: DeviceRecording, folder: Path
    ) -> dict[str, Any]:
        """Judge a candidate by what it has not seen; replace the policy if it passes, and log the verdict."""
        scenario = write_scenario(unseen, self._profile, folder / "judged")
        runs = [unseen.resample(seed, self._profile.spread) for seed in range(RESAMPLES)]
        verdict = judge(candidate, current, scenario, runs)
        save_policy(folder / "candidate.onnx", candidate)
        self._furthest = candidate if verdict.better_than_current >= ENOUGH else None
        if verdict.accepted:
            save_policy(folder / "replaced.onnx", current)
            save_policy(self._policy, candidate)
        return self._write(verdict.record(), str(verdict))

    def _write(self, found: dict[str, Any], text: str) -> dict[str, Any]:
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        line = {"round": self._number, "time": stamp, "logged": self._used, "text": text} | found
        with (self._folder / "verdicts.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return line


def main() -> None:
    """Train until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("policy", "log", "profile", "folder"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("tasks", "updates"):
        parser.add_argument(f"--{name}", type=int, required=True)
    given = parser.parse_args()
    os.nice(10)  # the agent comes first
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the agent, which then closes our input
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        folder = Path(given.folder)
        folder.mkdir(parents=True, exist_ok=True)
        profile = load_profile(given.profile).stopping(None)
        rounds = Rounds(Path(given.policy), Path(given.log), profile, folder, given.tasks, given.updates)
        while True:
            verdict = rounds.step()
            if verdict is None:
                time.sleep(WAIT_S)
            else:
                _say(verdict)
    except HastenError as error:
        _say({"error": str(error)})


def _end_with_input() -> None:
    """Whoever started this process is gone or done; a round that is under way is of no use any more."""
    for _ in sys.stdin:
        pass
    os._exit(0)


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
