"""What crosses the border between the server and a worker: requests one way, outcomes the other, as frames of bytes.

A frame is the length of its description, the description, and the tensors' raw data behind it, aligned. The server's
descriptions are marshalled: both ends are one Python, and the worker trusts its server. A worker's are JSON, and
untrusted: every length, offset, name and datatype is checked. Knows no process.
"""

import logging
import marshal
import secrets
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from dragoman.errors import (
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
from dragoman.types import DTYPES, InferRequest, InferResponse, Tensor
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


@dataclass(frozen=True, slots=True)
class Outcomes:
    """A worker's answer to batch ``number``, in the order asked. ``rotten`` says that it wants to be replaced."""

    number: int
    outcomes: list[Outcome]
    seconds: float
    rotten: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the answer to the request at ``place`` of batch ``number``."""

    number: int
    place: int
    response: InferResponse


def encode_requests(number: int, requests: Sequence[InferRequest]) -> Frame:
    """Strings go with the description, numbers behind it."""
    data = _Data()
    described = [
        (r.model, r.version, r.id, r.outputs, r.parameters, [data.input(tensor) for tensor in r.inputs])
        for r in requests
    ]
    try:
        return data.frame(marshal.dumps((number, described)))
    except ValueError:  # numbers of numpy's among the parameters
        plain = [
            (*names, orjson.loads(_to_json(parameters)), inputs) for *names, parameters, inputs in described
        ]
        return data.frame(marshal.dumps((number, plain)))


def decode_requests(frame: Buffer) -> tuple[int, list[InferRequest]]:
    """For the worker's side, which trusts the server. Tensors are views on ``frame``."""
    text, data = _open(frame)
    number, described = marshal.loads(text)
    return number, [
        InferRequest(model, tuple([_input(item, data) for item in inputs]), version, id_, outputs, parameters)
        for model, version, id_, outputs, parameters, inputs in described
    ]


def encode_outcomes(number: int, outcomes: Sequence[Outcome], seconds: float, rotten: str = "") -> Frame:
    """An outcome that can't be told becomes the model's failure, and takes no other with it."""
    data = _Data()
    with suppress(Exception):
        described = [_describe(outcome, data) for outcome in outcomes]
        if data.size <= MOST_DATA:
            return data.frame(_to_json(["outcomes", number, described, seconds, rotten]))
    data = _Data()
    fragments = [_describe_or_fail(outcome, data) for outcome in outcomes]
    return data.frame(_to_json(["outcomes", number, fragments, seconds, rotten]))


def encode_part(number: int, place: int, response: InferResponse) -> Frame:
    """Raises whatever makes the part impossible, for the model that has handed it out."""
    data = _Data()
    return data.frame(_to_json(["part", number, place, _describe(response, data)]))


def decode_answer(frame: Buffer) -> Outcomes | Part:
    """For the server's side, which trusts nothing: raises Damaged."""
    try:
        text, data = _open(frame)
        document = orjson.loads(text)
        if document[0] == "part":
            _, number, place, described = document
            response = _outcome(described, data)
            if not isinstance(response, InferResponse):
                raise Damaged("a part that is no response")
            response.final = False
            return Part(_integer(number), _integer(place), response)
        kind, number, described, seconds, rotten = document
        if kind != "outcomes":
            raise Damaged("a frame of an unknown kind")
        if type(seconds) not in (int, float) or not 0 <= seconds < float("inf"):
            raise Damaged("a duration that is none")
        outcomes = [_outcome(item, data) for item in described]
        return Outcomes(_integer(number), outcomes, float(seconds), str(rotten))
    except Damaged:
        raise
    except Exception as error:
        raise Damaged(f"a frame that can't be read: {type(error).__name__}") from error


def _describe_or_fail(outcome: Outcome, data: "_Data") -> Any:
    before = data.mark()
    try:
        described = orjson.Fragment(_to_json(_describe(outcome, data)))
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
    return _describe(InvalidOutput(f"the answer can't be sent: {reason}"), data)


def _describe(outcome: Outcome, data: "_Data") -> list[Any]:
    if isinstance(outcome, InferResponse):
        tensors = [data.describe(tensor) for tensor in outcome.outputs]
        return [outcome.model, outcome.version, outcome.id, outcome.parameters, tensors]
    if isinstance(outcome, PredictionFailed):
        return [outcome.code.value, outcome.message, outcome.status, outcome.detail]
    detail = outcome.detail if isinstance(outcome, Unprocessable) else None
    return [outcome.code.value, outcome.message, 0, detail]


def _outcome(described: Any, data: memoryview) -> Outcome:
    if len(described) == 5:
        model, version, id_, parameters, tensors = described
        if not (type(model) is type(version) is type(id_) is str and type(parameters) is dict):
            raise Damaged("a response of the wrong form")
        return InferResponse(
            model, version, tuple([_tensor(item, data) for item in tensors]), id_, parameters
        )
    code, message, status, detail = described
    if not isinstance(message, str):
        raise Damaged("an error of the wrong form")
    if isinstance(detail, str) and not status:
        return Unprocessable(message, detail)
    if status:
        return PredictionFailed(message, status if 200 <= _integer(status) <= 599 else 500, detail)
    return _KINDS.get(Code(code).value, ModelFailed)(message)


class _Data:
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


def _to_json(document: Any) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


def _open(frame: Buffer) -> tuple[bytes, memoryview]:
    view = memoryview(frame)
    (length,) = _LENGTH.unpack_from(view)
    before = _LENGTH.size + length
    if before > len(view):
        raise Damaged("a description longer than its frame")
    # The description is a copy: the other side could still write.
    return bytes(view[_LENGTH.size : before]), view[before + -before % _ALIGN :]


def _input(described: Any, data: memoryview) -> Tensor:
    name, datatype, shape, where, size, parameters = described
    if datatype == "BYTES":
        return Tensor(name, datatype, bytes_array(where, shape), parameters)
    array = np.frombuffer(data[where : where + size], DTYPES[datatype])
    return Tensor(name, datatype, array.reshape(shape), parameters)


def _tensor(described: Any, data: memoryview) -> Tensor:
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


def _integer(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise Damaged(f"{type(value).__name__} for a number")
    return value
