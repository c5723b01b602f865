"""The tiny package on an edge that has more to do than it can, and policies that always prefer the same options."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from random_policies import cameras, random_policy

from hasten.policies.policy import Policy
from hasten.split.package import Package


def write_slow_profile(package: Package, folder: Path) -> Path:
    """``slow.json`` in ``folder``; gives the folder."""
    profile = json.loads(package.profile.to_json())
    for block in profile["blocks"]:
        block.update(device_ms=8.0, edge_ms=10.0, encode_ms=0.0)
    for head, accuracy in zip(profile["exits"], (0.6, 0.7), strict=True):
        head.update(device_ms=2.0, edge_ms=0.3, accuracy=accuracy, accuracy_by_partition=None)
    (folder / "slow.json").write_text(json.dumps(profile))
    return folder


def preferring(folder: Path, *pairs: tuple[int, int]) -> Policy:
    """A policy that takes the first of these options that is allowed, whatever it sees."""
    policy = random_policy(cameras(1, str(folder / "slow.json")), hidden=(4,))
    weight, bias = policy.advantage
    bias = np.zeros_like(bias)
    for rank, pair in enumerate(pairs):
        bias[policy.manifest.networks[0].options.index(pair)] = len(pairs) - rank
    return replace(policy, advantage=(np.zeros_like(weight), bias))
