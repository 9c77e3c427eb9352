"""The one request type: what flows through every room between a wire and a library.

Knows numpy and nothing else: no wire, no library, no clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Parameters = dict[str, Any]

#: Datatype names of the Open Inference Protocol and the numpy dtype that carries each (little-endian on every
#: wire). BF16 has no numpy dtype: its bits travel as uint16. BYTES is an object array of ``bytes``.
DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(object),
}


@dataclass(slots=True)
class Tensor:
    """A named array. ``data.shape`` is the tensor's shape; ``data`` is often a read-only view on a request body."""

    name: str
    datatype: str
    data: Array
    parameters: Parameters = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape


@dataclass(slots=True)
class Moments:
    """When a request passed the queue, in seconds of the scheduler's clock; 0 is not yet."""

    submitted: float = 0.0
    started: float = 0.0
    finished: float = 0.0


@dataclass(slots=True)
class InferRequest:
    """One question to one model. ``deadline`` is a moment of the event loop's clock, in seconds.

    ``outputs`` names the wanted outputs, answered in the model's order; ``None`` means all of them. ``priority`` 0
    is the model's default, 1 the highest. An empty ``version`` lets the registry choose. A ``fresh`` one is answered
    by the model, whatever is kept. ``timeout`` is what the client has said of the deadline, in microseconds, for models
    that ask. An ``abandoned`` one is running, and nobody waits for its answer any more. ``moments`` are noted where
    somebody wants to know.
    """

    model: str
    inputs: tuple[Tensor, ...]
    version: str = ""
    id: str = ""
    outputs: tuple[str, ...] | None = None
    parameters: Parameters = field(default_factory=dict)
    deadline: float | None = None
    priority: int = 0
    fresh: bool = False
    timeout: int = 0
    abandoned: bool = False
    moments: Moments | None = None

    def input(self, name: str) -> Tensor:
        """The input called ``name``; raises KeyError when the request has none."""
        for tensor in self.inputs:
            if tensor.name == name:
                return tensor
        raise KeyError(name)


@dataclass(slots=True)
class InferResponse:
    """One answer of one model. A stream is many of these: all but the last have ``final`` false.

    ``recalled`` says where an answer comes from that no model was asked for: "cache", or "predictions" (made ahead).
    """

    model: str
    version: str
    outputs: tuple[Tensor, ...]
    id: str = ""
    parameters: Parameters = field(default_factory=dict)
    final: bool = True
    recalled: str = ""

    def output(self, name: str) -> Tensor:
        """The output called ``name``; raises KeyError when the response has none."""
        for tensor in self.outputs:
            if tensor.name == name:
                return tensor
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a model says of one input or output: -1 in ``shape`` is any size; ``labels`` name the classes."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and outputs of a model, shapes in full (a batch dimension included).

    ``batched`` says that the first dimension of every tensor counts rows that do not know of each other, so that
    rows of several requests may be joined. ``max_batch`` is the most rows one request may bring; 0 is no limit.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batched: bool = False
    max_batch: int = 0
