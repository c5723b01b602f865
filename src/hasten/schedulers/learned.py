"""The learned scheduler: the allowed action of largest value by a trained policy."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np

from hasten.core.decision import Context, Decision, IntArray, View
from hasten.core.errors import InputError
from hasten.core.observation import Features
from hasten.core.options import DROP, OptionTable
from hasten.schedulers.policy import NetworkOptions, Policy, fingerprint, load_policy, save_policy


class Learned:
    """Decides by a policy; ``where`` names it in errors."""

    def __init__(self, policy: Policy, name: str = "dqn", where: str | Path = "policy") -> None:
        self.name = name
        self.policy = policy
        self._where = where

    def save(self, path: str | Path) -> None:
        """Write the policy file."""
        save_policy(path, self.policy)

    def reset(self, context: Context) -> None:
        """Find the policy's options among the context's.

        Raises:
            InputError: the policy is for another network, or for another gain.
        """
        manifest = self.policy.manifest
        if context.gain_terms != manifest.gain_terms:
            raise InputError(self._where, "gain_terms", manifest.gain_terms, f"{context.gain_terms}, this run's gain")
        table, self._column = self._options(context.options)
        self._features = Features(context, table)

    def decide(self, view: View) -> Decision:
        """The best allowed action of each decision."""
        observation, mask = self._features.observe(view)
        values = np.where(mask, self.policy.q(observation), -np.inf)
        action = values.argmax(axis=1)
        option = self._column[view.stream, np.minimum(action, self._column.shape[1] - 1)]
        return Decision(np.where(action < self._column.shape[1], option, DROP))

    def _options(self, table: OptionTable) -> tuple[OptionTable, IntArray]:
        """The policy's options of each stream, and their columns in ``table``."""
        undominated, _ = table.undominated()
        kept = [
            [table.index(m, *pair) for pair in self._network(table, undominated, m).options]
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
        pairs = zip(undominated.exit[stream, :n].tolist(), undominated.partition[stream, :n].tolist(), strict=True)
        wanted = tuple(pairs)
        return next((network for network in same if network.options == wanted), same[0])


def _padded(table: OptionTable, column: IntArray, width: int) -> tuple[OptionTable, IntArray]:
    """The same with ``width`` columns: a policy for several networks has as many actions as the largest needs."""
    extra = ((0, 0), (0, width - column.shape[1]))
    fill = {"device_ms": np.inf, "energy_mj": np.nan}
    padded = {
        field.name: np.pad(getattr(table, field.name), extra, constant_values=fill.get(field.name, 0))
        for field in fields(table)
        if field.name != "count"
    }
    return OptionTable(**padded, count=table.count), np.pad(column, extra, constant_values=DROP)


def from_file(argument: str) -> Learned:
    """``dqn:PATH``."""
    if not argument:
        raise InputError("schedulers", "dqn", argument, "the file of a trained policy: dqn:PATH")
    return Learned(load_policy(argument), f"dqn:{argument}", argument)
