"""Options: every (exit, partition) of every stream as flat arrays, ready for vectorised decisions.

Rows are streams, columns options. Within a row options are ordered by exit, then by payload, so that the first hit
of an ``argmin`` over equals is the option of fewest bytes. Rows of streams with fewer options are padded with
options of infinite device time, which no scheduler can find feasible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import HastenError
from hasten.core.profile import Profile
from hasten.core.stops import Stops, all_stops, stream_stops

DROP = -1
"""The option index of a dropped task; as a pair it is written (0, 0)."""


@dataclass(frozen=True)
class StreamCosts:
    """What an option table needs to know of one stream: its profile and how much slower its machines run."""

    profile: Profile
    device_slowdown: float = 1.0
    edge_slowdown: float = 1.0
    energy_weight_per_mj: float = 0.0


@dataclass(frozen=True)
class OptionTable:
    """Options of M streams, padded to J columns; every array is (M, J) unless said otherwise."""

    exit: NDArray[np.int64]
    partition: NDArray[np.int64]
    device_ms: NDArray[np.float64]
    payload_bits: NDArray[np.float64]
    edge_ms: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    worth: NDArray[np.float64]
    """Accuracy less weighted device energy: what an on-time answer is worth (see ``core.gain``)."""
    energy_mj: NDArray[np.float64]
    """Energy the device spends; NaN where the profile does not know it."""
    edge: NDArray[np.int64]
    """Which of the edges that the device may use the rest runs at; 0 where there is one, and for local options."""
    count: NDArray[np.int64]
    """(M,): options that are not padding."""
    stops: Stops | None = None
    """Where tasks may stop early. Times above are then those of a task that goes all the way, the heads that it passes
    included; accuracy and worth are means over all tasks."""

    @property
    def streams(self) -> int:
        """Number of rows M."""
        return len(self.count)

    def pairs(self, stream: NDArray[np.int64], option: NDArray[np.int64]) -> NDArray[np.int64]:
        """Turn option indices (N,) of the given streams (N,) into (exit, partition) pairs (N, 2); DROP is (0, 0)."""
        chosen = np.maximum(option, 0)
        pairs = np.stack([self.exit[stream, chosen], self.partition[stream, chosen]], axis=-1)
        pairs[option == DROP] = 0
        return pairs

    def edges(self, stream: NDArray[np.int64], option: NDArray[np.int64]) -> NDArray[np.int64]:
        """The edge (N,) that options (N,) of the given streams (N,) send to; 0 for local ones and DROP."""
        return np.where(option == DROP, 0, self.edge[stream, np.maximum(option, 0)])

    def index(self, stream: int, exit_number: int, partition: int, edge: int = 0) -> int:
        """Option index of a pair at an edge in one stream's row; :class:`HastenError` for one that does not exist."""
        if exit_number == 0 and partition == 0:
            return DROP
        pair = (self.exit[stream] == exit_number) & (self.partition[stream] == partition)
        hits = np.flatnonzero(pair & (self.edge[stream] == edge))
        if len(hits) == 0:
            at = f", edge {edge}" if edge else ""
            raise HastenError(f"stream {stream} has no option (exit {exit_number}, partition {partition}{at})")
        return int(hits[0])

    def undominated(self, more: NDArray[np.float64] | None = None) -> tuple[OptionTable, NDArray[np.int64]]:
        """The options that are worth considering, and the column (M, J') each had in this table.

        An option is left out when another of its stream needs no more of device, uplink and edge and is worth at
        least as much: by the timing law it can never finish earlier nor earn more. Needs of different edges cannot be
        compared; a local option needs none. Where tasks may stop early the other needs no more on average, either.
        ``more`` (M, J), if given, is something else of which the other must not need more.
        """
        known: dict[bytes, list[int]] = {}  # thousands of streams may be alike
        kept = []
        for m in range(self.streams):
            costs, edge = self._costs(m), self.edge[m, : self.count[m]]
            if more is not None:
                costs = np.vstack([costs, more[m, : self.count[m]]])
            key = costs.tobytes() + edge.tobytes()
            if key not in known:
                known[key] = _undominated_columns(costs, edge)
            kept.append(known[key])
        return self.columns(kept)

    def columns(self, kept: Sequence[Sequence[int]]) -> tuple[OptionTable, NDArray[np.int64]]:
        """The part of the options that ``kept`` lists for each stream, and the column (M, J') each had here."""
        width = max(len(columns) for columns in kept)
        padding = self.exit.shape[1]
        column = np.full((self.streams, width), padding)
        for m, columns in enumerate(kept):
            column[m, : len(columns)] = columns

        def pick(values: NDArray[Any], fill: float) -> NDArray[Any]:
            padded = np.concatenate([values, np.full((self.streams, 1), fill, values.dtype)], axis=1)
            return np.take_along_axis(padded, column, axis=1)

        table = OptionTable(
            exit=pick(self.exit, 0),
            partition=pick(self.partition, 0),
            device_ms=pick(self.device_ms, np.inf),
            payload_bits=pick(self.payload_bits, 0.0),
            edge_ms=pick(self.edge_ms, 0.0),
            accuracy=pick(self.accuracy, 0.0),
            worth=pick(self.worth, 0.0),
            energy_mj=pick(self.energy_mj, np.nan),
            edge=pick(self.edge, 0),
            count=np.array([len(columns) for columns in kept]),
            stops=None if self.stops is None else self.stops.columns(column),
        )
        return table, np.where(column == padding, DROP, column)

    def _costs(self, stream: int) -> NDArray[np.float64]:
        """(4, J): what each of one stream's options needs of device, uplink and edge, and its worth, negative.

        Where tasks may stop early (7, J): behind these what they need on average.
        """
        n = self.count[stream]
        needed = [column[stream, :n] for column in (self.device_ms, self.payload_bits, self.edge_ms)]
        needed.append(-self.worth[stream, :n])
        if self.stops is not None:
            stops = self.stops
            means = [stops.mean(values) for values in (stops.device_ms, stops.payload_bits, stops.edge_ms)]
            needed += [values[stream, :n] for values in means]
        return np.stack(needed)


