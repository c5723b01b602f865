"""What a reader of the code stumbles over: functions with many parameters, class names twice, long modules.

``python scripts/house.py [FOLDER]`` prints the three lists; FOLDER is ``src/hasten`` by default.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

MANY_PARAMETERS = 8
MANY_OF_A_KERNEL = 12
LONG_MODULE = 300
EXEMPT = {
    "cli/train.py:train": "a command line command: its parameters are its options",
    "cli/build.py:build": "a command line command: its parameters are its options",
    "cli/device.py:device": "a command line command: its parameters are its options",
    "cli/edge.py:edge": "a command line command: its parameters are its options",
    "cli/run.py:run": "a command line command: its parameters are its options",
    "learn/api.py:train": "hs.train: keyword options of the public API",
    "networks/package.py:build_package": "hs.build_package: keyword options of the public API",
    "split/build.py:build_package": "the same for a network as it is: keyword options",
    "fidelity/profiling.py:measure_to_file": "the command `hasten profile` in Python, with the same options",
    "fidelity/profiling.py:measure": "the same without a file, with the same options",
}
"""Functions that may have many parameters, FILE:NAME, and why: parameters of these are options, given by name."""

KERNEL_MARKS = ("compiled", "allocating", "compiled_sums", "inlined", "jitable", "jitable_inline")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def main() -> None:
    """Print the lists."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "src/hasten")
    trees = trees_of(folder)
    print_counts(Counter(parameters(node) for tree in trees.values() for node in functions_of(tree)))
    print(f"\nfunctions with more than {MANY_PARAMETERS} parameters, kernels (compiled by Numba) {MANY_OF_A_KERNEL}")
    for place, count in sorted(long_signatures(trees).items(), key=lambda found: -found[1]):
        print(f"{count:4} {place}{f' (exempt: {EXEMPT[place]})' if place in EXEMPT else ''}")
    print("\nclass names that exist more than once")
    for name, places in repeated_classes(trees).items():
        print(f"{name}: {', '.join(places)}")
    print(f"\nmodules of more than {LONG_MODULE} lines")
    for path, lines in sorted(long_modules(folder).items(), key=lambda found: -found[1]):
        print(f"{lines:4} {path}")


def trees_of(folder: Path) -> dict[str, ast.Module]:
    """Every module below a folder, by its path from there."""
    paths = sorted(folder.rglob("*.py"))
    return {path.relative_to(folder).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def long_signatures(trees: dict[str, ast.Module]) -> dict[str, int]:
    """Functions of too many parameters, as FILE:NAME, exempt ones too, and how many they have."""
    found = {}
    for path, tree in trees.items():
        for node in functions_of(tree):
            count = parameters(node)
            if count > (MANY_OF_A_KERNEL if is_kernel(node) else MANY_PARAMETERS):
                found[f"{path}:{node.name}"] = count
    return found


def repeated_classes(trees: dict[str, ast.Module]) -> dict[str, list[str]]:
    """Class names that exist more than once, and in which files."""
    places = defaultdict(list)
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path)
    return {name: files for name, files in sorted(places.items()) if len(files) > 1}


def long_modules(folder: Path) -> dict[str, int]:
    """Modules of too many lines, by their path from a folder."""
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in sorted(folder.rglob("*.py"))}
    return {path.relative_to(folder).as_posix(): count for path, count in lines.items() if count > LONG_MODULE}


def print_counts(counts: Counter[int]) -> None:
    """How many functions have how many parameters."""
    print("parameters  functions")
    for count in sorted(counts):
        print(f"{count:10}  {counts[count]}")


def functions_of(tree: ast.AST) -> Iterator[Function]:
    """All functions and methods, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def parameters(node: Function) -> int:
    """Parameters of a function, ``self`` and ``cls`` not counted."""
    given = node.args
    named = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([name for name in named if name not in ("self", "cls")]) + bool(given.vararg) + bool(given.kwarg)


def is_kernel(node: Function) -> bool:
    """Whether a decorator compiles the function."""
    return any(ast.unparse(mark) in KERNEL_MARKS for mark in node.decorator_list)


if __name__ == "__main__":
    main()
