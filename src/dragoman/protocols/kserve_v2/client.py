"""The other side of the codec: what a client of the protocol sends and reads, with binary tensors. Pure."""

import json
from collections.abc import Sequence
from math import prod
from typing import Any, Final

import numpy as np

from dragoman import tensors
from dragoman.types import DTYPES, Array, Tensor

#: The header of the binary extension: how many bytes of the body are JSON.
LENGTH: Final = "Inference-Header-Content-Length"


def infer_path(model: str, version: str = "") -> str:
    """Where to ask; without a version the newest answers."""
    return f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"


def encode_request(
    inputs: Sequence[Tensor], outputs: Sequence[str] = (), *, binary: bool = True
) -> tuple[bytes, dict[str, str]]:
    """A body and its headers. No ``outputs`` means all; the answer comes as the question: binary, or JSON."""
    pieces = [bytes(tensors.encode_raw(tensor)) for tensor in inputs] if binary else []
    described: list[dict[str, Any]] = [
        {"name": tensor.name, "shape": list(tensor.shape), "datatype": tensor.datatype} for tensor in inputs
    ]
    document: dict[str, Any] = {"inputs": described}
    if binary:
        document["parameters"] = {"binary_data_output": True}
        for item, piece in zip(described, pieces, strict=True):
            item["parameters"] = {"binary_data_size": len(piece)}
    else:
        for item, tensor in zip(described, inputs, strict=True):
            item["data"] = _values(tensor)
    if outputs:
        document["outputs"] = [{"name": name, "parameters": {"binary_data": binary}} for name in outputs]
    head = json.dumps(document).encode()
    if not binary:
        return head, {"Content-Type": "application/json"}
    return b"".join([head, *pieces]), {"Content-Type": "application/octet-stream", LENGTH: str(len(head))}


def decode_response(body: bytes, length: str | None) -> list[Tensor]:
    """The outputs; ``length`` is the answer's header of the binary extension, if it has one.

    Raises ValueError, KeyError or TypeError for what is no answer of this protocol.
    """
    start = len(body) if length is None else int(length)
    document = json.loads(body[:start])
    found = []
    for output in document["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        end = start + (size or 0)
        found.append(Tensor(output["name"], output["datatype"], _array(output, size, body[start:end])))
        start = end
    return found


def _values(tensor: Tensor) -> list[Any]:
    if tensor.datatype == "BYTES":
        return [element.decode() for element in tensors.elements_of(tensor)]
    values: list[Any] = tensor.data.ravel().tolist()
    return values


def _array(output: dict[str, Any], size: int | None, raw: bytes) -> Array:
    datatype, shape = output["datatype"], output["shape"]
    if size is None:
        if datatype == "BYTES":
            return tensors.bytes_array([str(element).encode() for element in output["data"]], shape)
        return np.array(output["data"], DTYPES[datatype]).reshape(shape)
    if datatype == "BYTES":
        return tensors.bytes_array(tensors.split_bytes(raw, prod(shape), output["name"]), shape)
    return tensors.decode_raw(raw, datatype, shape)
