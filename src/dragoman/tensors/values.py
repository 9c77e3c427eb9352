"""The values of a JSON document to arrays and back; what would be coerced, wrapped or lost is refused.

Knows datatypes and shapes. Which key holds a tensor is the codecs' business.
"""

import math
import struct
from collections.abc import Callable
from itertools import chain
from typing import Any, Final

import numpy as np
import orjson

from dragoman.errors import InvalidInput
from dragoman.tensors.raw import MAX_DIMENSIONS, bytes_array, check_dtype, count_elements, elements_of
from dragoman.types import DTYPES, Array, Tensor

_WIDENED_FROM: Final = 64  # elements: from here on orjson is faster through a numpy array than through a list
_WRONG_SHAPE: Final = "Unable to parse 'data': Shape does not match true shape of 'data' field"
_WRONG_ITEM: Final = "Unable to parse 'data': attempt to access JSON non-{0} as {1}"
_INTEGER: Final = frozenset({int})
_NUMBER: Final = frozenset({int, float})


def from_json(data: Any, datatype: str, shape: list[Any], name: str, booleans: bool = True) -> Array:
    """A list from JSON, flat or nested as ``shape`` says, as an array. Nothing is coerced, wrapped or cut.

    ``booleans`` may be false where the text has no true and no false in it: Python takes them for numbers, so
    that otherwise every element has to be looked at. Raises InvalidInput.
    """
    kind = _KINDS.get(datatype)
    if kind is None:
        raise InvalidInput(
            f"receiving {datatype} data via JSON is not supported."
            f" Please use the binary data format for input {name}"
        )
    if type(data) is not list:
        raise InvalidInput("Unable to parse 'data': attempt to access JSON non-array as array")
    if data and type(data[0]) is list:
        data = _flatten(data, shape)
    if len(shape) > MAX_DIMENSIONS:
        count_elements(shape, name)  # tells what is wrong with it
    count = 1
    for size in shape:
        if type(size) is not int or size < 0:
            count_elements(shape, name)
        count *= size
    if len(data) != count:
        count_elements(shape, name)
        raise InvalidInput(_WRONG_SHAPE)
    make, types, tells = kind
    if (booleans or not tells) and not types.issuperset(map(type, data)):
        raise InvalidInput(_wrong_item(datatype))
    try:
        return make(data, shape)
    except (struct.error, OverflowError):
        if not types.issuperset(map(type, data)) or (datatype.startswith("UINT") and min(data) < 0):
            raise InvalidInput(_wrong_item(datatype)) from None
        raise InvalidInput(
            f"input '{name}' holds {_misfit(data, datatype)}, out of range for {datatype}"
        ) from None


def _misfit(data: list[Any], datatype: str) -> Any:
    if datatype.startswith("FP"):
        return max(data, key=abs)
    highest = max(data)
    return highest if highest > np.iinfo(DTYPES[datatype]).max else min(data)


def _flatten(data: list[Any], shape: list[int]) -> list[Any]:
    sizes = iter(shape)
    if len(data) != next(sizes, None):
        raise InvalidInput(_WRONG_SHAPE)
    for size in sizes:
        if not set(map(type, data)) <= {list} or not set(map(len, data)) <= {size}:
            raise InvalidInput(_WRONG_SHAPE)
        data = list(chain.from_iterable(data))
    if data and type(data[0]) is list:
        raise InvalidInput(_WRONG_SHAPE)
    return data


def _wrong_item(datatype: str) -> str:
    if datatype == "BYTES":
        return "Unable to parse JSON bytes array: attempt to access JSON non-string as string"
    if datatype == "BOOL":
        return _WRONG_ITEM.format("boolean", "boolean")
    if datatype.startswith("FP"):
        return _WRONG_ITEM.format("number", "double")
    sign = "unsigned-integer" if datatype.startswith("U") else "signed-integer"
    return _WRONG_ITEM.format(sign, sign)


def _packer(datatype: str, code: str) -> Callable[[list[Any], list[int]], Array]:
    """Numbers by struct: it takes no other type for one (but booleans), and tells of what is out of range."""
    dtype = DTYPES[datatype]

    def make(data: list[Any], shape: list[int]) -> Array:
        return np.ndarray(shape, dtype, struct.pack(f"<{len(data)}{code}", *data))

    return make


def _make_bool(data: list[bool], shape: list[int]) -> Array:
    return np.array(data, np.bool_).reshape(shape)


def _make_bytes(data: list[str], shape: list[int]) -> Array:
    return bytes_array([element.encode() for element in data], shape)


_CODES: Final = dict(zip(("INT8", "INT16", "INT32", "INT64"), "bhiq", strict=True)) | dict(
    zip(("UINT8", "UINT16", "UINT32", "UINT64"), "BHIQ", strict=True)
)
#: For each datatype that JSON can say: what makes an array of values, which types they may have, and whether
#: making tells of any other type.
_KINDS: Final[dict[str, tuple[Callable[[list[Any], list[int]], Array], frozenset[type], bool]]] = {
    **{name: (_packer(name, code), _INTEGER, True) for name, code in _CODES.items()},
    "FP32": (_packer("FP32", "f"), _NUMBER, True),
    "FP64": (_packer("FP64", "d"), _NUMBER, True),
    "BOOL": (_make_bool, frozenset({bool}), False),
    "BYTES": (_make_bytes, frozenset({str}), False),
}


#: What orjson writes as it is.
_AS_IT_IS: Final = frozenset({"BOOL", *_CODES})


def to_json(tensor: Tensor) -> Any:
    """The tensor's elements, flat, for ``dump_json``: floats as doubles, bytes as strings.

    Raises InvalidInput where JSON can't say it: the client has to ask for binary data.
    """
    datatype = tensor.datatype
    if datatype in _AS_IT_IS:
        return check_dtype(tensor).ravel()
    if datatype == "BYTES":
        return _strings_of(tensor)
    if datatype in ("FP16", "BF16"):
        raise InvalidInput(
            f"sending {datatype} data via JSON is not supported. Please use the binary data format for output"
        )
    array = check_dtype(tensor).ravel()
    if array.size < _WIDENED_FROM:
        values = array.tolist()
        if math.isfinite(sum(values)):  # one NaN or infinity makes the sum one
            return values
    elif np.isfinite(array).all():
        return array.astype(np.float64)
    return orjson.Fragment(_with_constants(array.astype(np.float64)))


def _with_constants(array: Array) -> bytes:
    """NaN and infinities as bare words, where orjson writes null. Clients of Triton expect it."""
    odd = array[~np.isfinite(array)].tolist()
    words = [b"NaN" if value != value else b"Infinity" if value > 0 else b"-Infinity" for value in odd]
    pieces = orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY).split(b"null")
    return b"".join(chain.from_iterable(zip(pieces, [*words, b""], strict=True)))


def _strings_of(tensor: Tensor) -> list[str]:
    try:
        return [element.decode() for element in elements_of(tensor)]
    except UnicodeDecodeError:
        raise InvalidInput(
            f"output '{tensor.name}' holds bytes that are not UTF-8: ask for it with binary_data"
        ) from None
