"""Elements of BYTES tensors: to the bytes of the wire and back, and to text where it is text."""

import struct
from typing import Any, Final

import numpy as np

from dragoman.compat.kserve.errors import InferenceError, InvalidInput
from dragoman.tensors import bytes_array, join_bytes
from dragoman.types import Array

_LENGTH: Final = struct.Struct("<I")


def serialize_byte_tensor(input_tensor: Array) -> Array:
    """The tensor as the wire has it, each element behind its length in four bytes: one object of ``bytes``, without
    a shape (``.item()`` takes it out). Of a tensor without elements: an empty array.

    Objects that are no bytes are written as their text in UTF-8. Raises InferenceError for other dtypes.
    """
    if input_tensor.size == 0:
        return np.empty([0], dtype=np.object_)
    if input_tensor.dtype.kind not in "OS":
        raise InferenceError("cannot serialize bytes tensor: invalid datatype")
    return np.asarray(join_bytes(elements(input_tensor)), dtype=np.object_)


def deserialize_bytes_tensor(encoded_tensor: Any) -> Array:
    """The elements in ``encoded_tensor`` as an array of one dimension. Raises InvalidInput where they don't fit."""
    found: list[bytes] = []
    data, at = bytes(encoded_tensor), 0
    while at < len(data):
        if at + 4 > len(data):
            raise InvalidInput(f"a BYTES tensor ends with {len(data) - at} bytes of a length that has 4")
        start = at + 4
        at = start + _LENGTH.unpack_from(data, at)[0]
        if at > len(data):
            raise InvalidInput(
                f"a BYTES tensor has an element of {at - start} bytes where {len(data) - start} are left"
            )
        found.append(data[start:at])
    return bytes_array(found, (len(found),))


def elements(array: Array) -> list[bytes]:
    """The elements, flat; text becomes UTF-8, and whatever else there is its text."""
    if array.dtype.kind == "M":
        array = array.astype(str)
    return [as_bytes(element) for element in array.ravel().tolist()]


def as_bytes(element: Any) -> bytes:
    return bytes(element) if isinstance(element, (bytes, bytearray)) else str(element).encode()


def as_texts(found: list[bytes]) -> list[Any]:
    """The elements as strings, if all of them are UTF-8; otherwise as they are."""
    try:
        return [element.decode() for element in found]
    except UnicodeDecodeError:
        return list(found)


def strict_texts(found: list[bytes]) -> list[str]:
    """The elements as strings, for JSON. Raises InferenceError, which names what can be done."""
    texts = []
    for element in found:
        try:
            texts.append(element.decode())
        except UnicodeDecodeError:
            raise InferenceError(
                f'Failed to encode "{element!r}" using UTF-8. Please use binary_data=True, if'
                " you want to pass a byte array."
            ) from None
    return texts
