"""Arrays of other libraries by way of DLPack, bfloat16 among them, which numpy has no type for. Knows no tensor.

A capsule holds a ``DLManagedTensor``, whose first members are the address of the data, the device (two words of 4
bytes), the number of dimensions (4 bytes) and the datatype's code (1 byte), bits and lanes (dlpack.h, version 0).
"""

import ctypes
from typing import Any, Final

import numpy as np

from dragoman.compat.triton_python_backend_utils.errors import TritonModelException
from dragoman.types import Array

_DEVICE: Final = 8
_CODE: Final = 20
_CPU: Final = 1
_UNSIGNED: Final = 1
_BFLOAT: Final = 4
_NAME: Final = b"dltensor"

_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype = ctypes.c_void_p
_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


class _Holder:
    """What numpy asks for a capsule."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack__(self, **asked: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return (_CPU, 0)


def read_capsule(source: Any) -> tuple[Array, bool]:
    """A view on another library's data, and whether it is bfloat16, whose bits the view then has as uint16.

    ``source`` is a capsule, or what makes one. Raises TritonModelException for data that is not in main memory.
    """
    capsule = source.__dlpack__() if hasattr(source, "__dlpack__") else source
    try:
        at = _pointer(capsule, _NAME)
    except (ValueError, TypeError, ctypes.ArgumentError) as error:
        raise TritonModelException(f"expected a DLPack capsule that nobody has taken: {error}") from error
    if ctypes.c_int32.from_address(at + _DEVICE).value != _CPU:
        raise TritonModelException("only tensors in main memory can be taken: call .cpu() first")
    code = ctypes.c_uint8.from_address(at + _CODE)
    bfloat = code.value == _BFLOAT
    if bfloat:
        code.value = _UNSIGNED
    return np.from_dlpack(_Holder(capsule)), bfloat


def write_capsule(data: Array, *, bfloat: bool = False) -> Any:
    """A capsule with an array's data, which must be writable; its uint16 as ``bfloat`` where that is what they are."""
    capsule = data.__dlpack__()
    if bfloat:
        ctypes.c_uint8.from_address(_pointer(capsule, _NAME) + _CODE).value = _BFLOAT
    return capsule
