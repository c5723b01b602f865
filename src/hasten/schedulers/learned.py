"""The learned scheduler: the allowed action of largest value by a trained policy, in the simulator and on a device.

Where a decision is out_of_range what the policy was trained on (:mod:`hasten.policies.guard`), Greedy decides it, and
``notes`` tells how often. Dropping a task by choice, so that later ones fare better, is always allowed. A run of one
row that shows one decision at a time, as on a device, takes a lean path through the same features and weights.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import Context, Decision, EdgeChoosing, IntArray, Noting, View
from hasten.core.errors import InputError
from hasten.core.options import DROP, OptionTable
from hasten.features.afterstates import add_margin
from hasten.features.afterstates_single import SingleAfterstates
from hasten.features.among_edges import AmongEdges, afterstate_features
from hasten.features.observation_single import SingleFeatures
from hasten.policies.afterstate_policy import AfterstatePolicy, SingleAfterstateValues, SingleValuesAmongEdges
from hasten.policies.guard import REASONS, Guard
from hasten.policies.manifest import NetworkOptions, fingerprint
from hasten.policies.policy import AnyPolicy, Float32, Layer, Policy, load_policy, save_policy
from hasten.schedulers.greedy import Greedy


class Learned(Noting, EdgeChoosing):
    """Decides by a policy, among as many edges as it was trained for; ``where`` names it in errors."""

    def __init__(self, policy: AnyPolicy, name: str = "policy", where: str | Path = "policy") -> None:
        self.name = name
        self.policy = policy
        self.chooses_edge = policy.manifest.edges > 1
        self._where = where
        self._greedy = Greedy()

    def save(self, path: str | Path) -> None:
        """Write the policy file."""
        save_policy(path, self.policy)

    def reset(self, context: Context) -> None:
        """Find the policy's options among the context's.

        Raises:
            InputError: the policy is for another network, another number of edges, or for another gain.
        """
        manifest = self.policy.manifest
        edges = int(context.options.edge.max()) + 1
        if edges != manifest.edges:
            raise InputError(self._where, "edges", manifest.edges, f"{edges}, as many as this run has to choose among")
        if context.gain_terms != manifest.gain_terms:
            raise InputError(
                self._where, "gain_terms", tuple(manifest.gain_terms), f"{tuple(context.gain_terms)}, this run's gain"
            )
        if context.from_devices and manifest.view != "device":
            text = f"{self._where}: trained on fresh views of the system; here it sees what devices believe of it"
            warnings.warn(text, stacklevel=2)
        table, column = self._options(context.options)
        self._actions = np.pad(column, ((0, 0), (0, 1)), constant_values=DROP)
        self._margin = manifest.margin(context)
        seen_as = manifest.seen_as(context)
        self._single = self._lean(seen_as, table) if context.batch == 1 else None
        self._decisions = [[_decision_for_good(option) for option in row] for row in self._actions.tolist()]
        if context.batch > 1:
            self._observe_as = _observe_as(self.policy, seen_as, table)
        self._guard = Guard(manifest.training_range, context, table)
        self._greedy.reset(context)

    def decide(self, view: View) -> Decision:
        """The best allowed action of each decision."""
        if self._single is not None:
            return self._decide_single(view, self._single)
        observation, mask = self._observe_as(view)
        mask[:, -1] = 1
        values = self.policy.q(observation)
        add_margin(values, observation, self._margin[view.stream])
        option = self._actions[view.stream, np.where(mask, values, -np.inf).argmax(axis=1)]
        out_of_range = self._guard.out_of_range(view)
        if out_of_range.any():
            option = np.where(out_of_range, self._greedy.decide(view).option, option)
        return Decision(option)

    def notes(self, row: int) -> dict[str, int]:
        """How many decisions of a row were left to Greedy since ``reset``, by what was out_of_range."""
        return {kind: int(n) for kind, n in zip(REASONS, self._guard.counts[:, row], strict=True) if n}

    def _lean(self, context: Context, table: OptionTable) -> _LeanPolicy:
        """The policy for one decision at a time."""
        if isinstance(self.policy, AfterstatePolicy) and self.policy.manifest.edges > 1:
            return SingleValuesAmongEdges(self.policy, AmongEdges(context, table), self._margin)
        if isinstance(self.policy, AfterstatePolicy):
            return SingleAfterstateValues(self.policy, SingleAfterstates(context, table), self._margin)
        return _SingleAdvantages(self.policy, SingleFeatures(context, table))

    def _decide_single(self, view: View, single: _LeanPolicy) -> Decision:
        single.observe(view)
        if self._guard.out_of_range_single(view):
            return self._greedy.decide(view)
        return self._decisions[view.stream.item()][single.best()]

    def _options(self, table: OptionTable) -> tuple[OptionTable, IntArray]:
        """The policy's options of each stream, and their columns in ``table``."""
        undominated, _ = table.undominated()
        kept = [
            [table.index(m, *option) for option in self._network(table, undominated, m).triples]
            for m in range(table.streams)
        ]
        return _padded(*table.columns(kept), self.policy.manifest.width)

    def _network(self, table: OptionTable, undominated: OptionTable, stream: int) -> NetworkOptions:
        """The one of the policy's networks that a stream has."""
        networks = self.policy.manifest.networks
        mark = fingerprint(table, stream)
        same = [network for network in networks if network.fingerprint == mark]
        if not same:
            known = " or ".join(f"{n.profile} ({n.fingerprint})" for n in networks)
            raise InputError(
                self._where, "networks", known, f"the network of stream {stream} ({mark}), as this run has"
            )
        n = int(undominated.count[stream])
        columns = (undominated.exit, undominated.partition, undominated.edge)
        wanted = tuple(zip(*(column[stream, :n].tolist() for column in columns), strict=True))
        return next((network for network in same if network.triples == wanted), same[0])


