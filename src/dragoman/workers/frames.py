"""Frames of bytes, which cross the border between the server and a worker: how outcomes and tensors lie in them.

A frame is the length of its description, the description, and the tensors' raw data behind it, aligned. What is read
here may come from a worker, and is untrusted: every length, offset, name and datatype is checked. Knows no process, and
not what frames say.
"""

import logging
import secrets
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from dragoman.errors import (
    Cancelled,
    Code,
    Conflict,
    DeadlineExceeded,
    DragomanError,
    Forbidden,
    InvalidInput,
    InvalidOutput,
    ModelFailed,
    NotFound,
    NotReady,
    Overloaded,
    PredictionFailed,
    TooLarge,
    Unauthorized,
    Unprocessable,
    Unsupported,
)
from dragoman.tensors import Buffer, bytes_array, count_elements, encode_raw, split_bytes
from dragoman.types import DTYPES, InferResponse, Tensor
from dragoman.workers.shared import MOST_DATA, Damaged

log = logging.getLogger("dragoman.workers")

Outcome = InferResponse | DragomanError

_LENGTH: Final = struct.Struct("<I")
_ALIGN: Final = 64
_PADDING: Final = bytes(_ALIGN)
#: What a model may say of a request. Anything else is the model's own failure.
_KINDS: Final[Mapping[str, type[DragomanError]]] = {
    kind.code.value: kind
    for kind in (
        Cancelled,
        InvalidInput,
        Unauthorized,
        Forbidden,
        NotFound,
        Conflict,
        TooLarge,
        Unsupported,
        Overloaded,
        NotReady,
        DeadlineExceeded,
        ModelFailed,
        InvalidOutput,
    )
}


@dataclass(slots=True)
class Frame:
    """A description and data, ready to be written: the pieces in order, and their bytes in all."""

    pieces: list[Buffer]
    size: int


def describe_or_fail(outcome: Outcome, data: "Data") -> Any:
    before = data.mark()
    try:
        described = orjson.Fragment(to_json(describe_outcome(outcome, data)))
        if data.size <= MOST_DATA:
            return described
        reason = f"its answer has more than {MOST_DATA} bytes"
    except DragomanError as error:
        reason = error.message
    except Exception as error:
        failure = secrets.token_hex(4)
        log.error("an answer could not be told", extra={"id": failure}, exc_info=error)
        reason = f"the server's log has it under id {failure}"
    data.reset(before)
    return describe_outcome(InvalidOutput(f"the answer can't be sent: {reason}"), data)


def describe_outcome(outcome: Outcome, data: "Data") -> list[Any]:
    if isinstance(outcome, InferResponse):
        tensors = [data.describe(tensor) for tensor in outcome.outputs]
        return [outcome.model, outcome.version, outcome.id, outcome.parameters, tensors]
    if isinstance(outcome, PredictionFailed):
        return [outcome.code.value, outcome.message, outcome.status, outcome.detail]
    detail = outcome.detail if isinstance(outcome, Unprocessable) else None
    return [outcome.code.value, outcome.message, 0, detail]


def read_outcome(described: Any, data: memoryview) -> Outcome:
    if len(described) == 5:
        model, version, id_, parameters, tensors = described
        if not (type(model) is type(version) is type(id_) is str and type(parameters) is dict):
            raise Damaged("a response of the wrong form")
        return InferResponse(
            model, version, tuple([read_tensor(item, data) for item in tensors]), id_, parameters
        )
    code, message, status, detail = described
    if not isinstance(message, str):
        raise Damaged("an error of the wrong form")
    if isinstance(detail, str) and not status:
        return Unprocessable(message, detail)
    if status:
        return PredictionFailed(message, status if 200 <= read_integer(status) <= 599 else 500, detail)
    return _KINDS.get(Code(code).value, ModelFailed)(message)


class Data:
    """Collects raw data and says where each tensor's begins."""

    def __init__(self) -> None:
        self._buffers: list[Buffer] = []
        self.size = 0

    def mark(self) -> tuple[int, int]:
        return len(self._buffers), self.size

    def reset(self, mark: tuple[int, int]) -> None:
        """Forget what came after ``mark``."""
        count, self.size = mark
        del self._buffers[count:]

    def describe(self, tensor: Tensor) -> list[Any]:
        raw = encode_raw(tensor)
        start = self.size
        padding = -len(raw) % _ALIGN
        self._buffers += (raw, _PADDING[:padding])
        self.size += len(raw) + padding
        return [tensor.name, tensor.datatype, tensor.data.shape, start, len(raw), tensor.parameters]

    def input(self, tensor: Tensor) -> tuple[Any, ...]:
        if tensor.datatype == "BYTES":
            return tensor.name, "BYTES", tensor.data.shape, tensor.data.ravel().tolist(), 0, tensor.parameters
        return tuple(self.describe(tensor))

    def frame(self, text: bytes) -> Frame:
        before = _LENGTH.size + len(text)
        padding = -before % _ALIGN
        pieces: list[Buffer] = [_LENGTH.pack(len(text)), text, _PADDING[:padding], *self._buffers]
        return Frame(pieces, before + padding + self.size)


def to_json(document: Any) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


def open_frame(frame: Buffer) -> tuple[bytes, memoryview]:
    view = memoryview(frame)
    (length,) = _LENGTH.unpack_from(view)
    before = _LENGTH.size + length
    if before > len(view):
        raise Damaged("a description longer than its frame")
    # The description is a copy: the other side could still write.
    return bytes(view[_LENGTH.size : before]), view[before + -before % _ALIGN :]


def read_tensor(described: Any, data: memoryview) -> Tensor:
    name, datatype, shape, start, size, parameters = described
    dtype = DTYPES[datatype]
    if not (type(name) is str and type(shape) is list and type(parameters) is dict):
        raise Damaged("a tensor of the wrong form")
    count = count_elements(shape, name)
    if not (type(start) is type(size) is int and 0 <= start <= start + size <= len(data)):
        raise Damaged("a tensor that lies outside its frame")
    raw = data[start : start + size]
    if datatype == "BYTES":
        return Tensor(name, datatype, bytes_array(split_bytes(raw, count, name), shape), parameters)
    if count * dtype.itemsize != size:
        raise Damaged("a tensor of another size than its shape")
    return Tensor(name, datatype, np.frombuffer(raw, dtype).reshape(shape), parameters)


def read_integer(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise Damaged(f"{type(value).__name__} for a number")
    return value