def _undominated_columns(costs: NDArray[np.float64], edge: NDArray[np.int64]) -> list[int]:
    """Columns of the undominated options among ``costs`` (4 or more, J) at ``edge`` (J,); of equal ones the first."""
    kept = []
    local = costs[1] == 0.0
    for j in range(costs.shape[1]):
        no_worse = np.all(costs <= costs[:, j : j + 1], axis=0) & (local | (edge == edge[j]))
        better = no_worse & np.any(costs < costs[:, j : j + 1], axis=0)
        equal_before = no_worse[:j] & ~better[:j]
        if not better.any() and not equal_before.any():
            kept.append(j)
    return kept


def option_table(streams: Sequence[StreamCosts]) -> OptionTable:
    """Lay out the options of ``streams`` (one row each)."""
    rows = [_stream_options(costs) for costs in streams]
    width = max(row.shape[1] for row in rows)
    table = np.zeros((8, len(rows), width))
    table[2] = np.inf
    table[7] = np.nan
    for m, row in enumerate(rows):
        table[:, m, : row.shape[1]] = row
    plain = OptionTable(
        exit=table[0].astype(np.int64),
        partition=table[1].astype(np.int64),
        device_ms=table[2].copy(),
        payload_bits=table[3].copy(),
        edge_ms=table[4].copy(),
        accuracy=table[5].copy(),
        worth=table[6].copy(),
        energy_mj=table[7].copy(),
        edge=np.zeros((len(rows), width), dtype=np.int64),
        count=np.array([row.shape[1] for row in rows], dtype=np.int64),
    )
    if all(costs.profile.confidence is None for costs in streams):
        return plain
    stops = all_stops(
        [
            stream_stops(costs.profile, row, costs.energy_weight_per_mj)
            for costs, row in zip(streams, rows, strict=True)
        ],
        width,
    )
    return replace(plain, stops=stops, worth=stops.mean(stops.worth))


def of_several_edges(tables: Sequence[OptionTable]) -> OptionTable:
    """One table for streams that may choose among edges, from their table at each edge; local options come once.

    Of equal exit and payload the earlier edge comes first. Early stops are left out.
    """
    first = tables[0]
    kept = [
        [[j for j in range(table.count[m]) if e == 0 or table.payload_bits[m, j] > 0] for m in range(first.streams)]
        for e, table in enumerate(tables)
    ]
    parts = [
        replace(table.columns(columns)[0], stops=None, edge=np.full((first.streams, max(map(len, columns))), e))
        for e, (table, columns) in enumerate(zip(tables, kept, strict=True))
    ]
    names: list[str] = [field.name for field in fields(OptionTable) if field.name not in ("count", "stops")]
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts], axis=1) for name in names}
    joined = OptionTable(
        **columns,
        count=np.full(first.streams, sum(part.exit.shape[1] for part in parts)),
    )
    order = np.lexsort((joined.edge, joined.partition, joined.payload_bits, joined.exit), axis=1)
    real = [row[joined.device_ms[m, row] < np.inf].tolist() for m, row in enumerate(order)]
    return joined.columns(real)[0]


def _stream_options(costs: StreamCosts) -> NDArray[np.float64]:
    """One stream's options as an array (8, J) in the order of the fields of :class:`OptionTable`."""
    profile = costs.profile
    device = np.concatenate([[0.0], np.cumsum([b.device_ms for b in profile.blocks])]) * costs.device_slowdown
    edge = np.concatenate([[0.0], np.cumsum([b.edge_ms for b in profile.blocks])]) * costs.edge_slowdown
    options = []
    for number, head in enumerate(profile.exits, start=1):
        last = head.after_block
        for p in range(last + 1):
            local = p == last
            passed_ms = costs.device_slowdown * profile.passed_ms("device", 0, p, number)
            own_ms = head.device_ms * costs.device_slowdown if local else profile.encode_ms(p)
            device_ms = device[p] + passed_ms + own_ms
            edge_passed_ms = costs.edge_slowdown * profile.passed_ms("edge", p, last, number)
            edge_ms = 0.0 if local else edge[last] - edge[p] + edge_passed_ms + head.edge_ms * costs.edge_slowdown
            payload_bytes = 0 if local else profile.payload_bytes(p)
            energy_mj = _energy_mj(profile, device_ms, payload_bytes)
            accuracy = worth = profile.accuracy(number, p)
            if costs.energy_weight_per_mj > 0:
                worth -= costs.energy_weight_per_mj * energy_mj
            options.append((number, p, device_ms, 8.0 * payload_bytes, edge_ms, accuracy, worth, energy_mj))
    options.sort(key=lambda option: (option[0], option[3], option[1]))
    return np.array(options).T


def _energy_mj(profile: Profile, device_ms: float, payload_bytes: int) -> float:
    """Energy of computing and sending on the device, NaN when the profile does not know it."""
    if profile.device_power_mw is None:
        return float("nan")
    radio_uj_per_byte = profile.radio_uj_per_byte or 0.0
    return (profile.device_power_mw * device_ms + radio_uj_per_byte * payload_bytes) / 1000.0
