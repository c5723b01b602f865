"""Schedulers of other packages are found by their entry points, and a broken one is told in one line."""

from importlib import metadata

import pytest

import hasten as hs
from hasten.schedulers import policy_file, split_specs


class Mine:
    """A scheduler of another package."""

    name = "whatever"

    def __init__(self, argument: str = "") -> None:
        if argument == "wrong":
            raise hs.InputError("schedulers", "mine", argument, "a number")
        self.argument = argument

    def reset(self, context):
        pass

    def decide(self, view):
        return hs.Decision(view.stream * 0)


def fails(argument: str) -> Mine:
    raise OSError("no such\nlicence")


def leaves(argument: str) -> Mine:
    raise SystemExit(3)


def nothing(argument: str) -> object:
    return argument


@pytest.fixture
def installed(monkeypatch):
    """Makes entry points known, by name."""

    def install(**values: str) -> None:
        entries = [metadata.EntryPoint(name, value, "hasten.schedulers") for name, value in values.items()]

        def entry_points(**wanted: str) -> metadata.EntryPoints:
            return metadata.EntryPoints(entries).select(**wanted)

        monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
        module = type(pytest)("another_package")
        module.__dict__.update(Mine=Mine, fails=fails, leaves=leaves, nothing=nothing)
        monkeypatch.setitem(__import__("sys").modules, "another_package", module)

    return install


def test_a_scheduler_of_another_package_is_made_by_name_and_keeps_the_name_asked_for(installed):
    installed(mine="another_package:Mine")
    assert "mine" in hs.scheduler_names()
    assert "greedy" in hs.scheduler_names()
    made = hs.make_scheduler("mine:3")
    assert (type(made), made.argument, made.name) == (Mine, "3", "mine:3")


def test_hastens_own_names_come_first(installed):
    installed(greedy="another_package:Mine", dqn="another_package:Mine")
    assert type(hs.make_scheduler("greedy")).__module__ == "hasten.schedulers.greedy"
    assert hs.scheduler_names().count("greedy") == 1
    with pytest.raises(hs.InputError, match="policy:FILE"):
        hs.make_scheduler("dqn")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("no_such_package:Mine", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("another_package:Missing", "AttributeError"),
        ("another_package:fails", "OSError: no such licence"),
        ("another_package:leaves", "SystemExit: 3"),
        ("another_package:nothing", "a scheduler, which has name, reset and decide"),
        ("another_package", "TypeError"),
    ],
)
def test_a_broken_one_is_one_line_that_names_it(installed, value, says):
    installed(broken=value)
    with pytest.raises(hs.InputError) as caught:
        hs.make_scheduler("broken:1")
    line = str(caught.value)
    assert f"scheduler broken ({value})" in line
    assert says in line
    assert "\n" not in line


def test_its_own_refusal_is_kept(installed):
    installed(mine="another_package:Mine")
    with pytest.raises(hs.InputError, match="schedulers: mine: got 'wrong', expected a number"):
        hs.make_scheduler("mine:wrong")


def test_two_packages_with_one_name_are_refused(installed, monkeypatch):
    entries = metadata.EntryPoints(metadata.EntryPoint("two", value, "hasten.schedulers") for value in ("a:A", "b:B"))
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **wanted: entries.select(**wanted))
    with pytest.raises(hs.InputError, match="two: got 'a:A, b:B', expected one package"):
        hs.make_scheduler("two")


def test_a_wrong_name_gets_the_nearest_right_one_whosever_it_is(installed):
    installed(clairvoyance="another_package:Mine")
    with pytest.raises(hs.InputError, match="did you mean clairvoyance"):
        hs.make_scheduler("clairvoyanse")


def test_the_policy_file_of_a_name():
    assert str(policy_file("policy:a/b.onnx")) == str(policy_file("dqn:a/b.onnx")) == "a/b.onnx"
    assert policy_file("policy") is None
    assert policy_file("greedy") is None


def test_every_name_is_shown_as_it_was_asked_for():
    for spec in split_specs("edgent:slack,random,fixed:2,1,device-only:deepest,load-threshold:0.2,0.5,greedy"):
        assert hs.make_scheduler(f" {spec} ").name == spec
