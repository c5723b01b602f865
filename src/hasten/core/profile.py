"""A profile: what one multi-exit network costs on one device and one edge node, and how accurate each exit is.

The file format is ``hasten.profile/1``. Blocks are in order; an exit sits behind block ``after_block`` (from 1).
An option is a pair (exit, partition): blocks ``1..partition`` run on the device, the rest and the exit's head at
the edge; ``partition == after_block`` keeps everything, the head included, on the device and sends nothing.
"""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from hasten.core.confidence import Confidence
from hasten.core.errors import InputError
from hasten.core.files import Milliseconds, Name, Record, read_json, validated
from hasten.core.noise import TimeSpread

Bytes = Annotated[int, Field(gt=0, le=1 << 40)]
Power = Annotated[float, Field(ge=0, le=1e9)]
Fraction = Annotated[float, Field(ge=0, le=1)]
MAX_OPTIONS = 10_000
"""Schedulers weigh all options of a profile for every task; some compare each with each beforehand."""


class Block(Record):
    """One block of the backbone; ``output_bytes`` is what goes on the wire after the codec.

    ``encode_ms`` is what the device needs to encode them, where it was measured apart.
    """

    name: Name
    device_ms: Milliseconds
    edge_ms: Milliseconds
    output_bytes: Bytes
    encode_ms: Milliseconds = 0.0


class ExitHead(Record):
    """One exit; ``accuracy`` is unconditional, over held-out data, and the times are those of the head alone.

    ``accuracy_by_partition`` has one entry per partition 0..after_block, the codec at that cut included; at the last
    nothing is sent. Where it was not measured, every partition has ``accuracy``.
    """

    name: Name
    after_block: Annotated[int, Field(ge=1)]
    accuracy: Fraction
    device_ms: Milliseconds
    edge_ms: Milliseconds
    accuracy_by_partition: tuple[Fraction, ...] | None = None

    def accuracy_at(self, partition: int) -> float:
        """Accuracy of this exit when blocks ``1..partition`` run on the device and the rest at the edge."""
        return self.accuracy if self.accuracy_by_partition is None else self.accuracy_by_partition[partition]


class SegmentBatches(Record):
    """How long an edge takes from ``partition`` to ``exit`` for several samples at once, as measured by their number.

    ``sizes`` ascend from 1 on; ``ms`` has the time of a whole batch of each size.
    """

    exit: Annotated[int, Field(ge=1)]
    partition: Annotated[int, Field(ge=0)]
    sizes: Annotated[tuple[Annotated[int, Field(ge=1, le=1024)], ...], Field(min_length=2, max_length=16)]
    ms: tuple[Annotated[float, Field(gt=0, le=1e9)], ...]

    @model_validator(mode="after")
    def _sizes_ascend(self) -> SegmentBatches:
        if self.sizes[0] != 1 or any(after <= before for before, after in pairwise(self.sizes)):
            raise ValueError(f"sizes to ascend from 1 on, not {list(self.sizes)}")
        if len(self.ms) != len(self.sizes):
            raise ValueError(f"ms to have {len(self.sizes)} entries, one per size, not {len(self.ms)}")
        return self


