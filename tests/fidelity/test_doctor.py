"""What the doctor finds, and that it finds what is wrong."""

from __future__ import annotations

import json
import os
import re
import socket
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from hasten.fidelity import doctor

ROOT = Path(__file__).parents[2]


def found(what):
    (one,) = [one for one in doctor.examine() if one.what == what]
    return one


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(doctor, "SLEEPS", 2)


def test_a_machine_that_runs_the_tests_has_no_problem(monkeypatch):
    monkeypatch.delenv("HASTEN_DATA", raising=False)
    examined = doctor.examine()
    assert not [one for one in examined if one.health == "problem"]
    assert f"hasten {metadata.version('hasten')}" in found("versions").found
    assert all(one.do for one in examined if one.health != "ok" and "not needed" not in one.found)


def test_every_extra_is_known_with_its_own_packages():
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    own = {
        extra: {re.split(r"[>=<;\[ ]", need)[0] for need in needs} - {"hasten"}
        for extra, needs in asked.items()
        if extra not in ("all", "dev", "fuzz", "ray")  # collections, and what only development and clusters need
    }
    assert set(doctor.EXTRAS) == set(own)
    assert not {
        extra: own[extra] - set(doctor.EXTRAS[extra]) for extra in own if own[extra] - set(doctor.EXTRAS[extra])
    }


def test_a_missing_extra_is_named_with_the_command(monkeypatch):
    monkeypatch.setitem(doctor.EXTRAS, "plan", ("numpy", "no-such-package"))
    one = found("hasten[plan]")
    assert (one.health, one.found, one.do) == ("note", "without no-such-package", "pip install 'hasten[plan]'")


def test_a_data_folder_that_is_none(monkeypatch):
    monkeypatch.setenv("HASTEN_DATA", "/no/such/folder")
    assert found("recorded data").health == "problem"
    assert "/no/such/folder" in found("recorded data").found


def test_no_sockets(monkeypatch):
    def refused(*args, **kwargs):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(socket, "create_server", refused)
    one = found("sockets and shaped links")
    assert one.health == "problem" and "not permitted" in one.found


def test_one_core_and_a_busy_machine(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    assert "take turns" in found("cores").do
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 0.0, 0.0), raising=False)
    assert "other programs" in found("cores").do
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 0.0, 0.0), raising=False)
    assert found("cores").health == "ok"


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setattr("hasten.core.compiled.cache_folder", lambda: blocked / "kernels")
    one = found("cache of compiled code")
    assert one.health == "note" and "NUMBA_CACHE_DIR" in one.do


def test_the_command_tells_programs_too():
    from typer.testing import CliRunner

    from hasten.cli.app import app

    result = CliRunner().invoke(app, ["doctor", "--json", "-"], env={"HASTEN_DATA": ""})
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["schema"] == "hasten.doctor/1"
    assert {"versions", "cores", "timer"} <= {one["what"] for one in document["examined"]}
    failed = CliRunner().invoke(app, ["doctor"], env={"HASTEN_DATA": "/no/such/folder"})
    assert failed.exit_code == 1
