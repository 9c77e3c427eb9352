"""A named array as a model sees it."""

from typing import Any

import numpy as np

from dragoman.compat.triton_python_backend_utils.datatypes import NAMES, datatype_of
from dragoman.compat.triton_python_backend_utils.dlpack import read_capsule, write_capsule
from dragoman.compat.triton_python_backend_utils.errors import TritonModelException
from dragoman.types import Array
from dragoman.types import Tensor as CoreTensor


class Tensor:
    """An input or output: a name and an array, always in main memory."""

    def __init__(self, name: str, numpy_array: Array) -> None:
        if not isinstance(numpy_array, np.ndarray):
            raise TritonModelException(
                f"tensor {name!r} needs a numpy array, got {type(numpy_array).__name__}"
            )
        datatype = datatype_of(numpy_array.dtype)
        if not datatype:
            raise TritonModelException(
                f"Tensor dtype used for numpy_array is not supported by Python backend: {numpy_array.dtype}."
                " Please use np.object_ instead."
            )
        self._name, self._datatype, self._data = name, datatype, numpy_array

    @classmethod
    def of(cls, tensor: CoreTensor) -> "Tensor":
        """What the server has."""
        return cls._make(tensor.name, tensor.datatype, tensor.data)

    @classmethod
    def _make(cls, name: str, datatype: str, data: Array) -> "Tensor":
        made = cls.__new__(cls)
        made._name, made._datatype, made._data = name, datatype, data
        return made

    def to_core(self) -> CoreTensor:
        """What the server takes. Raises TritonModelException for elements that are neither text nor bytes."""
        data = self._data
        if self._datatype == "BYTES":
            data = _encoded(self._name, data)
        elif not data.dtype.isnative:
            data = data.astype(data.dtype.newbyteorder("="))
        return CoreTensor(self._name, self._datatype, data)

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> Array:
        """The array, to read and to write; it stays this tensor's."""
        if self._datatype == "BF16":
            raise TritonModelException("numpy has no bfloat16: take the tensor with to_dlpack()")
        return self._writable()

    def triton_dtype(self) -> int:
        """Triton's number of the datatype."""
        return NAMES.index(self._datatype)

    def shape(self) -> list[int]:
        return list(self._data.shape)

    def is_cpu(self) -> bool:
        return True

    def to_dlpack(self) -> Any:
        """A DLPack capsule of the same memory."""
        return write_capsule(self._writable(), bfloat=self._datatype == "BF16")

    def __dlpack__(self, *, stream: Any = None, **asked: Any) -> Any:
        return self.to_dlpack()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    @staticmethod
    def from_dlpack(tensor_name: str, source: Any) -> "Tensor":
        """Of a capsule, or of another library's tensor, in main memory."""
        data, bfloat = read_capsule(source)
        return Tensor._make(tensor_name, "BF16", data) if bfloat else Tensor(tensor_name, data)

    def _writable(self) -> Array:
        if not self._data.flags.writeable:  # what came is a view on what all may see
            self._data = self._data.copy()
        return self._data


def _encoded(name: str, data: Array) -> Array:
    """An object array of bytes, text in UTF-8."""
    items = data.ravel().tolist()
    for place, item in enumerate(items):
        if isinstance(item, str):
            items[place] = item.encode()
        elif not isinstance(item, bytes):
            raise TritonModelException(
                f"tensor {name!r} holds {type(item).__name__} where text or bytes belong"
            )
    encoded = np.empty(len(items), dtype=object)
    encoded[:] = items
    return encoded.reshape(data.shape)
