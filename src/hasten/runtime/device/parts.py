"""What of an agent its dealings with edges have to do with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hasten.core.profile import Profile
from hasten.runtime.clock import Clock
from hasten.runtime.device.beliefs import Beliefs
from hasten.runtime.device.edge_answers import EdgeAnswers
from hasten.runtime.device.endings import Endings, Teller
from hasten.runtime.device.rescue import Punctuality, Rescue
from hasten.runtime.device.scheduler_adapter import SchedulerAdapter
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.device.stages import DeviceStage
from hasten.split.manifest import Cut


@dataclass(frozen=True)
class Parts:
    """Shared by all contacts; sequences are by edge, where nothing else is said."""

    clock: Clock
    settings: AgentSettings
    profile: Profile
    answers: EdgeAnswers
    cuts: Sequence[Cut]
    """By partition."""
    beliefs: Sequence[Beliefs]
    punctuality: Sequence[Punctuality]
    adapter: SchedulerAdapter
    stage: DeviceStage
    rescue: Rescue
    endings: Endings
    teller: Teller
