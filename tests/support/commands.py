"""``hasten`` as processes of its own, for tests; ended whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence

WAIT_S = 20.0
AS_COMMAND = ("-m", "hasten.cli")

NO_FILES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # nothing can be written to a file, by libraries neither

def refuse(event, arguments):
    made = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    named = str(arguments[0]) if arguments else ""
    if (made or event in ("os.mkdir", "os.rename", "os.remove", "os.symlink", "os.link")) and named != "/dev/null":
        raise OSError(30, "Read-only file system", named)

sys.addaudithook(refuse)
from hasten.cli import main
main()
"""
"""Runs a command as on a file system that cannot be written."""


class Command:
    """A running command.

    Attributes:
        process: what runs.
    """

    def __init__(self, *arguments: object, code: Sequence[str] = AS_COMMAND) -> None:
        words = [sys.executable, *code, *map(str, arguments)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def line(self) -> str:
        """The next line of its standard output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.process.pid, number)

    def ended(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        """End it: (exit code, the rest of its standard output, its standard error)."""
        self.send(number)
        out, err = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, out, err


@contextlib.contextmanager
def command(*arguments: object, code: Sequence[str] = AS_COMMAND) -> Iterator[Command]:
    """Start ``hasten ARGUMENTS``; killed at the end if it still runs."""
    started = Command(*arguments, code=code)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
            started.process.communicate()


@contextlib.contextmanager
def edge_command(package: object, *options: object, code: Sequence[str] = AS_COMMAND) -> Iterator[tuple[Command, str]]:
    """``hasten edge`` that listens, and its address."""
    with command("edge", package, "--port", 0, *options, code=code) as started:
        said = started.line()
        assert said.startswith("edge serves"), said or started.process.communicate()[1]
        yield started, said.split(";")[0].rpartition(" on ")[2]
