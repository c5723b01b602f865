"""Which column of an observation is which feature: for whoever writes one and whoever reads one.

There are two observations. That of values of actions (:mod:`hasten.features.observation`) is ``StateFeature``, then a
latency and a gain of each option, and in environments with several edges what is seen of the further ones:
:class:`ActionLayout`. That of values of afterstates
(:mod:`hasten.features.afterstates`) is ``ContextFeature``, then a block of columns for each of ``OptionFeature``:
:class:`AfterstateLayout`. Where devices choose among several edges, the columns of *the* edge are those of the nearest
one and others follow, means over all further edges (:mod:`hasten.features.among_edges`): their number is the same for
any number of edges. ``docs/observations.md`` lists them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Feature(IntEnum):
    """A column, or a block of columns, and what it holds."""

    meaning: str

    def __new__(cls, column: int, meaning: str) -> Feature:
        """A member with its column."""
        member = int.__new__(cls, column)
        member._value_ = column
        member.meaning = meaning
        return member


class StateFeature(Feature):
    """Columns before those of the options, in the observation of values of actions."""

    DEVICE_WAIT = 0, "backlog of the stream's own device"
    UPLINK_WAIT = 1, "backlog of its uplink"
    EDGE_WAIT = 2, "backlog of the edge worker that is free first"
    EDGE_MEAN_WAIT = 3, "mean backlog of all edge workers"
    OTHERS_MEAN_WAIT = 4, "mean backlog of the other streams' devices; 0 without others"
    OTHERS_LARGEST_WAIT = 5, "largest backlog of the other streams' devices"
    RATE = 6, "uplink rate `r` as `r / (r + r1)`, where `r1` sends the stream's largest tensor in one deadline"
    RATE_AVERAGE = 7, "moving average of RATE over the stream's decisions"
    DEADLINE = 8, "deadline as a share of the longest deadline of all streams"
    GAP = 9, "time since the stream's previous arrival"
    GAP_AVERAGE = 10, "moving average of GAP"
    ANY_GAP = 11, "time since the previous arrival of any stream"
    ANY_GAP_AVERAGE = 12, "moving average of ANY_GAP"


STATE_TIMES = tuple(
    feature for feature in StateFeature if feature.name.removesuffix("_AVERAGE").endswith(("WAIT", "GAP"))
)
"""Those that are times: shares of the deciding stream's deadline, cut off."""


class EdgeFeature(Feature):
    """Columns of one further edge, in the observation of environments with several: those above are of edge 0."""

    UPLINK_WAIT = 0, "backlog of the stream's uplink to that edge"
    EDGE_WAIT = 1, "backlog of its worker that is free first"
    EDGE_MEAN_WAIT = 2, "mean backlog of all its workers"
    RATE = 3, "rate of that uplink, as RATE above"
    RATE_AVERAGE = 4, "moving average of it over the stream's decisions"


class ContextFeature(Feature):
    """Columns before those of the options, in the observation of values of afterstates."""

    OTHERS_MEAN_WAIT = 0, "mean backlog of the other streams' devices; 0 without others"
    OTHERS_LARGEST_WAIT = 1, "largest backlog of the other streams' devices"
    RATE = 2, "uplink rate `r` as `r / (r + r1)`, where `r1` sends the stream's largest tensor in one deadline"
    RATE_AVERAGE = 3, "moving average of RATE over the stream's decisions"
    DEADLINE = 4, "deadline as a share of the longest deadline of all streams"
    SHORT_GAP = 5, "mean gap between the stream's arrivals, over about the last 8 of them"
    LONG_GAP = 6, "the same over about the last 64"
    ANY_SHORT_GAP = 7, "mean gap between arrivals of all streams, over about the last 8 of them"
    ANY_LONG_GAP = 8, "the same over about the last 64"
    LONGEST_DEVICE_TIME = 9, "longest device time of any option"
    LONGEST_EDGE_TIME = 10, "longest edge time of any option"
    RATE_VARIABILITY = 11, "mean deviation of RATE from RATE_AVERAGE as a share of their sum: 0 on a constant link"
    GAP_VARIABILITY = 12, "mean deviation of the stream's gaps from their long mean as a share of it: 0.74 for Poisson"
    DEVICE_WAIT = 13, "backlog of the stream's own device before the decision, in ready order; else 0"
    UPLINK_WAIT = 14, "backlog of its uplink before the decision, in ready order; else 0"
    EDGE_WAIT = 15, "backlog of the edge worker that is free first before the decision, in ready order; else 0"