class _LeanPolicy(Protocol):
    """A policy's choice for one decision at a time."""

    def observe(self, view: View) -> None:
        """Observe it."""

    def best(self) -> int:
        """The action of largest value among those that are of use."""


def _observe_as(
    policy: AnyPolicy, context: Context, table: OptionTable
) -> Callable[[View], tuple[Float32, NDArray[np.int8]]]:
    if isinstance(policy, AfterstatePolicy):
        backlogs = afterstate_features(context, table)
        return lambda view: backlogs.observe(view)[:2]
    from hasten.features.observation_batch import Features  # a device, which has no numba, sees one at a time

    return Features(context, table).observe


def _decision_for_good(option: int) -> Decision:
    """One that nobody can change, to be given out again and again."""
    chosen = np.array([option])
    chosen.flags.writeable = False
    return Decision(chosen)


class _SingleAdvantages:
    """The advantages of one observation, in arrays made beforehand; each layer's bias is a row of its weights.

    The value head adds the same to every action, so the largest advantage is the largest value.
    """

    def __init__(self, policy: Policy, features: SingleFeatures) -> None:
        self._features = features
        self._weights = [_with_bias(layer) for layer in (*policy.trunk, policy.advantage)]
        self._inputs = [np.ones(len(weights), dtype=np.float32) for weights in self._weights]
        self._outputs = [entry[:-1] for entry in self._inputs[1:]]
        self._result = np.zeros(policy.manifest.width + 1, dtype=np.float32)
        self._zero = np.float32(0.0)

    def observe(self, view: View) -> None:
        """Observe."""
        self._features.observe(view, self._inputs[0][:-1])

    def best(self) -> int:
        """The action of largest value among those that are of use."""
        for entry, weights, output in zip(self._inputs, self._weights, self._outputs, strict=False):
            np.dot(entry, weights, out=output)
            np.maximum(output, self._zero, out=output)
        np.dot(self._inputs[-1], self._weights[-1], out=self._result)
        self._result[:-1][~self._features.feasible] = -np.inf
        return int(self._result.argmax())


def _with_bias(layer: Layer) -> Float32:
    return np.ascontiguousarray(np.vstack(layer), dtype=np.float32)


def _padded(table: OptionTable, column: IntArray, width: int) -> tuple[OptionTable, IntArray]:
    """The same with ``width`` columns: a policy for several networks has as many actions as the largest needs."""
    extra = ((0, 0), (0, width - column.shape[1]))
    fill = {"device_ms": np.inf, "energy_mj": np.nan}
    padded: dict[str, Any] = {
        field.name: np.pad(getattr(table, field.name), extra, constant_values=fill.get(field.name, 0))
        for field in fields(table)
        if field.name not in ("count", "stops")  # of the latter no scheduler makes use
    }
    return OptionTable(**padded, count=table.count), np.pad(column, extra, constant_values=DROP)


def from_file(argument: str) -> Learned:
    """``policy:FILE``."""
    if not argument:
        raise InputError("schedulers", "policy", argument, "the file of a trained policy: policy:FILE")
    return Learned(load_policy(argument), f"policy:{argument}", argument)
