"""What the server and a worker say to each other in frames: requests one way, outcomes the other.

The server's descriptions are marshalled: both ends are one Python, and the worker trusts its server. A worker's are
JSON, and untrusted. Knows no process.
"""

import marshal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from dragoman.tensors import Buffer, bytes_array
from dragoman.types import DTYPES, InferRequest, InferResponse, Tensor
from dragoman.workers import talk
from dragoman.workers.frames import (
    Data,
    Frame,
    Outcome,
    describe_or_fail,
    describe_outcome,
    open_frame,
    read_integer,
    read_outcome,
    to_json,
)
from dragoman.workers.shared import MOST_DATA, Damaged


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
    data = Data()
    described = [
        (
            *(r.model, r.version, r.id, r.outputs, r.priority, r.timeout, r.parameters),
            [data.input(tensor) for tensor in r.inputs],
        )
        for r in requests
    ]
    try:
        return data.frame(marshal.dumps((number, described)))
    except ValueError:  # numbers of numpy's among the parameters
        plain = [
            (*names, orjson.loads(to_json(parameters)), inputs) for *names, parameters, inputs in described
        ]
        return data.frame(marshal.dumps((number, plain)))


def decode_requests(frame: Buffer) -> tuple[int, list[InferRequest]]:
    """For the worker's side, which trusts the server. Tensors are views on ``frame``."""
    text, data = open_frame(frame)
    number, described = marshal.loads(text)
    return number, [
        InferRequest(
            model,
            tuple([_input(item, data) for item in inputs]),
            version,
            id_,
            outputs,
            parameters,
            priority=priority,
            timeout=timeout,
        )
        for model, version, id_, outputs, priority, timeout, parameters, inputs in described
    ]


def decode_heard(frame: Buffer) -> tuple[int, list[InferRequest]] | talk.Reply | talk.Abandoned:
    """The same where the server may also say something else."""
    text, data = open_frame(frame)
    return talk.read_heard(orjson.loads(text), data) if text[:1] == b"[" else decode_requests(frame)


def encode_outcomes(number: int, outcomes: Sequence[Outcome], seconds: float, rotten: str = "") -> Frame:
    """An outcome that can't be told becomes the model's failure, and takes no other with it."""
    data = Data()
    with suppress(Exception):
        described = [describe_outcome(outcome, data) for outcome in outcomes]
        if data.size <= MOST_DATA:
            return data.frame(to_json(["outcomes", number, described, seconds, rotten]))
    data = Data()
    fragments = [describe_or_fail(outcome, data) for outcome in outcomes]
    return data.frame(to_json(["outcomes", number, fragments, seconds, rotten]))


def encode_part(number: int, place: int, response: InferResponse) -> Frame:
    """Raises whatever makes the part impossible, for the model that has handed it out."""
    data = Data()
    return data.frame(to_json(["part", number, place, describe_outcome(response, data)]))


def decode_answer(frame: Buffer) -> Outcomes | Part | talk.Word:
    """For the server's side, which trusts nothing: raises Damaged."""
    try:
        text, data = open_frame(frame)
        document = orjson.loads(text)
        if document[0] == "part":
            _, number, place, described = document
            response = read_outcome(described, data)
            if not isinstance(response, InferResponse):
                raise Damaged("a part that is no response")
            response.final = False
            return Part(read_integer(number), read_integer(place), response)
        if document[0] != "outcomes":
            return talk.read_word(document, data)
        _, number, described, seconds, rotten = document
        if type(seconds) not in (int, float) or not 0 <= seconds < float("inf"):
            raise Damaged("a duration that is none")
        outcomes = [read_outcome(item, data) for item in described]
        return Outcomes(read_integer(number), outcomes, float(seconds), str(rotten))
    except Damaged:
        raise
    except Exception as error:
        raise Damaged(f"a frame that can't be read: {type(error).__name__}") from error


def _input(described: Any, data: memoryview) -> Tensor:
    name, datatype, shape, where, size, parameters = described
    if datatype == "BYTES":
        return Tensor(name, datatype, bytes_array(where, shape), parameters)
    array = np.frombuffer(data[where : where + size], DTYPES[datatype])
    return Tensor(name, datatype, array.reshape(shape), parameters)