class OptionFeature(Feature):
    """Blocks of J+1 columns, one for each option and the last for dropping, in the observation of afterstates."""

    GAIN = 0, "predicted gains, of late options as such; the last is that of dropping"
    LATENCY = 1, "predicted latencies; 2 for dropping"
    DEVICE_WAIT = 2, "backlogs of the stream's own device after each option"
    UPLINK_WAIT = 3, "backlogs of its uplink"
    EDGE_WAIT = 4, "backlogs of the edge worker that is free first"
    EDGE_MEAN_WAIT = 5, "mean backlogs of all edge workers"


class FurtherContextFeature(Feature):
    """Columns behind ``ContextFeature`` with several edges, whose own are then of the nearest edge."""

    FURTHER_RATE = 16, "mean of RATE over all further edges"
    FURTHER_RATE_AVERAGE = 17, "the same of RATE_AVERAGE"
    FURTHER_LONGEST_EDGE_TIME = 18, "the same of LONGEST_EDGE_TIME"
    FURTHER_UPLINK_WAIT = 19, "the same of UPLINK_WAIT"
    FURTHER_EDGE_WAIT = 20, "the same of EDGE_WAIT"
    ROUND_TRIP = 21, "round trip to the nearest edge"
    FURTHER_ROUND_TRIP = 22, "mean round trip to all further edges"


class FurtherOptionFeature(Feature):
    """Blocks behind ``OptionFeature`` with several edges, whose own are then of the nearest edge."""

    FURTHER_UPLINK_WAIT = 6, "mean over all further edges of the backlogs of the uplink"
    FURTHER_EDGE_WAIT = 7, "the same of the edge worker that is free first"
    FURTHER_EDGE_MEAN_WAIT = 8, "the same of the mean backlogs of all edge workers"


STATE_FEATURES = len(StateFeature)
EDGE_FEATURES = len(EdgeFeature)
CONTEXT_FEATURES = len(ContextFeature)
AFTERSTATE = (
    OptionFeature.DEVICE_WAIT,
    OptionFeature.UPLINK_WAIT,
    OptionFeature.EDGE_WAIT,
    OptionFeature.EDGE_MEAN_WAIT,
)
"""What an afterstate is: the last blocks of the observation, in their order; with several edges the further ones, too.
"""
BACKLOGS = len(AFTERSTATE)
CONTEXT_AMONG_EDGES, BACKLOGS_AMONG_EDGES = (
    CONTEXT_FEATURES + len(FurtherContextFeature),
    BACKLOGS + len(FurtherOptionFeature),
)
"""The same with several edges."""


class ActionLayout(NamedTuple):
    """Where things are in an observation of J options, values of actions; policies know one edge."""

    options: int
    edges: int = 1

    @property
    def size(self) -> int:
        """Length F of an observation."""
        return int(self.edge(self.edges).start)

    def edge(self, number: int) -> slice:
        """What is seen of edge 1, 2, ..."""
        begin = int(self.gains.stop) + (number - 1) * EDGE_FEATURES
        return slice(begin, begin + EDGE_FEATURES)

    @property
    def latencies(self) -> slice:
        """The J predicted latencies; 2 for padding."""
        return slice(STATE_FEATURES, STATE_FEATURES + self.options)

    @property
    def gains(self) -> slice:
        """The J predicted gains, of late options as such."""
        return slice(STATE_FEATURES + self.options, STATE_FEATURES + 2 * self.options)


class AfterstateLayout(NamedTuple):
    """Where things are in an observation of J options, values of afterstates; ``actions`` is J+1."""

    actions: int
    several: bool = False
    """Whether devices choose among several edges."""

    @classmethod
    def of_size(cls, size: int) -> AfterstateLayout:
        """The layout of observations of length F, which modulo 3 is 1 for one edge and 2 for several."""
        several = size % 3 != 1
        whole = cls(0, several)
        return cls((size - whole.size) // whole._blocks, several)

    @property
    def _blocks(self) -> int:
        return len(OptionFeature) + (len(FurtherOptionFeature) if self.several else 0)

    @property
    def size(self) -> int:
        """Length F of an observation."""
        return int(self.context.stop) + self._blocks * self.actions

    @property
    def context(self) -> slice:
        """The context features."""
        return slice(CONTEXT_AMONG_EDGES if self.several else CONTEXT_FEATURES)

    @property
    def backlogs(self) -> int:
        """Numbers in an afterstate."""
        return BACKLOGS_AMONG_EDGES if self.several else BACKLOGS

    def block(self, feature: Feature) -> slice:
        """The J+1 columns of a feature of options."""
        begin = self.context.stop + feature * self.actions
        return slice(begin, begin + self.actions)

    @property
    def afterstates(self) -> slice:
        """All backlogs left: (backlogs * (J+1),), one block after another."""
        return slice(self.block(AFTERSTATE[0]).start, self.size)
