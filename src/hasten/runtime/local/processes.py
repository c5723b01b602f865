"""The parent's side of child processes: start, ask, wait, and end them whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from hasten.core.errors import HastenError

Message = dict[str, Any]
ANSWER_TIMEOUT_S = 120.0
END_TIMEOUT_S = 1.0
"""A process that has not ended so long after its input did is killed."""
LAST_LINE_S = 0.5
"""So long after a process has ended its last words may still come."""
MAX_WORDS = 300
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class ChildError(HastenError):
    """A process of a run reported a failure or ended."""


class Child:
    """One process of :mod:`hasten.runtime.local.roles`, or another module that speaks in JSON lines."""

    def __init__(self, role: str, name: str, module: Sequence[str] = ()) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", *(module or ("hasten.runtime.local.roles", role))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **_ONE_THREAD},
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._last_words = ""
        threading.Thread(target=self._read, name=f"read-{name}", daemon=True).start()
        self._listener = threading.Thread(target=self._listen, name=f"listen-{name}", daemon=True)
        self._listener.start()

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
            raise self.death()
        message: Message = json.loads(line)
        if "error" in message:
            raise ChildError(f"{self.name}: {message['error']}")
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

    def death(self) -> ChildError:
        """How the process, which has closed its output, ended, with the last line that it wrote on standard error."""
        try:
            code = self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return ChildError(f"{self.name}: the process does not answer any more")
        self._listener.join(LAST_LINE_S)
        how = f"killed by {_signal_name(-code)}" if code < 0 else f"exit code {code}"
        words = f": {self._last_words}" if self._last_words else ""
        return ChildError(f"{self.name}: the process ended ({how}){words}")

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Close its input, which ends it; kill it if that does not."""
        end_all([self])

    def let_go(self) -> None:
        """Close its input, which ends it."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def ended_by(self, moment_s: float) -> None:
        """Wait until the process has ended, until ``moment_s`` (time.monotonic()) at most; then kill it."""
        try:
            self._process.wait(max(moment_s - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._last_words = line.strip()[:MAX_WORDS] or self._last_words


def end_all(children: Iterable[Child]) -> None:
    """End processes, all at the same time."""
    ending = list(children)
    for child in ending:
        child.let_go()
    moment_s = time.monotonic() + END_TIMEOUT_S
    for child in ending:
        child.ended_by(moment_s)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
