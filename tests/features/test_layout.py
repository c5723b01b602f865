"""Layouts: columns follow each other without a gap, and the docs list what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hasten.features.layout import (
    AFTERSTATE,
    STATE_TIMES,
    ActionLayout,
    AfterstateLayout,
    ContextFeature,
    EdgeFeature,
    FurtherContextFeature,
    FurtherOptionFeature,
    OptionFeature,
    StateFeature,
)

PAGE = Path(__file__).parents[2] / "docs" / "observations.md"


@pytest.mark.parametrize(
    "features",
    [
        [*StateFeature],
        [*EdgeFeature],
        [*ContextFeature, *FurtherContextFeature],
        [*OptionFeature, *FurtherOptionFeature],
    ],
)
def test_columns_are_numbered_without_a_gap_and_say_what_they_hold(features):
    assert [feature.value for feature in features] == list(range(len(features)))
    assert all(feature.meaning for feature in features)


def test_docs_list_the_columns_as_the_code_has_them():
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    everything = [*StateFeature, *EdgeFeature, *ContextFeature, *OptionFeature]
    everything += [*FurtherContextFeature, *FurtherOptionFeature]
    assert rows == [(str(feature.value), feature.name, feature.meaning) for feature in everything]


def test_blocks_of_options_follow_the_first_columns_and_fill_the_observation():
    layout = ActionLayout(5)
    assert (layout.latencies, layout.gains, layout.size) == (slice(13, 18), slice(18, 23), 23)
    among = layout._replace(edges=3)
    assert (among.gains, among.size) == (layout.gains, 33)
    assert (among.edge(1), among.edge(2)) == (slice(23, 28), slice(28, 33))
    after = AfterstateLayout(6)
    blocks = [after.block(feature) for feature in OptionFeature]
    assert [block.start for block in blocks] == [after.context.stop, *(block.stop for block in blocks[:-1])]
    assert blocks[-1].stop == after.size == after.afterstates.stop
    assert after.afterstates.start == after.block(OptionFeature.DEVICE_WAIT).start
    assert tuple(OptionFeature)[2:] == AFTERSTATE
    assert AfterstateLayout.of_size(after.size) == after


def test_with_several_edges_further_columns_follow_and_the_length_tells_which_layout_it_is():
    after = AfterstateLayout(6, several=True)
    blocks = [after.block(feature) for feature in (*OptionFeature, *FurtherOptionFeature)]
    assert after.context.stop == len(ContextFeature) + len(FurtherContextFeature)
    assert [block.start for block in blocks] == [after.context.stop, *(block.stop for block in blocks[:-1])]
    assert blocks[-1].stop == after.size == after.afterstates.stop
    assert after.afterstates.stop - after.afterstates.start == 6 * after.backlogs
    every = [AfterstateLayout(actions, several) for actions in range(2, 500) for several in (False, True)]
    assert all(AfterstateLayout.of_size(layout.size) == layout for layout in every)


def test_times_are_all_waits_and_gaps():
    assert set(StateFeature) - set(STATE_TIMES) == {
        StateFeature.RATE,
        StateFeature.RATE_AVERAGE,
        StateFeature.DEADLINE,
    }
