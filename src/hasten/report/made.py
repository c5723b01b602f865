"""How a page was made: the command, versions, seeds, and the machine. So it can be made again."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hasten import __version__
from hasten.core.scenario import Scenario
from hasten.report.document import Block, Definitions, Heading, Listing

TOLD = ("numpy", "numba", "onnxruntime")
"""Packages whose versions may change a number."""
TOLD_ALREADY = {"python", *TOLD}
"""Facts of results that a page has among its versions."""


def made_blocks(
    command: str, seeds: Iterable[int], facts: Mapping[str, Any], scenario: Scenario | None = None
) -> list[Block]:
    """The last part of a page: ``command`` made it, of these seeds; ``facts`` are more of what matters."""
    told = {
        "command": f"`{command}`",
        "versions": versions(),
        "seeds": seeds_text(seeds),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        **{name.replace("_", " "): str(value) for name, value in facts.items() if name not in TOLD_ALREADY},
    }
    blocks: list[Block] = [Heading(2, "How this was made"), Definitions(told)]
    if scenario is not None:
        plain = scenario.model_dump(mode="json", by_alias=True)
        blocks.append(Listing("the scenario, as it was read", json.dumps(plain, indent=2, ensure_ascii=False)))
    return blocks


def versions() -> str:
    """hasten's, and those of what it computes with."""
    found = [f"hasten {__version__}"]
    for name in TOLD:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def seeds_text(seeds: Iterable[int]) -> str:
    """Seeds as ``0 to 4`` where they follow each other, else one by one."""
    numbers = sorted(set(seeds))
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers))