class Profile(Record):
    """A measured network: the input to every schedule. All times in milliseconds, all sizes in bytes.

    Two times belong to the machines rather than to the network. Neither occupies anything, so that tasks which follow
    closely overlap in them: ``task_ms`` passes from a task's
    arrival until an idle device is at work on it and from its end until the answer is noted (waking up, deciding,
    handing over between threads); ``offload_ms`` is what an offloaded task spends on its way besides its transfer,
    the round trip of a ping and its time at the edge. Neither grows when a machine plays a slower one, nor does
    encoding: they are constants of a call and would swamp a small network's times.

    All times are medians; ``spread`` tells how single ones differ from them, where that was measured. ``edge_batches``
    has the segments that an edge may run for several tasks at once, and how long that takes.

    With ``confidence`` tasks may stop early (:mod:`hasten.core.confidence`): whoever reckons with a profile that has it
    reckons with that. :meth:`stopping` makes one that has it only where it is asked for.
    """

    schema_id: Literal["hasten.profile/1"] = Field(alias="schema")
    name: Name
    source: Annotated[str, Field(max_length=10_000)]
    input_bytes: Bytes
    input_encode_ms: Milliseconds = 0.0
    task_ms: Milliseconds = 0.0
    offload_ms: Milliseconds = 0.0
    blocks: Annotated[tuple[Block, ...], Field(min_length=1)]
    exits: Annotated[tuple[ExitHead, ...], Field(min_length=1)]
    device_power_mw: Power | None = None
    radio_uj_per_byte: Power | None = None
    spread: TimeSpread | None = None
    edge_batches: tuple[SegmentBatches, ...] | None = None
    confidence: Confidence | None = None

    @model_validator(mode="after")
    def _exits_fit_blocks(self) -> Profile:
        previous = 0
        for number, head in enumerate(self.exits, start=1):
            if head.after_block > len(self.blocks):
                raise ValueError(
                    f"exits[{number - 1}].after_block to be at most {len(self.blocks)} (the number of blocks), "
                    f"not {head.after_block}"
                )
            if head.after_block <= previous:
                raise ValueError(
                    f"exits[{number - 1}].after_block to be greater than the previous exit's {previous}, "
                    f"not {head.after_block}"
                )
            previous = head.after_block
            by_partition = head.accuracy_by_partition
            if by_partition is not None and len(by_partition) != head.after_block + 1:
                raise ValueError(
                    f"exits[{number - 1}].accuracy_by_partition to have {head.after_block + 1} entries "
                    f"(partitions 0..{head.after_block}), not {len(by_partition)}"
                )
        for number, batches in enumerate(self.edge_batches or ()):
            if batches.exit > len(self.exits) or batches.partition >= self.exits[batches.exit - 1].after_block:
                pair = f"(exit {batches.exit}, partition {batches.partition})"
                raise ValueError(f"edge_batches[{number}] to be of an option that is offloaded, not {pair}")
        if self.options > MAX_OPTIONS:
            raise ValueError(f"at most {MAX_OPTIONS} options, pairs of an exit and a partition, not {self.options}")
        if self.confidence is not None:
            self.confidence.require_exits(tuple(head.after_block for head in self.exits))
        return self

    @property
    def options(self) -> int:
        """How many pairs of an exit and a partition there are."""
        return sum(head.after_block + 1 for head in self.exits)

    def payload_bytes(self, partition: int) -> int:
        """Bytes sent when blocks ``1..partition`` ran on the device (partition 0: the input itself)."""
        return self.input_bytes if partition == 0 else self.blocks[partition - 1].output_bytes

    def accuracy(self, exit_number: int, partition: int) -> float:
        """Accuracy of the option (exit, partition), early stops included; 0 for exit 0, which is no answer."""
        if exit_number == 0:
            return 0.0
        if self.confidence is not None:
            return self.confidence.outcomes[exit_number - 1][partition].accuracy
        return self.exits[exit_number - 1].accuracy_at(partition)

    def answered_accuracy(self, decided: tuple[int, int], answered: tuple[int, int]) -> float:
        """Accuracy of an answer of the (exit, partition) ``answered`` to a task for which ``decided`` was chosen.

        They differ where the task stopped early, or was finished otherwise than was decided.
        """
        exit_number, partition = answered
        if self.confidence is None or exit_number == 0:
            return self.accuracy(exit_number, partition)
        last = self.exits[exit_number - 1].after_block
        stopped = exit_number < decided[0] and partition == (last if last <= decided[1] else decided[1])
        if stopped or decided == answered:
            return self.confidence.outcomes[decided[0] - 1][decided[1]].accuracies[exit_number - 1]
        return self.exits[exit_number - 1].accuracy_at(partition)

    def threshold(self, exit_number: int) -> float:
        """The confidence from which on a task stops at this exit; infinity where it is not looked at."""
        found = None if self.confidence is None else self.confidence.thresholds[exit_number - 1]
        return math.inf if found is None else found

    def stopping(self, max_accuracy_loss: float | None) -> Profile:
        """This profile with early stops if they cost at most ``max_accuracy_loss``; None: without.

        Raises:
            InputError: nothing is known of early stops, or they may cost more.
        """
        if max_accuracy_loss is None:
            return self if self.confidence is None else self.model_copy(update={"confidence": None})
        field = "confidence.max_accuracy_loss"
        if self.confidence is None:
            expected = "none: the package was not built with --max-accuracy-loss, nothing is known of its early stops"
            raise InputError(f"profile {self.name}", field, max_accuracy_loss, expected)
        if max_accuracy_loss < self.confidence.max_accuracy_loss:
            expected = f"at least {self.confidence.max_accuracy_loss:g}, which the package was built for"
            raise InputError(f"profile {self.name}", field, max_accuracy_loss, expected)
        return self

    def passed(self, begin: int, end: int, exit_number: int) -> list[int]:
        """The exits before ``exit_number`` whose heads a machine runs on its way from ``begin`` to ``end``.

        They lie behind block ``begin``, up to and including ``end``, and have a threshold.
        """
        if self.confidence is None:
            return []
        return [
            number
            for number, (head, threshold) in enumerate(zip(self.exits, self.confidence.thresholds, strict=True), 1)
            if threshold is not None and number < exit_number and begin < head.after_block <= end
        ]

    def passed_ms(self, machine: Literal["device", "edge"], begin: int, end: int, exit_number: int) -> float:
        """What the heads of :meth:`passed` take."""
        passed = [self.exits[number - 1] for number in self.passed(begin, end, exit_number)]
        return sum(head.device_ms if machine == "device" else head.edge_ms for head in passed)

    def encode_ms(self, partition: int) -> float:
        """What the device needs to encode what crosses at ``partition``."""
        return self.input_encode_ms if partition == 0 else self.blocks[partition - 1].encode_ms

    def to_json(self) -> str:
        """The profile as the text of a ``hasten.profile/1`` file."""
        return json.dumps(self.model_dump(by_alias=True, exclude_none=True), indent=2) + "\n"


def batching(profile: Profile, most: int) -> Profile:
    """The same for an edge that runs at most so many tasks at once; 1: it knows nothing of batches."""
    kept = []
    for batches in profile.edge_batches or ():
        count = sum(size <= most for size in batches.sizes)
        if count > 1:
            kept.append(batches.model_copy(update={"sizes": batches.sizes[:count], "ms": batches.ms[:count]}))
    return profile.model_copy(update={"edge_batches": tuple(kept) or None})


def read_profile(path: Path) -> Profile:
    """Load and check a profile file; raises :class:`hasten.core.errors.InputError` naming the field."""
    return validated(Profile, read_json(path), path)
