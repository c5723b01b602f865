"""A profile's accuracies: of each (exit, partition) where they were measured, of the exit where they were not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hasten.core.errors import InputError
from hasten.core.options import StreamCosts, option_table
from hasten.core.profile import Profile, batching, read_profile
from hasten.core.profile_names import builtin_profiles, load_profile

RUINED = (0.94, 0.93, 0.63, 0.95)


def data(**exit_more: Any) -> dict[str, Any]:
    return {
        "schema": "hasten.profile/1",
        "name": "net",
        "source": "made up",
        "input_bytes": 1000,
        "blocks": [{"name": f"b{i}", "device_ms": 10, "edge_ms": 1, "output_bytes": 500} for i in range(3)],
        "exits": [
            {"name": "e1", "after_block": 1, "accuracy": 0.7, "device_ms": 1, "edge_ms": 1},
            {"name": "e2", "after_block": 3, "accuracy": 0.86, "device_ms": 1, "edge_ms": 1} | exit_more,
        ],
    }


def test_every_option_has_the_accuracy_of_its_own_exit_and_partition() -> None:
    profile = Profile.model_validate(data(accuracy_by_partition=RUINED))
    table = option_table([StreamCosts(profile)])
    found = {(int(e), int(p)): a for e, p, a in zip(table.exit[0], table.partition[0], table.accuracy[0], strict=True)}
    assert found == {(1, 0): 0.7, (1, 1): 0.7} | {(2, p): RUINED[p] for p in range(4)}
    assert (table.worth == table.accuracy).all()
    assert [profile.accuracy(2, p) for p in range(4)] == list(RUINED)
    assert profile.accuracy(0, 0) == 0.0


def test_a_written_profile_is_read_again_with_its_accuracies(tmp_path: Path) -> None:
    profile = Profile.model_validate(data(accuracy_by_partition=RUINED))
    path = tmp_path / "net.json"
    path.write_text(profile.to_json())
    assert read_profile(path) == profile
    assert json.loads(path.read_text())["exits"][1]["accuracy_by_partition"] == list(RUINED)
    assert "accuracy_by_partition" not in json.loads(path.read_text())["exits"][0]


def test_profiles_of_before_have_their_exits_accuracy_everywhere() -> None:
    for name in builtin_profiles():
        profile = load_profile(name)
        table = option_table([StreamCosts(profile)])
        expected = [profile.exits[e - 1].accuracy for e in table.exit[0].tolist()]
        assert table.accuracy[0].tolist() == expected


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ((0.9, 0.9), r"exits\[1\]\.accuracy_by_partition to have 4 entries"),
        ((0.9, 0.9, 1.1, 0.9), r"exits\[1\]\.accuracy_by_partition\[2\]: got 1\.1"),
        ((0.9, 0.9, float("nan"), 0.9), "expected a finite number"),
    ],
)
def test_accuracies_that_do_not_fit_are_refused_by_name(
    tmp_path: Path, accuracies: tuple[float, ...], expected: str
) -> None:
    path = tmp_path / "net.json"
    path.write_text(json.dumps(data(accuracy_by_partition=accuracies)))
    with pytest.raises(InputError, match=expected):
        read_profile(path)


BATCHES = {"exit": 2, "partition": 1, "sizes": [1, 2, 4], "ms": [2.0, 3.0, 5.0]}


def test_times_by_batch_size_are_written_and_read_and_left_out_where_there_are_none(tmp_path: Path) -> None:
    profile = Profile.model_validate(data() | {"edge_batches": [BATCHES]})
    path = tmp_path / "profile.json"
    path.write_text(profile.to_json())
    assert read_profile(path) == profile
    assert profile.edge_batches is not None and profile.edge_batches[0].ms == (2.0, 3.0, 5.0)
    up_to_two = batching(profile, 2).edge_batches
    assert up_to_two is not None and (up_to_two[0].sizes, up_to_two[0].ms) == ((1, 2), (2.0, 3.0))
    alone = batching(profile, 1)
    assert alone.edge_batches is None and "edge_batches" not in alone.to_json()
    assert alone == Profile.model_validate(data())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"sizes": [2, 4, 8]}, "sizes to ascend from 1 on, not [2, 4, 8]"),
        ({"sizes": [1, 4, 4]}, "sizes to ascend from 1 on, not [1, 4, 4]"),
        ({"ms": [1.0, 2.0]}, "ms to have 3 entries, one per size, not 2"),
        ({"ms": [1.0, 2.0, 0.0]}, "ms"),
        ({"exit": 3}, "edge_batches[0] to be of an option that is offloaded, not (exit 3, partition 1)"),
        ({"partition": 3}, "edge_batches[0] to be of an option that is offloaded, not (exit 2, partition 3)"),
    ],
)
def test_times_by_batch_size_that_cannot_be_are_refused(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(data() | {"edge_batches": [BATCHES | change]}))
    with pytest.raises(InputError) as refused:
        read_profile(path)
    assert expected in str(refused.value)
