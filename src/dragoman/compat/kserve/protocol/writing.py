"""Tensors of KServe's API on the v2 wires: into JSON with raw bytes behind it, into messages, and out of JSON."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import orjson

from dragoman.compat.kserve.errors import InvalidInput
from dragoman.compat.kserve.protocol.byte_tensor import deserialize_bytes_tensor
from dragoman.compat.kserve.protocol.contents import make_contents
from dragoman.compat.kserve.protocol.infer_tensor import SIZE, InferTensor
from dragoman.compat.kserve.protocol.parameters import to_grpc_parameters, to_http_parameters
from dragoman.compat.kserve.protocol.tensor_data import ONLY_RAW
from dragoman.compat.kserve.utils.numpy_codec import to_np_dtype
from dragoman.tensors import count_elements, decode_raw

#: A document and ``None``, or a body and how many bytes of it are JSON.
Rest = tuple[dict[str, Any], None] | tuple[bytes, int]
Kind = TypeVar("Kind", bound=InferTensor)


def write_rest(tensor: InferTensor, data: list[Any] | bytes, raws: list[bytes]) -> dict[str, Any]:
    """One tensor for a v2 document. A list goes into it, bytes go to ``raws``."""
    parameters = dict(tensor.parameters or {})
    parameters.pop(SIZE, None)
    if isinstance(data, bytes):
        raws.append(data)
        parameters[SIZE] = len(data)
    written: dict[str, Any] = {"name": tensor.name, "shape": tensor.shape, "datatype": tensor.datatype}
    if parameters:
        written["parameters"] = to_http_parameters(parameters)
    if not isinstance(data, bytes):
        written["data"] = data
    return written


def require_data(tensor: InferTensor, model: str) -> None:
    """Raises InvalidInput for a tensor without data."""
    if tensor.is_empty:
        raise InvalidInput(f"'data' field is missing for output '{tensor.name}' for model '{model}'")


def refuse_json(tensor: InferTensor) -> None:
    """Raises InvalidInput for a tensor of a datatype that JSON can't say."""
    if tensor.datatype in ONLY_RAW:
        raise InvalidInput(
            f"Sending {tensor.datatype} data via JSON is not supported."
            f" Please use the binary data format for {tensor.kind} {tensor.name}"
        )


def join_rest(document: dict[str, Any], raws: Sequence[bytes]) -> Rest:
    if not raws:
        return document, None
    text = orjson.dumps(document)
    return b"".join((text, *raws)), len(text)


def split_rest(body: bytes, json_length: int) -> tuple[dict[str, Any], memoryview]:
    """A document and the raw bytes behind it. Raises InvalidInput where it is no JSON, or no object."""
    try:
        document = orjson.loads(body[:json_length])
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"Unrecognized request format: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"Unrecognized request format: expected an object, got {type(document).__name__}")
    return document, memoryview(body)[json_length:]


def read_tensors(
    kind: type[Kind], documents: Sequence[Mapping[str, Any]], raws: memoryview | None, model: str
) -> list[Kind]:
    """The tensors of a v2 document. Raises InvalidInput where data are missing or don't fit the shape."""
    waiting = _Raws(raws if raws is not None else memoryview(b""))
    tensors = [_read_tensor(kind, document, waiting, model) for document in documents]
    if waiting.left:
        raise InvalidInput(
            f"{waiting.left} bytes behind the JSON belong to no {kind.kind} of model '{model}'"
        )
    return tensors


def is_any_raw(tensors: Sequence[InferTensor]) -> bool:
    """Whether a message of these has raw contents: arrays always are, lists only of datatypes without another way."""
    return any(
        tensor.is_raw
        or tensor.is_served
        or tensor.datatype in ONLY_RAW
        or isinstance(tensor.data, np.ndarray)
        for tensor in tensors
    )


def write_grpc(
    tensor: InferTensor, raw: bool, wrong_kind: str, wrong_datatype: str
) -> tuple[dict[str, Any], bytes | None]:
    """One tensor for a message, and its raw contents if they are to be raw."""
    parameters = dict(tensor.parameters or {})
    parameters.pop(SIZE, None)
    written: dict[str, Any] = {"name": tensor.name, "shape": tensor.shape, "datatype": tensor.datatype}
    data: bytes | None = None
    if raw:
        if isinstance(tensor.data, np.ndarray):
            tensor.check(tensor.data)
        if tensor.is_empty:
            raise InvalidInput(wrong_kind)
        data = tensor.to_bytes()
        parameters[SIZE] = len(data)
    else:
        written["contents"] = make_contents(tensor.datatype, tensor.data, wrong_kind, wrong_datatype)
    if parameters:
        written["parameters"] = to_grpc_parameters(parameters)
    return written, data


class _Raws:
    """The bytes behind a document, taken one tensor after the other."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    @property
    def left(self) -> int:
        return len(self._data)

    def take(self, size: Any, name: str) -> memoryview:
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(self._data):
            raise InvalidInput(
                f"'{SIZE}' of '{name}' is {size!r}, expected a number up to the {len(self._data)} bytes there are"
            )
        taken, self._data = self._data[:size], self._data[size:]
        return taken


def _read_tensor(kind: type[Kind], document: Mapping[str, Any], raws: _Raws, model: str) -> Kind:
    try:
        name, shape, datatype = document["name"], document["shape"], document["datatype"]
    except KeyError as missing:
        raise InvalidInput(f"{missing} is missing for an {kind.kind} of model '{model}'") from None
    data, parameters = document.get("data"), document.get("parameters")
    tensor = kind(name, shape, datatype, data, parameters)
    if data is not None:
        if tensor.datatype in ONLY_RAW and len(data):
            refuse_json(tensor)
        return tensor
    if not parameters or SIZE not in parameters:
        raise InvalidInput(f"'data' field is missing for {kind.kind} '{name}' for model '{model}'")
    left = {key: value for key, value in parameters.items() if key != SIZE}
    array = _read_raw(raws.take(parameters[SIZE], name), tensor.datatype, shape, name)
    return kind.of_array(name, tensor.datatype, array, left, text=True, raw=True)


def _read_raw(data: memoryview, datatype: str, shape: list[int], name: str) -> Any:
    dtype = to_np_dtype(datatype)
    if dtype is None:
        raise InvalidInput(f"invalid datatype {datatype} of '{name}'")
    count = count_elements(list(shape), name)
    if datatype == "BYTES":
        found = deserialize_bytes_tensor(data)
        if found.size != count:
            raise InvalidInput(f"'{name}' has {found.size} elements, expected {count} of shape {shape}")
        return found.reshape(shape)
    if len(data) != count * dtype.itemsize:
        raise InvalidInput(
            f"'{name}' has {len(data)} bytes, expected {count * dtype.itemsize} for {datatype} of shape {shape}"
        )
    return decode_raw(data, datatype, list(shape))
