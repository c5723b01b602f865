"""What a reader of the code stumbles over: functions with many parameters, class names twice, long modules.

``python scripts/house.py [FOLDER]`` prints the three lists; FOLDER is ``src`` by default.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

MANY_PARAMETERS = 8
LONG_MODULE = 300

Function = ast.FunctionDef | ast.AsyncFunctionDef


def main() -> None:
    """Print the lists."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "src")
    modules = {path: path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))}
    trees = {path: ast.parse(text) for path, text in modules.items()}
    functions = [(parameters(node), path, node) for path, tree in trees.items() for node in functions_of(tree)]
    print_counts(Counter(count for count, _, _ in functions))
    print(f"\nfunctions with more than {MANY_PARAMETERS} parameters (kernel: compiled by Numba)")
    for count, path, node in sorted(functions, key=lambda found: (-found[0], found[1], found[2].lineno)):
        if count > MANY_PARAMETERS:
            print(f"{count:4} {path}:{node.lineno} {node.name}{' (kernel)' if is_kernel(node) else ''}")
    print("\nclass names that exist more than once")
    for name, places in sorted(places_of_classes(trees).items()):
        if len(places) > 1:
            print(f"{name}: {', '.join(places)}")
    print(f"\nmodules of more than {LONG_MODULE} lines")
    for lines, path in sorted(((text.count("\n"), path) for path, text in modules.items()), reverse=True):
        if lines > LONG_MODULE:
            print(f"{lines:4} {path}")


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
    return any(word in ast.unparse(mark) for mark in node.decorator_list for word in ("jit", "direct", "compiled"))


def places_of_classes(trees: dict[Path, ast.Module]) -> dict[str, list[str]]:
    """Where each class name is defined."""
    places = defaultdict(list)
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path}:{node.lineno}")
    return places


if __name__ == "__main__":
    main()
