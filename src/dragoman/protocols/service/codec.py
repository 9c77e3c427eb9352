"""A service's HTTP requests as the one request type, and its answers out of the one response type.

What a request means is known where the service runs: here it is handed on as it came. Knows no socket and no service.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from dragoman.errors import DragomanError, ModelFailed, Unprocessable
from dragoman.tensors import bytes_array, dump_json
from dragoman.types import InferRequest, InferResponse, Tensor

JSON: Final = "application/json"
UNPROCESSABLE: Final = 422
#: Headers that are the transport's, and none of an answer's own.
_OURS: Final = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Call:
    """A request's head. ``url`` is complete; ``path`` are the values of the path's parameters; names in lower case."""

    method: str
    url: str
    query: str
    path: tuple[str, ...]
    headers: Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What HTTP says of it."""

    status: int
    content_type: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def make_request(
    model: str, version: str, endpoint: str, call: Call, body: bytes | memoryview
) -> InferRequest:
    """The request for one endpoint of a service."""
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in call.headers]
    said = {
        "endpoint": endpoint,
        "method": call.method,
        "url": call.url,
        "query": call.query,
        "path": call.path,
        "headers": headers,
    }
    inputs = (Tensor("body", "BYTES", bytes_array([bytes(body)], [1])),)
    request_id = next((value for name, value in headers if name == "x-request-id"), "")
    return InferRequest(model, inputs, version, request_id, parameters={"http": said})


def decode_answer(response: InferResponse) -> Answer:
    """A service's answer, or one part of it. Raises ModelFailed for what HTTP can't say."""
    said = response.parameters
    status = said.get("status")
    if type(status) is not int or not 200 <= status <= 599:
        raise ModelFailed(f"the service chose the status {status!r:.50}, which is none of an answer")
    headers = tuple(
        (str(name), str(value)) for name, value in said.get("headers", ()) if str(name).lower() not in _OURS
    )
    body = b"".join(bytes(element) for tensor in response.outputs for element in tensor.data.ravel())
    if envelope := said.get("envelope"):
        before, after = envelope
        body = b"".join((str(before).encode(), body, str(after).encode()))
    return Answer(status, str(said.get("content_type", "")), headers, body)


def encode_error(error: DragomanError) -> bytes:
    """``{"detail": …}``: what FastAPI's clients look for; a list of places for what types didn't take."""
    detail = error.detail if isinstance(error, Unprocessable) else None
    if detail is None:
        return dump_json({"detail": error.message})
    return b'{"detail":' + detail.encode() + b"}"


def encode_health(call: Call, version: str, run: str) -> bytes:
    """The answer to ``GET /``, in the envelope."""
    envelope: dict[str, Any] = {
        "message": HTTPStatus.OK.phrase,
        "method": call.method,
        "status-code": int(HTTPStatus.OK),
        "timestamp": datetime.now().isoformat(),
        "url": call.url,
        "data": {},
        "model-version": version,
    }
    return dump_json(envelope | ({"run-id": run} if run else {}))
