"""The observation of :mod:`hasten.features.observation` for many decisions at once, of a scheduler's views.

The kernels are those by which the environments observe. For one decision at a time, without a compiler, there is
:mod:`hasten.features.observation_single`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import compiled
from hasten.core.decision import Context, FloatArray, IntArray, View
from hasten.core.options import OptionTable
from hasten.features.layout import ActionLayout
from hasten.features.observation_kernel import (
    Memory,
    Setting,
    Sighted,
    forget,
    new_memory,
    new_setting,
    write_state,
)
from hasten.features.observation_options import write_options


class Views(NamedTuple):
    """The arrays of a :class:`hasten.core.decision.View` of B decisions that an observation is made of."""

    row: IntArray
    stream: IntArray
    now_ms: FloatArray
    device_wait_ms: FloatArray
    uplink_wait_ms: FloatArray
    edge_wait_ms: FloatArray
    others_wait_ms: FloatArray
    rtt_ms: FloatArray
    rate_bits_per_ms: FloatArray


class Features:
    """Computes observations and action masks from the views of one run, decision by decision.

    ``options`` are those the actions refer to: action j is option j, action J drops the task.
    """

    def __init__(self, context: Context, options: OptionTable) -> None:
        self.layout = ActionLayout(int(options.exit.shape[1]))
        self._rtt_ms = context.rtt_ms
        self._setting = new_setting(context, options)
        self._memory = new_memory(context.batch, len(context.deadline_ms))
        for b in range(context.batch):
            forget(b, self._memory, self._setting)

    def observe(self, view: View) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        """Observations (B, F) and action masks (B, J+1) of these decisions; call once for each view, rows differ."""
        number = len(view.row)
        observation = np.empty((number, self.layout.size), dtype=np.float32)
        mask = np.empty((number, self.layout.options + 1), dtype=np.int8)
        seen = Views(
            row=np.ascontiguousarray(view.row),
            stream=np.ascontiguousarray(view.stream),
            now_ms=np.ascontiguousarray(view.now_ms),
            device_wait_ms=np.ascontiguousarray(view.device_wait_ms),
            uplink_wait_ms=np.ascontiguousarray(view.uplink_wait_ms),
            edge_wait_ms=np.ascontiguousarray(view.edge_wait_ms),
            others_wait_ms=np.ascontiguousarray(view.others_wait_ms),
            rtt_ms=view.beside_ms(self._rtt_ms),
            rate_bits_per_ms=np.ascontiguousarray(view.rate_bits_per_ms),
        )
        observe_views(seen, observation, mask, self._memory, self._setting)
        return observation, mask


@compiled
def observe_views(
    views: Views, observation: NDArray[np.float32], mask: NDArray[np.int8], memory: Memory, setting: Setting
) -> None:
    """Fill observations (B, F) and masks (B, J+1)."""
    for i in range(len(views.row)):
        seen = Sighted(
            views.stream[i],
            views.now_ms[i],
            views.device_wait_ms[i],
            views.uplink_wait_ms[i],
            views.edge_wait_ms[i],
            views.others_wait_ms[i],
            0.0,
            views.rtt_ms[i],
            views.rate_bits_per_ms[i],
        )
        write_state(views.row[i], seen, observation[i], memory, setting)
    write_options(views.row, observation, mask, memory, setting)
