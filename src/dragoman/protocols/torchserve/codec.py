"""TorchServe's predictions: any body in, any body out. Knows no socket, no route, and nothing of the model.

A handler sees a dictionary of inputs, and the headers of the request as the client wrote them:

* a form (``multipart/form-data`` or ``application/x-www-form-urlencoded``) brings one input for each of its
  fields; of several fields with one name the last counts
* every other body is the one input ``body``
* query parameters are inputs, too, on the paths where TorchServe makes them such

Each input is a BYTES tensor of one element with the parameter ``content_type``, a MIME type without parameters.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from dragoman.errors import ModelFailed
from dragoman.protocols.torchserve.multipart import (
    MULTIPART,
    URLENCODED,
    Field,
    media_type,
    parse_multipart,
    parse_urlencoded,
)
from dragoman.tensors import bytes_array
from dragoman.types import InferRequest, InferResponse, Tensor

#: What the transport has dealt with: the handler gets a body that is whole, and inflated.
_DONE: Final = frozenset({"expect", "transfer-encoding", "content-encoding"})
#: Headers of an answer that are the server's, whatever a handler says. ``ts_stream_next`` is a note between
#: TorchServe's own processes.
_OURS: Final = frozenset(
    {
        "connection", "content-length", "transfer-encoding", "keep-alive", "content-type", "x-request-id",
        "pragma", "cache-control", "expires", "ts_stream_next",
    }
)  # fmt: skip


Inputs = dict[str, Field]


class SequenceHeaders(NamedTuple):
    """Names of the headers that tell a stateful model which requests belong together; case doesn't count."""

    id: str = "ts_request_sequence_id"
    start: str = "ts_request_sequence_start"
    end: str = "ts_request_sequence_end"


SEQUENCE_HEADERS: Final = SequenceHeaders()


class Answer(NamedTuple):
    """A prediction as HTTP says it. ``reason`` may be empty, ``content_type`` too."""

    status: int
    reason: str
    content_type: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def decode_inputs(body: bytes | memoryview, content_type: str, query: str = "") -> Inputs:
    """The inputs by name, in their order. Raises InvalidInput and TooLarge."""
    fields = parse_urlencoded(query.encode())
    kind = media_type(content_type)
    if kind == MULTIPART:
        fields += parse_multipart(bytes(body), content_type)
    elif kind == URLENCODED:
        fields += parse_urlencoded(bytes(body))
    else:
        fields.append(Field("body", bytes(body), kind))
    return {field.name: field for field in fields}


def decode_headers(
    raw: Sequence[tuple[bytes, bytes]], length: int, explain: bool | None = None, url_path: str | None = None
) -> dict[str, str]:
    """What a handler's ``context`` knows of the request; the last of several headers with one name counts.

    ``length`` is the body's in bytes. ``explain`` and ``url_path`` are notes that TorchServe adds on some paths.
    """
    headers: dict[str, str] = {}
    sized = False
    for name, value in raw:
        text = name.decode("latin-1")
        lower = text.lower()
        if lower == "content-length":
            headers[text], sized = str(length), True
        elif lower not in _DONE:
            headers[text] = value.decode("latin-1")
    if not sized:
        headers["content-length"] = str(length)
    if url_path is not None:
        headers["url_path"] = url_path
    if explain is not None:
        headers["explain"] = "True" if explain else "False"
    return headers


def decode_sequence(
    headers: dict[str, str], new_id: Callable[[], str], names: SequenceHeaders
) -> tuple[dict[str, Any], str]:
    """Parameters of a request to a model that remembers, and the id that was made for it: one without an id begins
    a sequence, and so does one whose id nobody knows. The handler finds all that was said in ``headers``, under these
    very names."""
    found = {name.lower(): value for name, value in headers.items()}
    said = {name: found[name.lower()] for name in names if name.lower() in found}
    made = ""
    if not said.get(names.id):
        said[names.id] = made = f"ts-seq-{new_id()}"
        said[names.start] = "true"
    headers.update(said)
    start, end = (said.get(name, "").lower() == "true" for name in (names.start, names.end))
    flags = {"sequence_start": start, "sequence_end": end, "sequence_implicit": True}
    return {"sequence_id": said[names.id], **flags}, made


def make_request(
    model: str,
    version: str,
    request_id: str,
    inputs: Inputs,
    headers: dict[str, str],
    sequence: Mapping[str, Any] | None = None,
) -> InferRequest:
    """The one request type, out of what was decoded."""
    tensors = [
        Tensor(field.name, "BYTES", bytes_array([field.value], [1]), {"content_type": field.content_type})
        for field in inputs.values()
    ]
    return InferRequest(
        model, tuple(tensors), version, request_id, parameters={"headers": headers, **(sequence or {})}
    )


def encode_answer(response: InferResponse) -> Answer:
    """A handler's answer, or one part of it. Raises ModelFailed for what HTTP can't say.

    A model that is no handler is answered in JSON: each output's values under its name.
    """
    parameters = response.parameters
    status = parameters.get("status", 200)
    if type(status) is not int or not 200 <= status <= 999:
        raise ModelFailed(f"the handler chose the status {status!r:.50}, which is none of an answer")
    outputs = response.outputs
    if len(outputs) == 1 and outputs[0].datatype == "BYTES" and outputs[0].data.size == 1:
        body, content_type = bytes(outputs[0].data.item()), ""
    elif outputs:
        body, content_type = _encode_outputs(outputs), "application/json"
    else:
        body, content_type = b"", ""
    headers: tuple[tuple[str, str], ...] = ()
    given: Mapping[str, str] | None = parameters.get("headers")
    if given:
        content_type = next(
            (str(v) for name, v in given.items() if name.lower() == "content-type"), content_type
        )
        headers = tuple((name, str(v)) for name, v in given.items() if name.lower() not in _OURS)
    content_type = parameters.get("content_type") or content_type
    return Answer(status, parameters.get("reason") or "", content_type, headers, body)


def _encode_outputs(outputs: tuple[Tensor, ...]) -> bytes:
    return json.dumps({tensor.name: _values(tensor.data.tolist()) for tensor in outputs}, indent=2).encode()


def _values(data: Any) -> Any:
    if isinstance(data, list):
        return [_values(item) for item in data]
    return data.decode("utf-8", "replace") if isinstance(data, bytes) else data
