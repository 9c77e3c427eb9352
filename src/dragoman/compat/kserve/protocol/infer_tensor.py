"""What inputs and outputs have in common: a name, a shape, a datatype, parameters, and data (``tensor_data``)."""

from typing import Any, Final, Self

import numpy as np

from dragoman.compat.kserve.errors import InferenceError
from dragoman.compat.kserve.protocol.byte_tensor import elements, strict_texts
from dragoman.compat.kserve.protocol.parameters import to_http_parameters
from dragoman.compat.kserve.protocol.tensor_data import Form, TensorData, bits_of
from dragoman.compat.kserve.utils.numpy_codec import from_np_dtype, to_np_dtype
from dragoman.tensors import bytes_array
from dragoman.types import Array

#: The parameter that says how many raw bytes a tensor has behind the JSON.
SIZE: Final = "binary_data_size"


class InferTensor(TensorData):
    """An input or an output."""

    def __init__(
        self, name: str, shape: list[int], datatype: str, data: Any = None, parameters: Any = None
    ) -> None:
        self._name = name
        self._shape = shape
        self._datatype = datatype.upper()
        self._parameters = parameters
        self._form = Form.GIVEN
        self._given = data

    @classmethod
    def of_array(cls, name: str, datatype: str, array: Array, parameters: Any, text: bool, raw: bool) -> Self:
        """One that has an array, as fast as can be. BYTES are objects of ``bytes``; nothing is copied."""
        tensor = cls.__new__(cls)
        tensor._name = name
        tensor._shape = list(array.shape)
        tensor._datatype = datatype
        tensor._parameters = parameters
        tensor._form = Form.ARRAY
        tensor._array = array
        tensor._text = text
        tensor._binary = raw
        return tensor

    @property
    def name(self) -> str:
        return self._name

    @property
    def datatype(self) -> str:
        return self._datatype

    @property
    def shape(self) -> list[int]:
        return self._shape

    @shape.setter
    def shape(self, shape: list[int]) -> None:
        self._shape = shape

    def set_shape(self, shape: list[int]) -> None:
        self._shape = shape

    @property
    def parameters(self) -> Any:
        """Plain values, messages, or ``None``."""
        return self._parameters

    @parameters.setter
    def parameters(self, parameters: Any) -> None:
        self._parameters = parameters

    def take(self, array: Array, binary_data: bool) -> None:
        """Take the data of an array, as they are now."""
        self.check(array)
        if self._datatype == "BYTES":
            found = elements(array)
            if not binary_data:
                strict_texts(found)
            self._array, size = bytes_array(found, array.shape), sum(map(len, found)) + 4 * len(found)
        else:
            self._array = np.array(bits_of(array), to_np_dtype(self._datatype))
            size = self._array.nbytes
        self._given = self._bytes = self._list = None
        self._text = not binary_data
        self._form = Form.RAW if binary_data else Form.LIST
        if binary_data:
            if not isinstance(self._parameters, dict):
                self._parameters = to_http_parameters(self._parameters) if self._parameters else {}
            self._parameters[SIZE] = size
        elif self._parameters:
            self._parameters.pop(SIZE, None)

    def check(self, array: Any) -> None:
        """Raises InferenceError if the array has not the tensor's datatype or shape."""
        if not isinstance(array, np.ndarray):
            raise InferenceError(f"{self.kind}_tensor must be a numpy array")
        found = from_np_dtype(array.dtype)
        if found != self._datatype and (found, self._datatype) != ("UINT16", "BF16"):
            told = f"got unexpected datatype {found} from numpy array, expected {self._datatype}"
            raise InferenceError(told)
        if tuple(self._shape) != array.shape:
            shape, wanted = str(array.shape)[1:-1], str(list(self._shape))[1:-1]
            raise InferenceError(f"got unexpected numpy array shape [{shape}], expected [{wanted}]")

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "shape": self.shape,
            "datatype": self.datatype,
            "data": self.data,
            "parameters": self.parameters,
        }

    def __eq__(self, other: object) -> bool:
        """Name, shape, datatype, parameters and data are the same, in the same form."""
        if not isinstance(other, type(self)):
            return False
        mine = (self.name, self.shape, self.datatype, self.parameters, self._raw_data)
        theirs = (other.name, other.shape, other.datatype, other.parameters, other._raw_data)
        return mine == theirs and _are_same(self.data, other.data)

    __hash__ = None  # type: ignore[assignment] # what is equal now may not be so later

    def __repr__(self) -> str:
        return told(self.to_dict())


def told(members: dict[str, Any]) -> str:
    """How KServe's objects show themselves: their members as in JSON, without the braces."""
    return ",".join(
        f'"{name}": ' + (f'"{value}"' if isinstance(value, str) else f"{value}")
        for name, value in members.items()
    )


def _are_same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return type(one) is type(other) and bool(np.array_equal(one, other))
    return bool(one == other)
