"""Tensors as protocol buffers carry them in typed fields: a packed list of numbers, or a list of strings.

Knows the fields and which datatype goes into which; nothing is taken out of them one by one.
"""

from typing import Any, Final

import numpy as np

from dragoman.errors import InvalidInput
from dragoman.protobuf.wire import cut
from dragoman.protocols.kserve_v2.binary import decode_tensor, size_mismatch
from dragoman.tensors import bytes_array, count_elements
from dragoman.types import DTYPES, Array, Tensor

#: The field of each datatype. FP16 and BF16 have none: they travel raw.
_FIELD: Final = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
#: Varints that are put together at once: what lies between takes a hundred bytes for each.
_AT_ONCE: Final = 65_536
#: What each field holds, in the words of messages.
_HOLDS: Final = {
    "bool_contents": "BOOL",
    "int_contents": "INT32",
    "int64_contents": "INT64",
    "uint_contents": "UINT32",
    "uint64_contents": "UINT64",
    "fp32_contents": "FP32",
    "fp64_contents": "FP64",
    "bytes_contents": "BYTES",
}


def decode_contents(contents: Any, name: str, datatype: str, shape: list[int], model: str, tag: str) -> Array:
    """The array in an ``InferTensorContents``. Raises InvalidInput. ``model`` and ``tag`` serve messages."""
    wanted = _FIELD.get(datatype)
    number = 0
    for field, _ in contents.ListFields():
        if field.name != wanted:
            raise InvalidInput(
                f"unexpected explicit tensor data for input tensor '{name}' for model '{model}' of type"
                f" '{_HOLDS.get(field.name, field.name)}', expected datatype '{datatype}'"
            )
        number = field.number
    if datatype == "BYTES":
        return _decode_strings(contents, name, shape, model, tag)
    data = _packed(contents, number) if number else memoryview(b"")
    if datatype.startswith("FP"):
        return decode_tensor(name, datatype, shape, data, model, tag)
    values = _unpack(data)
    count = count_elements(shape, name)
    if len(values) != count:
        size = DTYPES[datatype].itemsize
        raise size_mismatch(name, model, count * size, len(values) * size, tag)
    return _narrow(values, datatype, name).reshape(shape)


def has_field(datatype: str) -> bool:
    """Tensors of this datatype can be written with typed fields."""
    return datatype in _FIELD


def encode_contents(tensor: Tensor, contents: Any) -> None:
    """Write a tensor's elements into an ``InferTensorContents``."""
    getattr(contents, _FIELD[tensor.datatype]).extend(tensor.data.ravel().tolist())


def _decode_strings(contents: Any, name: str, shape: list[int], model: str, tag: str) -> Array:
    elements = contents.bytes_contents
    count = count_elements(shape, name)
    if len(elements) != count:
        raise InvalidInput(
            f"{tag}expected {count} string elements for inference input '{name}' for model '{model}',"
            f" got {len(elements)}"
        )
    return bytes_array(list(elements), shape)


def _packed(contents: Any, number: int) -> memoryview:
    """A list of numbers as the runtime writes it: one packed field. Numbers of fixed size lie as in any buffer."""
    contents.DiscardUnknownFields()
    _, (data,) = cut(contents.SerializeToString(), number, most=1)
    return data


def _unpack(data: memoryview) -> Array:
    """Varints as unsigned numbers of 64 bits. ``data`` was written by the runtime, so that it is well formed."""
    groups = np.frombuffer(data, np.uint8)
    last = groups < 0x80
    if last.all():
        return groups
    ends = np.flatnonzero(last)
    values = np.empty(len(ends), np.uint64)
    for first in range(0, len(ends), _AT_ONCE):
        some = ends[first : first + _AT_ONCE]
        start = ends[first - 1] + 1 if first else 0
        values[first : first + _AT_ONCE] = _join(groups[start : some[-1] + 1], some - start)
    return values


def _join(groups: Array, ends: Array) -> Array:
    starts = np.concatenate(([0], ends[:-1] + 1))
    places = np.arange(len(groups)) - np.repeat(starts, ends - starts + 1)
    shifted = (groups & 0x7F).astype(np.uint64) << (7 * places).astype(np.uint64)
    return np.add.reduceat(shifted, starts)


def _narrow(values: Array, datatype: str, name: str) -> Array:
    dtype = DTYPES[datatype]
    if datatype == "BOOL":
        return np.not_equal(values, 0)
    if dtype.kind == "i":
        values = values.astype(np.uint64).view(
            np.int64
        )  # a negative number is written with all of its 64 bits
    result: Array = values.astype(dtype)
    if dtype.itemsize < 4:
        wrong = values[result != values]
        if len(wrong):
            raise InvalidInput(f"input '{name}' holds {wrong[0]}, out of range for {datatype}")
    return result
