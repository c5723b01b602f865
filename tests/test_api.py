"""The public names: which there are, that importing them is light, and one `simulate` for names and objects."""

import re
import runpy
import subprocess
import sys
import types
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import hasten as hs
from hasten.core.decision import is_clairvoyant
from hasten.core.ranking import rule_of
from hasten.schedulers.greedy import Greedy

ROOT = Path(__file__).parent.parent
NAMES = [
    "Answer",
    "AsyncDevice",
    "Clairvoyant",
    "ClosedError",
    "Context",
    "DROP",
    "Decision",
    "Device",
    "DeviceStats",
    "Domain",
    "Edge",
    "EdgeChoosing",
    "EdgeEvent",
    "HastenError",
    "InputError",
    "Noting",
    "Observer",
    "OfflinePlan",
    "OptionTable",
    "Outcomes",
    "Profile",
    "Realization",
    "Result",
    "Scenario",
    "Scheduler",
    "Selective",
    "View",
    "attach_exits",
    "build_package",
    "load_profile",
    "load_scenario",
    "make_scheduler",
    "open_package",
    "predicted_latency",
    "scenario_from",
    "scheduler_names",
    "simulate",
    "simulate_batch",
    "solve_offline",
    "summary_frame",
    "train",
]
FOR_AUTHORS = [
    "Clairvoyant",
    "Context",
    "DROP",
    "Decision",
    "Domain",
    "HastenError",
    "InputError",
    "Noting",
    "Observer",
    "OptionTable",
    "Outcomes",
    "Profile",
    "Result",
    "Scenario",
    "Scheduler",
    "Selective",
    "View",
    "load_profile",
    "load_scenario",
    "make_scheduler",
    "predicted_latency",
    "scenario_from",
    "scheduler_names",
]


@pytest.fixture(scope="module")
def scenario():
    return hs.load_scenario(ROOT / "examples" / "three-cameras.yaml")


def test_these_names_are_public_and_each_is_what_it_says():
    assert sorted(NAMES) == hs.__all__ == dir(hs)
    for name in NAMES:
        thing = getattr(hs, name)
        assert thing == -1 if name == "DROP" else thing.__name__ == name and thing.__doc__
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", hs.__version__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = hs.nothing


def test_each_public_name_is_known_to_type_checkers():
    text = Path(hs.__file__).read_text()
    assert sorted(re.findall(r"^    from [\w.]+ import (\w+) as \1$", text, re.MULTILINE)) == hs.__all__


def test_a_scheduler_can_be_written_without_numba_torch_and_gymnasium():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['numba', 'torch', 'gymnasium', 'onnxruntime'])); import hasten as hs; "
        "light = {'numpy', 'pydantic', 'yaml', 'importlib.metadata'} & set(sys.modules); assert not light, light; "
        f"[getattr(hs, name) for name in {FOR_AUTHORS}]; hs.make_scheduler('greedy')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_schedulers_are_a_plain_package():
    import hasten.schedulers

    assert type(hasten.schedulers) is types.ModuleType
    assert not callable(hs.schedulers)


def test_one_simulate_takes_names_and_objects(scenario):
    import hasten.sim

    by_name, by_object = hs.simulate(scenario, "greedy", 3), hs.simulate(scenario, hs.make_scheduler("greedy"), 3)
    together = hs.simulate_batch(scenario, "greedy", [2, 3])
    for result in (by_object, together[1]):
        np.testing.assert_array_equal(result.decisions, by_name.decisions)
    assert not hasattr(hasten.sim, "simulate")
    with pytest.raises(hs.InputError, match=r"simulate: scheduler: .*an object with name, reset and decide"):
        hs.simulate_batch(scenario, object(), [0])
    with pytest.raises(hs.InputError, match="simulate: seed"):
        hs.simulate_batch(scenario, "greedy", [0, -1])


def test_what_a_scheduler_can_do_is_declared_and_not_guessed(scenario):
    class Unrelated(Greedy):
        clairvoyant = True

        def observe(self, photons):
            raise AssertionError("nobody asked for outcomes")

        def notes(self):
            raise AssertionError("nobody asked for notes")

    class Declared(Greedy, hs.Observer, hs.Noting, hs.Clairvoyant):
        heard = 0

        def observe(self, outcomes):
            self.heard += len(outcomes.row)

        def notes(self, row):
            return {"heard": self.heard}

    assert not is_clairvoyant(Unrelated())
    assert is_clairvoyant(Declared())
    assert hs.simulate(scenario, Unrelated()).notes == {}
    assert hs.simulate(scenario, Declared()).notes["heard"] > 0
    for scheduler, ranked in ((Unrelated(), True), (Declared(), False)):
        scheduler.reset(scenario.context(np.zeros(1, dtype=np.int64)))
        assert (rule_of(scheduler) is not None) == ranked
    with pytest.raises(TypeError, match="abstract"):
        type("Forgetful", (Greedy, hs.Observer), {})()


def test_the_example_of_an_own_scheduler_runs_by_name(scenario, monkeypatch):
    example = types.ModuleType("own_scheduler")
    example.__dict__.update(runpy.run_path(str(ROOT / "examples" / "own_scheduler.py")))
    monkeypatch.setitem(sys.modules, "own_scheduler", example)
    group, name, value = re.search(r'entry-points\."(.*)"\]\s+(\S+) = "(.*)"', example.__doc__).groups()
    entries = metadata.EntryPoints([metadata.EntryPoint(name, value, group)])
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **wanted: entries.select(**wanted))
    assert "cautious" in hs.scheduler_names()
    result = hs.simulate(scenario, "cautious:0.2")
    assert result.scheduler == "cautious:0.2"
    assert 0.3 < result.on_time_accuracy < 1
    assert isinstance(hs.make_scheduler("cautious"), hs.Scheduler)
    with pytest.raises(hs.InputError, match=r"scheduler cautious \(own_scheduler:Cautious\): argument: got 'x'"):
        hs.make_scheduler("cautious:x")


def test_the_reference_page_has_every_name_and_the_attributes_of_types():
    page = (ROOT / "docs" / "api.md").read_text()
    sections = dict(re.findall(r"^## hs\.(\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert sorted(sections) == hs.__all__
    for name in ("Context", "View", "Decision", "Outcomes", "OptionTable", "Result", "OfflinePlan", "Realization"):
        for field in getattr(hs, name).__dataclass_fields__:
            assert f"| `{field}` |" in sections[name], (name, field)
    for name in ("Profile", "Scenario"):
        for field in getattr(hs, name).model_fields:
            assert f"| `{field}` |" in sections[name], (name, field)
    for name, member in (("Result", "on_time_accuracy"), ("Scenario", "realize"), ("InputError", "expected")):
        assert f"| `{member}` |" in sections[name], (name, member)
