"""Learning while deployed, the device's side: starts the trainer, which is a process of its own, and swaps policies.

The trainer (:mod:`hasten.learn.deploy`) reads the task log and rewrites the policy file when a new policy has passed
the champion-challenger test. It needs numba; the agent's process does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hasten.core.errors import HastenError, InputError
from hasten.core.profile import Profile
from hasten.runtime.device.agent import DeviceAgent
from hasten.runtime.local.processes import Child
from hasten.schedulers import make_scheduler, policy_file

TRAINER = "hasten.learn.deploy"
POLL_S = 0.2


@dataclass(frozen=True)
class LearnPlan:
    """How the trainer goes about it."""

    tasks: int = 500
    """New tasks in the log before each round."""
    updates: int = 5000
    """Gradient steps of a round."""


class Learning:
    """One deployed policy that is being improved; a context manager.

    Attributes:
        folder: ``POLICY.learning``, where rounds, candidates and ``verdicts.jsonl`` are kept.
    """

    def __init__(self, scheduler: str, plan: LearnPlan, on_note: Callable[[str], None]) -> None:
        """Check that this machine and this scheduler can learn.

        Raises:
            InputError: the scheduler is not a policy from a file.
            HastenError: what training needs is not installed.
        """
        path = policy_file(scheduler)
        if path is None:
            raise InputError("device", "learn", scheduler, "--scheduler policy:FILE, the policy to go on from")
        missing = [name for name in ("numba", "gymnasium", "threadpoolctl") if find_spec(name) is None]
        if missing:
            raise HastenError(f"--learn needs {', '.join(missing)} beside the device: pip install 'hasten[learn]'")
        self._policy = path
        self._scheduler, self._plan, self._on_note = scheduler, plan, on_note
        self.folder = self._policy.with_name(f"{self._policy.name}.learning")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._child: Child | None = None

    def start(self, log: Path, profile: Profile) -> None:
        """Start the trainer on a log that the agent is about to write."""
        path = self.folder / "profile.json"
        path.write_text(profile.to_json(), encoding="utf-8")
        given = {
            "policy": self._policy,
            "log": log,
            "profile": path,
            "folder": self.folder,
            "tasks": self._plan.tasks,
            "updates": self._plan.updates,
        }
        options = [f"--{name}={value}" for name, value in given.items()]
        self._child = Child("trainer", "trainer", (TRAINER, *options))

    async def follow(self, agent: DeviceAgent) -> None:
        """Tell of every verdict, and have the agent decide by each policy that took over; until cancelled."""
        while self._child is not None:
            await asyncio.sleep(POLL_S)
            try:
                verdict = self._child.poll(0.0)
                if verdict is None:
                    continue
                if verdict["accepted"]:
                    agent.take_over(await asyncio.to_thread(make_scheduler, self._scheduler))
                self._on_note(f"learning, round {verdict['round']}: {verdict['text']}")
            except HastenError as error:
                self._on_note(f"learning has ended: {error}")
                return

    def close(self) -> None:
        """End the trainer."""
        if self._child is not None:
            self._child.end()
