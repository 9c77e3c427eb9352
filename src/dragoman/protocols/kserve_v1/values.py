"""What KServe v1 calls data: nested lists of JSON values, to a tensor and back. Knows no body and no key."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np

from dragoman.errors import InvalidInput
from dragoman.tensors import MAX_DIMENSIONS, bytes_array, elements_of
from dragoman.types import DTYPES, Array, Tensor, TensorSpec

_INTEGER: Final[set[type]] = {int}
_NUMBER: Final[set[type]] = {int, float}
#: The JSON types a datatype takes; integers take integers.
_ACCEPTED: Final[Mapping[str, set[type]]] = {
    "BOOL": {bool},
    "FP16": _NUMBER,
    "BF16": _NUMBER,
    "FP32": _NUMBER,
    "FP64": _NUMBER,
}
#: The datatype of values when the signature doesn't say: the first that takes them all.
_INFERRED: Final[Sequence[tuple[set[type], str]]] = (
    ({bool}, "BOOL"),
    (_INTEGER, "INT64"),
    (_NUMBER, "FP64"),
    ({str, dict}, "BYTES"),
)
_KINDS: Final[Mapping[type, str]] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a floating-point number",
    type(None): "null",
}


def decode_tensor(spec: TensorSpec, values: Any) -> Tensor:
    """An input from its JSON. An empty datatype in ``spec`` lets the values decide. Raises InvalidInput."""
    shape, flat = _flatten(spec.name, values)
    if len(spec.shape) == len(shape) + 1 and spec.shape[-1] == 1:
        shape = (*shape, 1)  # a column of scalars, as in a data frame
    kinds = set(map(type, flat))
    datatype = spec.datatype or _datatype_of(spec.name, kinds)
    if datatype == "BYTES":
        return Tensor(
            spec.name, datatype, bytes_array([_to_bytes(spec.name, value) for value in flat], shape)
        )
    return Tensor(spec.name, datatype, _to_array(spec.name, datatype, flat, kinds).reshape(shape))


def encode_tensor(tensor: Tensor) -> Any:
    """An output as what ``dump_json`` can write: an array, or a nested list where it must be one."""
    data = tensor.data
    if tensor.datatype == "BYTES":
        texts = [_text(element) for element in elements_of(tensor)]
        return texts if data.ndim == 1 else _nested(texts, data.shape)
    if tensor.datatype == "BF16":
        data = (data.astype(np.uint32) << 16).view(np.float32)
    return np.ascontiguousarray(data) if data.shape else _scalars(data)


def encode_rows(tensor: Tensor) -> Any:
    """An output's rows, each as what ``dump_json`` can write."""
    rows = encode_tensor(tensor)
    return _scalars(rows) if isinstance(rows, np.ndarray) and rows.ndim == 1 else rows


def is_bytes(value: Any) -> bool:
    """Whether a value is ``{"b64": "..."}``: in TensorFlow Serving one element of binary data."""
    return type(value) is dict and len(value) == 1 and type(value.get("b64")) is str


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    return _KINDS[type(value)]


def show(name: str) -> str:
    """A client's own word, safe to repeat: ASCII and short."""
    return ascii(name if len(name) <= 64 else name[:61] + "...")


def list_names(names: Iterable[str]) -> str:
    """Names, safe to repeat, and not too many of them."""
    shown = [show(name) for name in names]
    return ", ".join([*shown[:8], "..."] if len(shown) > 8 else shown) or "none"


def _flatten(name: str, values: Any) -> tuple[tuple[int, ...], list[Any]]:
    """The shape of nested lists and their elements in row-major order; refuses ragged ones."""
    if type(values) is not list:
        return (), [values]
    shape = [len(values)]
    while values and type(values[0]) is list:
        if set(map(type, values)) != {list} or len(set(map(len, values))) != 1:
            raise InvalidInput(f"input {show(name)} expects rows of equal shape, got ragged data")
        if len(shape) == MAX_DIMENSIONS:
            raise InvalidInput(f"input {show(name)} expects at most {MAX_DIMENSIONS} dimensions, got more")
        shape.append(len(values[0]))
        values = list(chain.from_iterable(values))
    return tuple(shape), values


def _datatype_of(name: str, kinds: set[type]) -> str:
    for accepted, datatype in _INFERRED:
        if kinds <= accepted:
            return datatype
    raise InvalidInput(f"input {show(name)} expects values of one kind, got {_kinds(kinds)}")


def _to_array(name: str, datatype: str, flat: list[Any], kinds: set[type]) -> Array:
    accepted = _ACCEPTED.get(datatype, _INTEGER)
    if not kinds <= accepted:
        raise InvalidInput(f"input {show(name)} expects {datatype}, got {_kinds(kinds - accepted)}")
    try:
        with np.errstate(over="raise"):
            if datatype == "BF16":
                return _round_to_bf16(np.array(flat, np.float32))
            return np.array(flat, DTYPES[datatype])
    except (OverflowError, FloatingPointError):
        raise InvalidInput(f"input {show(name)} expects {datatype}, got a number out of range") from None


def _round_to_bf16(array: Array) -> Array:
    """The upper half of each FP32, rounded to the nearest, ties to even. Raises OverflowError."""
    bits = array.view(np.uint32)
    rounded = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    if ((rounded & 0x7FFF) == 0x7F80).any():  # rounded up to infinity
        raise OverflowError
    return rounded


def _to_bytes(name: str, value: Any) -> bytes:
    if type(value) is str:
        return value.encode()
    if not is_bytes(value):
        raise InvalidInput(f"input {show(name)} expects BYTES, got {kind_of(value)}")
    try:
        return base64.b64decode(value["b64"], validate=True)
    except ValueError:
        raise InvalidInput(f'input {show(name)} expects base64 text under "b64"') from None


def _text(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _scalars(data: Array) -> Any:
    # orjson writes arrays of longlong, the twin of int64, but not its scalars. Floats stay short.
    return data[()] if data.dtype.kind == "f" else data.tolist()


def _nested(values: list[Any], shape: tuple[int, ...]) -> Any:
    array = np.empty(len(values), object)
    array[:] = values
    return array.reshape(shape).tolist()


def _kinds(kinds: Iterable[type]) -> str:
    return " and ".join(sorted(_KINDS[kind] for kind in kinds))
