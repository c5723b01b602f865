"""What the protocol asks for and is told, whatever carries it; and why a request is not answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import HastenError
from hasten.runtime.edge.served import Served
from hasten.split.manifest import TensorSpec

Array = NDArray[np.generic]
Parameters = Mapping[str, object]

DATATYPES = {"float32": "FP32", "uint8": "UINT8", "int32": "INT32", "int64": "INT64", "bool": "BOOL"}
"""The protocol's names of our types."""


class Trouble(Enum):
    """Why a request is not answered."""

    WRONG = "wrong"
    """It is no request, or none for this model."""
    UNKNOWN = "unknown"
    """There is no such model or version."""
    TOKEN = "token"
    TOO_LARGE = "too large"
    BUSY = "busy"
    CLOSING = "closing"
    LATE = "late"
    """It could not have been answered by its deadline."""
    FAILED = "failed"


class AskError(HastenError):
    """A request that is not answered; one like it may be in ``retry_ms``, if that is not 0."""

    def __init__(self, trouble: Trouble, text: str, retry_ms: float = 0.0) -> None:
        super().__init__(text)
        self.trouble, self.retry_ms = trouble, retry_ms


@dataclass(frozen=True, slots=True)
class GivenTensor:
    """A tensor as it came: little-endian bytes as they lie in memory, or numbers."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    content: bytes | memoryview | Array


@dataclass(frozen=True, slots=True)
class InferAsk:
    """A request to infer.

    Attributes:
        version: empty stands for the latest.
        outputs: names of those wanted; none: all.
        arrived_ms: on the edge's clock, from when its deadline counts.
    """

    model: str
    version: str
    parameters: Parameters
    inputs: Sequence[GivenTensor]
    outputs: Sequence[str]
    arrived_ms: float


@dataclass(frozen=True, slots=True)
class Inferred:
    """An answer: each output wanted with its bytes (1, *shape), and what else there is to say."""

    served: Served
    outputs: Sequence[tuple[TensorSpec, bytes]]
    parameters: Mapping[str, int | float]


def version_of(served: Served) -> str:
    """The version of a model: the package's digest."""
    return served.package.digest


def batch_shape(spec: TensorSpec) -> list[int]:
    """The shape as it travels: a batch of one."""
    return [1, *spec.shape]


def wanted_tensor(spec: TensorSpec) -> str:
    """In words."""
    return f"{spec.name} {DATATYPES[spec.dtype]}{batch_shape(spec)}"
