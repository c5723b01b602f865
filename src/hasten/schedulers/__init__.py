"""Schedulers by name. One file per scheduler, all behind :class:`hasten.core.decision.Scheduler`.

A name may carry an argument after a colon: ``fixed:2,1``, ``edgent:slack``. Modules load on first use, so a device
that runs ``greedy`` never imports what only a planner needs.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from hasten.core.decision import Scheduler
from hasten.core.errors import HastenError, InputError, one_of
from hasten.schedulers.plugins import make_plugin, plugin_names

_FACTORIES = {
    "greedy": "greedy:Greedy",
    "device-only": "restricted:device_only",
    "edge-only": "restricted:edge_only",
    "fixed": "restricted:fixed",
    "fixed-exit": "restricted:fixed_exit",
    "min-latency": "min_latency:MinLatency",
    "random": "random_choice:RandomChoice",
    "rolling-horizon": "rolling_horizon:RollingHorizon",
    "neurosurgeon": "neurosurgeon:Neurosurgeon",
    "edgent": "edgent:Edgent",
    "dads": "dads:Dads",
    "load-threshold": "load_threshold:LoadThreshold",
    "linucb": "linucb:LinUcb",
    "mdp": "mdp:OnlineOptimum",
    "priced": "priced:Priced",
    "policy": "learned:from_file",
}
"""Name to ``module:factory``; a factory takes the argument after the colon ("" when there is none)."""
_ALIASES = {"dqn": "policy"}
"""Names of before that go on working, and what they stand for."""


def scheduler_names() -> list[str]:
    """Names of all schedulers: hasten's own and those of other packages (entry point group ``hasten.schedulers``)."""
    return sorted({*_FACTORIES, *plugin_names()})


def make_scheduler(spec: str) -> Scheduler:
    """Make the scheduler that ``NAME`` or ``NAME:ARGUMENT`` names; its ``name`` is then ``spec``.

    A name that hasten does not have itself is looked up among the entry points of the group ``hasten.schedulers``.

    Raises:
        InputError: unknown name, an argument that the scheduler does not take, or a scheduler of another package that
            cannot be used.
        HastenError: the scheduler needs an extra that is not installed.
    """
    asked = spec.strip()
    name, _, argument = asked.partition(":")
    home = _FACTORIES.get(_ALIASES.get(name, name))
    scheduler = make_plugin(asked) if home is None else _own(name, home, argument)
    if scheduler is None:
        several = ", with commas between several" if len(name.split()) > 1 else ""
        raise InputError("schedulers", "name", name, one_of(name, scheduler_names()) + several)
    scheduler.name = asked
    return scheduler


def _own(name: str, home: str, argument: str) -> Scheduler:
    """One of hasten's own schedulers."""
    module, _, factory = home.partition(":")
    try:
        make = getattr(import_module(f"hasten.schedulers.{module}"), factory)
    except ImportError as error:
        raise HastenError(f"scheduler {name} needs {error.name}: pip install 'hasten[plan]'") from None
    scheduler: Scheduler = make(argument)
    return scheduler


def policy_file(spec: str) -> Path | None:
    """The policy file that ``policy:FILE`` names; None for any other scheduler."""
    name, _, argument = spec.strip().partition(":")
    return Path(argument) if _ALIASES.get(name, name) == "policy" and argument else None


def make_schedulers(specs: str) -> list[Scheduler]:
    """Make the schedulers of a comma-separated list, each once; a comma inside an argument (``fixed:2,1``) is
    understood.
    """
    made = [make_scheduler(spec) for spec in split_specs(specs)]
    return list({scheduler.name: scheduler for scheduler in made}.values())


def split_specs(specs: str) -> list[str]:
    """Split ``greedy,fixed:2,1,random`` into its names, each once: a piece that starts with a digit belongs to the one
    before.
    """
    pieces: list[str] = []
    for piece in specs.split(","):
        if pieces and piece.strip()[:1].isdigit():
            pieces[-1] += f",{piece.strip()}"
        elif piece.strip():
            pieces.append(piece.strip())
    if not pieces:
        raise InputError("schedulers", "list", specs, f"names among {', '.join(scheduler_names())}")
    return list(dict.fromkeys(pieces))


def no_argument(name: str, argument: str) -> None:
    """Refuse an argument for a scheduler that takes none."""
    if argument:
        raise InputError("schedulers", name, argument, f"{name} without an argument")
