"""Raw bytes to arrays and back, for every datatype; every size is checked before anything is allocated.

Knows datatypes and shapes, no protocol. Everything is little-endian and in C order, as on every wire.
"""

import math
import struct
from typing import Any, Final

import numpy as np

from dragoman.errors import InvalidInput, InvalidOutput, ModelFailed, TooLarge
from dragoman.types import DTYPES, Array, Tensor

Buffer = bytes | bytearray | memoryview

#: numpy can carry 64 dimensions; the libraries behind us mostly can't.
MAX_DIMENSIONS: Final = 32
#: The most elements a shape may speak of. Zeros do not help: numpy can't carry [2^32, 2^32, 0].
MAX_ELEMENTS: Final = 2**40

#: The most elements of a BYTES tensor on the wire. One of four bytes takes sixteen in memory.
MAX_STRINGS: Final = 2**23

_LONG_STRING: Final = 256
_LENGTH: Final = struct.Struct("<I")
_DATATYPES: Final = {(dtype.kind, dtype.itemsize): name for name, dtype in DTYPES.items() if name != "BF16"}


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The datatype that carries ``dtype``; strings of numpy are BYTES. Raises ModelFailed when none does."""
    if dtype.kind in "SU":
        return "BYTES"
    name = _DATATYPES.get((dtype.kind, dtype.itemsize))
    if name is None:
        raise ModelFailed(f"no datatype carries numpy's {dtype}")
    return name


def count_elements(shape: list[Any], name: str) -> int:
    """How many elements a shape from the wire has; refuses what is not a shape or what nobody could hold."""
    if len(shape) > MAX_DIMENSIONS:  # first: the product of a million sizes takes minutes
        raise InvalidInput(f"input '{name}' has {len(shape)} dimensions, more than {MAX_DIMENSIONS}")
    count = 1
    for size in shape:
        if type(size) is not int or size < 0:
            raise InvalidInput(
                "Unable to parse 'shape': attempt to access JSON non-unsigned-integer as unsigned-integer"
            )
        count *= size
    if (count > MAX_ELEMENTS or not count) and math.prod(size or 1 for size in shape) > MAX_ELEMENTS:
        raise InvalidInput(f"input '{name}' has a shape of more than {MAX_ELEMENTS} elements")
    return count


def decode_raw(data: Buffer, datatype: str, shape: list[int]) -> Array:
    """A view on ``data`` as an array of ``shape``, but not of BYTES. The caller has checked its size."""
    array: Array = np.frombuffer(data, DTYPES[datatype])
    if datatype == "BOOL" and array.size and array.view(np.uint8).max() > 1:
        array = array.view(np.uint8) != 0  # numpy's own bool is only ever 0 or 1
    return array.reshape(shape)


def split_bytes(data: Buffer, count: int, name: str, model: str = "", tag: str = "") -> list[bytes]:
    """The ``count`` elements in ``data``, each ``<u32 little-endian length><bytes>``.

    Nothing but the size of ``data`` decides what is allocated. ``name``, ``model`` and ``tag`` (the request's id)
    are for the messages.
    """
    if count == 1 and len(data) >= 4 and _LENGTH.unpack_from(data)[0] == len(data) - 4:
        return [bytes(data[4:])]
    if len(data) // 4 >= min(count, MAX_STRINGS + 1) > MAX_STRINGS:
        raise TooLarge(f"input '{name}' has more than {MAX_STRINGS} string elements")
    # Short strings are cut from one copy, which is faster; long ones are copied once.
    short = len(data) < _LONG_STRING * count
    source: Any = bytes(data) if short else memoryview(data)
    elements: list[bytes] = []
    end = len(data)
    at, last, unpack = 0, end - 4, _LENGTH.unpack_from
    for _ in range(count):
        if at > last:
            break
        start = at + 4
        (size,) = unpack(source, at)
        at = start + size
        if at > end:
            raise InvalidInput(
                f"incomplete string data for inference input '{name}', expecting string of length {size}"
                f" but only {end - start} bytes available"
            )
        elements.append(source[start:at])
    if len(elements) == count and at <= last:
        raise InvalidInput(
            f"{tag}unexpected number of string elements {count + 1} for inference input '{name}'"
            f" for model '{model}', expecting {count}"
        )
    if at != end:
        raise InvalidInput(
            f"{tag}incomplete string length indicator for inference input '{name}' for model '{model}',"
            f" expecting 4 bytes but only {end - at} bytes available."
            " Please make sure the string length indicator is in one buffer."
        )
    if len(elements) != count:
        raise InvalidInput(
            f"{tag}expected {count} string elements for inference input '{name}' for model '{model}',"
            f" got {len(elements)}"
        )
    return elements if short else [bytes(element) for element in elements]


def encode_raw(tensor: Tensor) -> Buffer:
    """The tensor's data as little-endian bytes in C order: a view when it lies so already."""
    if tensor.datatype == "BYTES":
        return join_bytes(elements_of(tensor))
    array = check_dtype(tensor)
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    return array.data.cast("B") if array.size else b""


def check_dtype(tensor: Tensor) -> Array:
    """The tensor's data in its datatype's dtype; InvalidOutput when it is another but for the byte order."""
    array, wanted = tensor.data, DTYPES[tensor.datatype]
    if array.dtype is wanted or array.dtype == wanted:
        return array
    if array.dtype.newbyteorder("<") == wanted:
        return array.astype(wanted)
    raise InvalidOutput(f"output '{tensor.name}' says {tensor.datatype} but holds {array.dtype}")


def join_bytes(elements: list[bytes]) -> bytes:
    """``<u32 little-endian length><bytes>`` for each element."""
    pack = _LENGTH.pack
    if len(elements) == 1:
        return pack(len(elements[0])) + elements[0]
    return b"".join([part for element in elements for part in (pack(len(element)), element)])


def elements_of(tensor: Tensor) -> list[bytes]:
    """The elements of a BYTES tensor, flat. Strings are encoded; anything else is the model's mistake."""
    elements = tensor.data.ravel().tolist()
    kinds = set(map(type, elements))
    if kinds <= {bytes}:
        return elements
    for kind in kinds:
        if not issubclass(kind, (bytes, str)):
            raise InvalidOutput(f"output '{tensor.name}' is BYTES but holds {kind.__name__}")
    return [element.encode() if isinstance(element, str) else bytes(element) for element in elements]


def bytes_array(elements: list[bytes], shape: list[int] | tuple[int, ...]) -> Array:
    """An object array of ``bytes``. numpy's own strings would lose trailing zero bytes."""
    array: Array = np.array(elements, dtype=object)
    return array if array.shape == tuple(shape) else array.reshape(shape)
