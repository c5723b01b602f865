"""Schedulers by name. One file per scheduler, all behind :class:`hasten.core.decision.Scheduler`.

A name may carry an argument after a colon: ``fixed:2,1``, ``edgent:slack``. Modules load on first use, so a device
that runs ``greedy`` never imports what only a planner needs.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

from hasten.core.decision import Scheduler
from hasten.core.errors import HastenError, InputError, one_of

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
    "dqn": "learned:from_file",
}
"""Name to ``module:factory``; a factory takes the argument after the colon ("" when there is none)."""


def scheduler_names() -> list[str]:
    """Names of all schedulers."""
    return sorted(_FACTORIES)


schedulers = scheduler_names


def make_scheduler(spec: str) -> Scheduler:
    """Make the scheduler that ``NAME`` or ``NAME:ARGUMENT`` names.

    Raises:
        InputError: unknown name, or an argument that the scheduler does not take.
    """
    name, _, argument = spec.strip().partition(":")
    if name not in _FACTORIES:
        raise InputError("schedulers", "name", name, one_of(name, scheduler_names()))
    module, _, factory = _FACTORIES[name].partition(":")
    try:
        make = getattr(import_module(f"hasten.schedulers.{module}"), factory)
    except ImportError as error:
        raise HastenError(f"scheduler {name} needs {error.name}: pip install 'hasten[plan]'") from None
    scheduler: Scheduler = make(argument)
    return scheduler


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


class _CallableModule(ModuleType):
    """``hasten.schedulers`` is this package and, by contract, a function of the public API too."""

    def __call__(self) -> list[str]:
        """Names of all schedulers."""
        return scheduler_names()


sys.modules[__name__].__class__ = _CallableModule
