"""What a worker and its server say while a model runs: questions to other models one way, their answers the other.

::

    worker ──ask──► server      server ──reply, reply … the last one──► worker ──took──► server
    worker ──ready──► server: whether it would answer now
    worker ──forget──► server   server ──abandoned──► worker: nobody waits for one of its answers any more

Both write JSON. The worker's is untrusted. Knows no process.
"""

from dataclasses import dataclass
from typing import Any

from dragoman.errors import DragomanError
from dragoman.types import InferRequest
from dragoman.workers.frames import (
    Data,
    Frame,
    Outcome,
    describe_or_fail,
    read_integer,
    read_outcome,
    read_tensor,
    to_json,
)
from dragoman.workers.shared import Damaged


@dataclass(frozen=True, slots=True)
class Question:
    """A model asks another one. ``number`` is the worker's, for the answers."""

    number: int
    request: InferRequest


@dataclass(frozen=True, slots=True)
class Forget:
    """Nobody wants the rest of the answers to a question."""

    number: int


@dataclass(frozen=True, slots=True)
class Took:
    """The worker has taken replies of so many bytes in all since the last such word: there is room for more."""

    size: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The model says whether it would answer now."""

    ready: bool


Word = Question | Forget | Took | Ready


@dataclass(frozen=True, slots=True)
class Reply:
    """An outcome of question ``number``; a response that isn't ``final`` is followed by others."""

    number: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Nobody waits any more for the answer to the request at ``place`` of batch ``number``."""

    number: int
    place: int


def encode_question(number: int, request: InferRequest) -> Frame:
    """Raises what makes the request impossible to write."""
    data = Data()
    tensors = [data.describe(tensor) for tensor in request.inputs]
    said = [request.model, request.version, request.id, request.outputs, request.parameters, request.timeout]
    return data.frame(to_json(["ask", number, *said, tensors]))


def encode_forget(number: int) -> Frame:
    return Data().frame(to_json(["forget", number]))


def encode_took(size: int) -> Frame:
    return Data().frame(to_json(["took", size]))


def encode_ready(ready: bool) -> Frame:
    return Data().frame(to_json(["ready", int(ready)]))


def encode_reply(number: int, outcome: Outcome) -> Frame:
    """An outcome that can't be told becomes the other model's failure."""
    data = Data()
    last = isinstance(outcome, DragomanError) or outcome.final
    described = describe_or_fail(outcome, data)
    return data.frame(to_json(["reply", number, last, described]))


def encode_abandoned(number: int, place: int) -> Frame:
    return Data().frame(to_json(["abandoned", number, place]))


def read_heard(document: Any, data: memoryview) -> Reply | Abandoned:
    """For the worker's side, which trusts the server."""
    if document[0] == "abandoned":
        return Abandoned(document[1], document[2])
    _, number, last, described = document
    outcome = read_outcome(described, data)
    if not isinstance(outcome, DragomanError):
        outcome.final = last
    return Reply(number, outcome)


def read_word(document: Any, data: memoryview) -> Word:
    """For the server's side, which trusts nothing: raises Damaged, and what else another form leads to."""
    kind, number, *said = document
    if kind == "forget":
        return Forget(read_integer(number))
    if kind == "took":
        return Took(read_integer(number))
    if kind == "ready":
        return Ready(bool(read_integer(number)))
    if kind != "ask":
        raise Damaged("a frame of an unknown kind")
    model, version, id_, outputs, parameters, timeout, tensors = said
    texts = (model, version, id_, *(outputs or ()))
    if not all(type(text) is str for text in texts) or type(parameters) is not dict:
        raise Damaged("a question of the wrong form")
    inputs = tuple([read_tensor(item, data) for item in tensors])
    wanted = tuple(outputs) if outputs else None
    request = InferRequest(model, inputs, version, id_, wanted, parameters, timeout=read_integer(timeout))
    return Question(read_integer(number), request)
