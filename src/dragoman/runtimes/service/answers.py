"""From what a method returned to the answer over HTTP: JSON in its envelope, bytes as they are, items of a stream.

The envelope is ``message, method, status-code, timestamp, url, data``, and the model's version and run beside them.
Knows no socket.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

import numpy as np
import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from dragoman.errors import InvalidOutput
from dragoman.runtimes.service.calls import HttpCall
from dragoman.runtimes.service.endpoints import Endpoint
from dragoman.tensors import bytes_array
from dragoman.types import InferResponse, Tensor

JSON: Final = "application/json"
LINES: Final = "application/x-ndjson"
EVENTS: Final = "text/event-stream"
_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose answers these are. ``run`` is the training run behind the model; empty where nobody has said."""

    model: str
    version: str
    run: str = ""
    envelope: bool = True


def encode_http(endpoint: Endpoint, call: HttpCall, identity: Identity, result: Any) -> InferResponse:
    """The whole answer. Raises InvalidOutput for what is not what the method's hint promises."""
    if _is_response(result):
        headers = [(name, value) for name, value in result.headers.items() if name != "content-length"]
        return respond(identity, result.status_code, bytes(result.body), "", headers)
    if isinstance(result, bytes | bytearray):
        return respond(identity, endpoint.options.status, bytes(result), "application/octet-stream")
    response = respond(identity, endpoint.options.status, encode_value(endpoint, result), JSON)
    if identity.envelope:
        response.parameters["envelope"] = _envelope(endpoint, call, identity)
    return response


def encode_item(endpoint: Endpoint, call: HttpCall, identity: Identity, item: Any) -> InferResponse:
    """An item of a stream: an event for who asked for events, else a line of JSON."""
    data = encode_value(endpoint, item)
    body = b"data: " + data + b"\n\n" if wants_events(call) else data + b"\n"
    return _part(endpoint, call, identity, body)


def encode_end(endpoint: Endpoint, call: HttpCall, identity: Identity) -> InferResponse:
    """The last part of a stream, which is empty; of one without items it is all there is."""
    return _part(endpoint, call, identity, b"")


def _part(endpoint: Endpoint, call: HttpCall, identity: Identity, body: bytes) -> InferResponse:
    headers = [("model-version", identity.version), ("cache-control", "no-cache")]
    if identity.run:
        headers.append(("run-id", identity.run))
    kind = EVENTS if wants_events(call) else LINES
    return respond(identity, endpoint.options.status, body, kind, headers)


def wants_events(call: HttpCall) -> bool:
    """Whether the client has asked for server-sent events."""
    return EVENTS in call.header("accept")


def encode_value(endpoint: Endpoint, value: Any) -> bytes:
    """JSON of a result, or of an item. Raises InvalidOutput."""
    try:
        if endpoint.adapter is not None:
            return endpoint.adapter.dump_json(promised(endpoint, value))
        return orjson.dumps(value, default=_tell, option=_OPTIONS)
    except (TypeError, PydanticSerializationError) as error:
        raise InvalidOutput(f"{endpoint.name} returned what JSON has no words for: {error}") from error


def promised(endpoint: Endpoint, value: Any) -> Any:
    """``value`` as the method's hint has it. Raises InvalidOutput."""
    if endpoint.adapter is None:
        return value
    try:
        return endpoint.adapter.validate_python(value, from_attributes=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, (endpoint.name, *first["loc"])))
        raise InvalidOutput(f"{where} is not what its hint promises: {first['msg']}") from error


def plain(endpoint: Endpoint, value: Any) -> Any:
    """A result as tensors are made of it: models as objects, enumerations as values, arrays as they are."""
    value = promised(endpoint, value)
    if isinstance(value, np.ndarray | bytes):
        return value
    try:
        if endpoint.adapter is not None:
            return endpoint.adapter.dump_python(value, mode="json")
        return orjson.loads(orjson.dumps(value, default=_tell, option=_OPTIONS))
    except (TypeError, PydanticSerializationError) as error:
        raise InvalidOutput(f"{endpoint.name} returned what JSON has no words for: {error}") from error


def respond(
    identity: Identity,
    status: int,
    body: bytes,
    content_type: str,
    headers: list[tuple[str, str]] | None = None,
) -> InferResponse:
    """An HTTP answer as it crosses the border."""
    parameters: dict[str, Any] = {"status": status, "content_type": content_type, "headers": headers or []}
    outputs = (Tensor("body", "BYTES", bytes_array([body], [1])),)
    return InferResponse(identity.model, identity.version, outputs, "", parameters)


def _envelope(endpoint: Endpoint, call: HttpCall, identity: Identity) -> tuple[str, str]:
    """What stands before and after the data. It is told apart from them: answers of two versions can be compared."""
    status = endpoint.options.status
    envelope: dict[str, Any] = {
        "message": HTTPStatus(status).phrase,
        "method": call.method,
        "status-code": status,
        "timestamp": datetime.now().isoformat(),
        "url": call.url,
    }
    whose = {"model-version": identity.version} | ({"run-id": identity.run} if identity.run else {})
    before, after = orjson.dumps(envelope).decode(), orjson.dumps(whose).decode()
    return f'{before[:-1]},"data":', f",{after[1:]}"


def _is_response(result: Any) -> bool:
    """Whether it is one of Starlette's responses, which say everything themselves."""
    return hasattr(result, "status_code") and hasattr(result, "raw_headers") and hasattr(result, "body")


def _tell(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return list(value)
    raise TypeError(type(value).__name__)
