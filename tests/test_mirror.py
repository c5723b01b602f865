"""The tests mirror the sources: same folders, and every module has its tests in the folder that stands for its own.

Either they are in ``test_MODULE.py``, or a file there about something larger imports the module, or the module is a
part of one that is tested: a module in its folder imports it. What is tested elsewhere is listed.
"""

from __future__ import annotations

import ast
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent
SOURCES = TESTS.parent / "src" / "hasten"
TESTED_IN = {
    "cli/*": "cli/test_app",
    "environments": "sim/test_env",
    "fidelity/played": "fidelity/real/test_run",
    "offline/search/*": "offline/test_bounded",
    "runtime/certificates": "runtime/test_tls",
    "runtime/clock": "runtime/local/test_link",
    "runtime/same_network": "runtime/local/test_run",
    "runtime/edge/ray_serve/rep*": "runtime/edge/ray_serve/test_application",
    "runtime/edge/ray_serve/router": "runtime/edge/ray_serve/test_application",
    "runtime/library/edge": "runtime/library/test_device",
    "runtime/local/roles": "runtime/local/test_run",
    "runtime/needs": "cli/test_extras",
    "runtime/outputs": "runtime/library/test_outputs",
    "core/version": "runtime/edge/test_metrics",
    "runtime/watched": "runtime/edge/test_packages",
    "schedulers/*": "schedulers/test_classical",
    "split/codecs/*": "split/codecs/test_all_codecs",
    "split/exit_places": "networks/test_attach",
}
"""Modules, as patterns, that are tested by name in files that do not import them, or that are in other folders."""


@cache
def modules_in(folder: Path) -> dict[str, set[str]]:
    """Every module below a folder, by its path, and which of hasten's modules it imports."""
    found = {}
    for path in folder.rglob("*.py"):
        imported = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hasten."):
                base = str(node.module).removeprefix("hasten.").replace(".", "/")
                imported |= {base, *(f"{base}/{alias.name}" for alias in node.names)}
        found[path.relative_to(folder).with_suffix("").as_posix()] = imported
    return found


def named_for(module: str) -> str:
    """The tests that are named for a module."""
    return str(Path(module).with_name(f"test_{Path(module).name}"))


def test_every_module_has_its_tests() -> None:
    sources, tests = modules_in(SOURCES), modules_in(TESTS)
    wanted = {name for name in sources if not Path(name).name.startswith("__")}
    tested = {
        module
        for module in wanted
        if named_for(module) in tests
        or any(module in imported for name, imported in tests.items() if Path(name).parent == Path(module).parent)
    }
    while (
        parts := {
            part for module in tested for part in sources[module] & wanted if Path(part).parent == Path(module).parent
        }
        - tested
    ):
        tested |= parts
    assert [module for module in wanted - tested if not any(fnmatch(module, known) for known in TESTED_IN)] == []
    assert [place for place in TESTED_IN.values() if place not in tests] == []


def test_files_are_named_for_modules_or_say_what_they_are_about() -> None:
    of_modules = {named_for(module) for module in modules_in(SOURCES)}
    for path in TESTS.rglob("test_*.py"):
        name = path.relative_to(TESTS).with_suffix("").as_posix()
        assert name in of_modules or ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), name


def test_folders_are_those_of_the_sources() -> None:
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    assert [folder for folder in folders if not (SOURCES / folder / "__init__.py").is_file()] == []
