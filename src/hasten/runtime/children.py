"""The parent's side of child processes: start, ask, wait, and end them whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from hasten.core.errors import HastenError

Message = dict[str, Any]
ANSWER_TIMEOUT_S = 120.0
END_TIMEOUT_S = 3.0
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class ChildError(HastenError):
    """A process of a run reported a failure or ended."""


class Child:
    """One process of :mod:`hasten.runtime.child`, or another module that speaks in JSON lines: its name, arguments."""

    def __init__(self, role: str, name: str, module: Sequence[str] = ()) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", *(module or ("hasten.runtime.child", role))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **_ONE_THREAD},
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, name=f"read-{name}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def tell(self, do: str, **message: Any) -> None:
        """Send an order without waiting for its answer."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # a process that ended is noticed when its answer is waited for
            self._process.stdin.write(json.dumps({"do": do, **message}) + "\n")
            self._process.stdin.flush()

    def poll(self, timeout_s: float) -> Message | None:
        """Its next message, None when there is none in time; :class:`ChildError` when it failed or ended."""
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if not line:
            raise ChildError(f"{self.name}: the process ended (exit code {self._process.poll()})")
        message: Message = json.loads(line)
        if "error" in message:
            raise ChildError(message["error"])
        return message

    def wait(self) -> Message:
        """The answer to the oldest order not waited for; :class:`ChildError` also when it takes far too long."""
        message = self.poll(ANSWER_TIMEOUT_S)
        if message is None:
            raise ChildError(f"{self.name}: no answer within {ANSWER_TIMEOUT_S:.0f} s")
        return message

    def ask(self, do: str, **message: Any) -> Message:
        """Send an order and wait for its answer."""
        self.tell(do, **message)
        return self.wait()

    def end(self) -> None:
        """Close its input, which ends it; kill it if that does not."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")
