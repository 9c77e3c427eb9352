"""One question, in every dialect: how each wire says it, and how its answer is read. Knows no model and no server."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dragoman.protocols.kserve_v2.client import LENGTH, decode_response, encode_request, infer_path
from dragoman.types import Array, Tensor

Arrays = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Message:
    """An HTTP request to a path below the server's address."""

    path: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Dialect:
    """``write`` puts a question; ``read`` takes the answer's headers and body."""

    name: str
    write: Callable[[str, Sequence[Tensor]], Message]
    read: Callable[[Mapping[str, str], bytes], Arrays]


def _write_v1(model: str, inputs: Sequence[Tensor]) -> Message:
    if len(inputs) == 1:
        instances = _plain(inputs[0])
    else:
        rows = zip(*map(_plain, inputs), strict=True)
        instances = [dict(zip((tensor.name for tensor in inputs), row, strict=True)) for row in rows]
    body = json.dumps({"instances": instances}).encode()
    return Message(f"/v1/models/{model}:predict", body, {"Content-Type": "application/json"})


def _plain(tensor: Tensor) -> list[Any]:
    """The rows as JSON has them; bytes are base64."""
    rows: list[Any] = tensor.data.tolist()
    if tensor.datatype == "BYTES":
        return [{"b64": base64.b64encode(row).decode()} for row in rows]
    return rows


def _read_v1(headers: Mapping[str, str], body: bytes) -> Arrays:
    predictions = json.loads(body)["predictions"]
    if isinstance(predictions[0], dict):
        return {name: np.array([row[name] for row in predictions]) for name in predictions[0]}
    return _Any(np.array(predictions))


class _Any(dict[str, Array]):
    """The v1 protocol doesn't name a model's only output: whatever name is asked for is meant."""

    def __init__(self, data: Array) -> None:
        super().__init__(predictions=data)

    def __missing__(self, name: str) -> Array:
        return self["predictions"]

    def __contains__(self, name: object) -> bool:
        return True


def _write_json(model: str, inputs: Sequence[Tensor]) -> Message:
    return Message(infer_path(model), *encode_request(inputs, binary=False))


def _write_binary(model: str, inputs: Sequence[Tensor]) -> Message:
    return Message(infer_path(model), *encode_request(inputs))


def _read_v2(headers: Mapping[str, str], body: bytes) -> Arrays:
    return {tensor.name: tensor.data for tensor in decode_response(body, headers.get(LENGTH.lower()))}


def _write_torchserve(model: str, inputs: Sequence[Tensor]) -> Message:
    """The only input's only element is the body."""
    (tensor,) = inputs
    return Message(
        f"/predictions/{model}", bytes(tensor.data[0]), {"Content-Type": "application/octet-stream"}
    )


def _read_torchserve(headers: Mapping[str, str], body: bytes) -> Arrays:
    """The body, under the name that other dialects have for what a handler answers."""
    return {HANDLED: np.array([body], object)}


#: What a handler's answer is called as a tensor.
HANDLED = "output-0"

V1 = Dialect("KServe v1", _write_v1, _read_v1)
V2_JSON = Dialect("v2 JSON", _write_json, _read_v2)
V2_BINARY = Dialect("v2 binary", _write_binary, _read_v2)
TORCHSERVE = Dialect("TorchServe", _write_torchserve, _read_torchserve)

#: Those that every model with a signature can be asked in.
DIALECTS: Sequence[Dialect] = (V1, V2_JSON, V2_BINARY)
