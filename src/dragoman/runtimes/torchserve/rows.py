"""Requests as a handler sees them: a dict and headers for each. Knows no handler and no library."""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from dragoman.types import InferRequest, Tensor

log = logging.getLogger("dragoman.runtimes.torchserve")

Row = dict[str, Any]
Headers = dict[str, Any]

#: Envelopes that undress KServe's first protocol; the others take tensors as the Open Inference Protocol has them.
_INSTANCES: Final = ("json", "kserve")
#: Sequence parameters of the Open Inference Protocol, and the headers in which TorchServe's handlers look for them.
_SEQUENCE: Final = ("sequence_id", "sequence_start", "sequence_end")
SEQUENCE_HEADERS: Final = ("ts_request_sequence_id", "ts_request_sequence_start", "ts_request_sequence_end")


def is_whole(request: InferRequest) -> bool:
    """The request came as a body or a form, with its headers; if not, as tensors of another dialect."""
    return type(request.parameters.get("headers")) is dict  # other dialects' parameters are scalars


def to_row(
    request: InferRequest, decode: bool, envelope: str = "", sequence: Sequence[str] = SEQUENCE_HEADERS
) -> tuple[Row, Headers]:
    """The parts by name (of two with one name the last), and the headers, the parts' types among them.

    ``sequence`` are the headers that tell another dialect's sequence: its id, start and end.
    """
    if not is_whole(request):
        return _from_tensors(request, envelope, sequence)
    row: Row = {}
    headers: Headers = {}
    for part in request.inputs:
        kind = part.parameters.get("content_type", "")
        row[part.name] = _value(part.data.flat[0], kind if decode else "")
        headers[part.name] = {"content-type": kind}
    headers.update(request.parameters["headers"])
    return row, headers


def _value(data: Any, kind: str) -> Any:
    """JSON is parsed, text is decoded, the rest are the bytes, as are those that turn out to be neither."""
    try:
        if kind == "application/json":
            return json.loads(bytes(data).decode())
        if kind.startswith("text"):
            return bytes(data).decode()
    except ValueError as error:
        log.warning("a body of type %s is not that: the handler gets its bytes (%s)", kind, error)
    return bytearray(data)


def _from_tensors(request: InferRequest, envelope: str, sequence: Sequence[str]) -> tuple[Row, Headers]:
    parameters = {key: value for key, value in request.parameters.items() if key not in _SEQUENCE}
    body: Row
    if envelope in _INSTANCES:
        body = {"instances": _instances(request.inputs)}
    else:
        body = {"inputs": [_as_json(tensor) for tensor in request.inputs]}
        if parameters:
            body["parameters"] = parameters
    if request.id:
        body["id"] = request.id
    headers: Headers = {"body": {"content-type": "application/json"}, "explain": "False"}
    headers.update(_sequence_of(request.parameters, sequence))
    return {"body": body}, headers


def _sequence_of(parameters: Mapping[str, Any], headers: Sequence[str]) -> Headers:
    """Header values are text: a sequence starts with ``true``."""
    pairs = zip(_SEQUENCE, headers, strict=True)
    found = {header: parameters[key] for key, header in pairs if parameters.get(key)}
    return {header: str(value).lower() if value is True else str(value) for header, value in found.items()}


def _as_json(tensor: Tensor) -> Row:
    flat = tensor.data.ravel().tolist()
    if tensor.datatype == "BYTES":
        flat = [_text(item) for item in flat]
    return {"name": tensor.name, "shape": list(tensor.shape), "datatype": tensor.datatype, "data": flat}


def _instances(tensors: tuple[Tensor, ...]) -> list[Any]:
    """One tensor's rows, or for several a dict for each row."""
    rows = {tensor.name: _texts(np.atleast_1d(tensor.data).tolist()) for tensor in tensors}
    if len(rows) == 1:
        (only,) = rows.values()
        found: list[Any] = only
        return found
    return [dict(zip(rows, each, strict=True)) for each in zip(*rows.values(), strict=False)]


def _texts(value: Any) -> Any:
    return [_texts(item) for item in value] if isinstance(value, list) else _text(value)


def _text(item: Any) -> Any:
    """Text of text; bytes that aren't (an image) as they are."""
    if not isinstance(item, bytes):
        return item
    try:
        return item.decode()
    except UnicodeDecodeError:
        return item
