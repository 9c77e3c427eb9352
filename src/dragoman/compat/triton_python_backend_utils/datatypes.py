"""Triton's datatypes: their numbers, their names in configurations, and the numpy types that carry them."""

import struct
from typing import Any, Final

import numpy as np

from dragoman.tensors import bytes_array
from dragoman.types import Array

#: Triton's numbers in their order, by the protocol's names; 0 is none.
NAMES: Final = (
    *("INVALID", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64", "BYTES", "BF16"),
)
_NUMPY: Final[dict[str, Any]] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}
TRITON_STRING_TO_NUMPY: Final[dict[str, Any]] = {
    "TYPE_" + name.replace("BYTES", "STRING"): kind for name, kind in _NUMPY.items()
}


def triton_string_to_numpy(triton_type_string: str) -> Any:
    """numpy's type for a name such as TYPE_FP32. KeyError for one that numpy doesn't have."""
    return TRITON_STRING_TO_NUMPY[triton_type_string]


def triton_to_numpy_type(data_type: int) -> Any:
    """numpy's type for one of Triton's numbers; ``None`` where there is none."""
    return _NUMPY.get(NAMES[int(data_type)])


def numpy_to_triton_type(data_type: Any) -> int | None:
    """Triton's number for a dtype or a type of numpy's; ``None`` where there is none."""
    name = datatype_of(np.dtype(data_type))
    return NAMES.index(name) if name else None


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The protocol's name of what a dtype carries; empty where it is nothing that a tensor can have."""
    if dtype.kind in "OS":
        return "BYTES"
    for name, kind in _NUMPY.items():
        if dtype.type is kind:
            return name
    return ""


def serialize_byte_tensor(input_tensor: Array) -> bytes | None:
    """The elements one after another, each behind its length in four bytes; ``None`` of an empty array."""
    if input_tensor.size == 0 or input_tensor.dtype.kind not in "OS":
        return None
    items = [item if isinstance(item, bytes) else str(item).encode() for item in input_tensor.ravel()]
    return b"".join(struct.pack("<I", len(item)) + item for item in items)


def deserialize_bytes_tensor(encoded_tensor: bytes) -> Array:
    """What ``serialize_byte_tensor`` has made, in one dimension."""
    items, at = [], 0
    while at < len(encoded_tensor):
        (length,) = struct.unpack_from("<I", encoded_tensor, at)
        at += 4 + length
        items.append(bytes(encoded_tensor[at - length : at]))
    return bytes_array(items, (len(items),))
