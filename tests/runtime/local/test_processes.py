"""Child processes: how they end is told with their last word, and they end when asked to, all at once."""

from __future__ import annotations

import os
import signal

import pytest

from hasten.runtime.local import processes as children
from hasten.runtime.local.processes import Child, ChildError, end_all


def test_a_process_that_ends_is_named_with_its_last_line():
    child = Child("none", "cam", ("no_such_module_anywhere",))
    with pytest.raises(ChildError, match=r"cam: the process ended \(exit code 1\): .*No module named no_such_module"):
        child.wait()
    child.end()


def test_a_process_that_is_killed_is_named_with_the_signal():
    child = Child("relay", "link")
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(ChildError, match=r"link: the process ended \(killed by SIGKILL\)"):
        child.wait()
    child.end()


def test_what_a_process_refuses_is_named():
    child = Child("device", "cam")
    with pytest.raises(ChildError, match=r"cam: .*nowhere\.hasten"):
        child.ask("start", package="nowhere.hasten", profile=None)
    child.end()


def test_processes_end_together_even_those_that_do_not_listen(monkeypatch):
    monkeypatch.setattr(children, "END_TIMEOUT_S", 0.1)
    deaf = Child("none", "deaf", ("http.server", "--bind", "127.0.0.1", "0"))  # does not read its input
    listening = [Child("relay", "link") for _ in range(2)]
    end_all([deaf, *listening])
    assert not any(child.alive for child in (deaf, *listening))
