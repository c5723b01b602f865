"""hasten: adaptive DNN inference between mobile devices and an edge node.

The names below are the public API (``import hasten as hs``). Each loads its part of hasten on first use, so a device
that only runs an agent never imports torch or numba.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

# ONNX Runtime's wheels report their use to Microsoft and keep an identifier in the home, unless they are told not to
# before they are loaded. Whoever wants that sets the variable.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from hasten.api import simulate as simulate
    from hasten.api import simulate_batch as simulate_batch
    from hasten.core.decision import Clairvoyant as Clairvoyant
    from hasten.core.decision import Context as Context
    from hasten.core.decision import Decision as Decision
    from hasten.core.decision import EdgeChoosing as EdgeChoosing
    from hasten.core.decision import Noting as Noting
    from hasten.core.decision import Observer as Observer
    from hasten.core.decision import Outcomes as Outcomes
    from hasten.core.decision import Scheduler as Scheduler
    from hasten.core.decision import Selective as Selective
    from hasten.core.decision import View as View
    from hasten.core.decision import predicted_latency as predicted_latency
    from hasten.core.errors import ClosedError as ClosedError
    from hasten.core.errors import HastenError as HastenError
    from hasten.core.errors import InputError as InputError
    from hasten.core.options import DROP as DROP
    from hasten.core.options import OptionTable as OptionTable
    from hasten.core.profile import Profile as Profile
    from hasten.core.profile_names import load_profile as load_profile
    from hasten.core.results import Result as Result
    from hasten.core.results import summary_frame as summary_frame
    from hasten.core.scenario import Realization as Realization
    from hasten.core.scenario import Scenario as Scenario
    from hasten.core.scenario import load_scenario as load_scenario
    from hasten.core.scenario import scenario_from as scenario_from
    from hasten.learn.api import train as train
    from hasten.learn.domain import Domain as Domain
    from hasten.networks.attach import attach_exits as attach_exits
    from hasten.networks.package import build_package as build_package
    from hasten.offline import OfflinePlan as OfflinePlan
    from hasten.offline import solve_offline as solve_offline
    from hasten.runtime.device.answers import Answer as Answer
    from hasten.runtime.device.events import EdgeEvent as EdgeEvent
    from hasten.runtime.device.stats import DeviceStats as DeviceStats
    from hasten.runtime.library.async_device import AsyncDevice as AsyncDevice
    from hasten.runtime.library.device import Device as Device
    from hasten.runtime.library.edge import Edge as Edge
    from hasten.schedulers import make_scheduler as make_scheduler
    from hasten.schedulers import scheduler_names as scheduler_names
    from hasten.split.package import open_package as open_package

__version__ = "0.2.0"

_HOMES = {
    "Answer": "hasten.runtime.device.answers",
    "AsyncDevice": "hasten.runtime.library.async_device",
    "Clairvoyant": "hasten.core.decision",
    "ClosedError": "hasten.core.errors",
    "Context": "hasten.core.decision",
    "DROP": "hasten.core.options",
    "Decision": "hasten.core.decision",
    "Device": "hasten.runtime.library.device",
    "DeviceStats": "hasten.runtime.device.stats",
    "Domain": "hasten.learn.domain",
    "Edge": "hasten.runtime.library.edge",
    "EdgeChoosing": "hasten.core.decision",
    "EdgeEvent": "hasten.runtime.device.events",
    "HastenError": "hasten.core.errors",
    "InputError": "hasten.core.errors",
    "Noting": "hasten.core.decision",
    "Observer": "hasten.core.decision",
    "OfflinePlan": "hasten.offline",
    "OptionTable": "hasten.core.options",
    "Outcomes": "hasten.core.decision",
    "Profile": "hasten.core.profile",
    "Realization": "hasten.core.scenario",
    "Result": "hasten.core.results",
    "Scenario": "hasten.core.scenario",
    "Scheduler": "hasten.core.decision",
    "Selective": "hasten.core.decision",
    "View": "hasten.core.decision",
    "attach_exits": "hasten.networks.attach",
    "build_package": "hasten.networks.package",
    "load_profile": "hasten.core.profile_names",
    "load_scenario": "hasten.core.scenario",
    "make_scheduler": "hasten.schedulers",
    "open_package": "hasten.split.package",
    "predicted_latency": "hasten.core.decision",
    "scenario_from": "hasten.core.scenario",
    "scheduler_names": "hasten.schedulers",
    "simulate": "hasten.api",
    "simulate_batch": "hasten.api",
    "solve_offline": "hasten.offline",
    "summary_frame": "hasten.core.results",
    "train": "hasten.learn.api",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Load the home of a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hasten' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


if find_spec("gymnasium") is not None and find_spec("numba") is not None:
    # So that gymnasium.make("hasten/Offload-v0", scenario=...) works after `import hasten`; loads no environment.
    from hasten.environments import register

    register()
