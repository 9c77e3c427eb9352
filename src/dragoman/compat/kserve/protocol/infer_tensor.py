"""What inputs and outputs have in common: a name, a shape, a datatype, and data in one of several forms.

=========  ==============================  ==================================  ==============
form       where the data come from        ``data``                            ``_raw_data``
=========  ==============================  ==================================  ==============
``GIVEN``  the constructor, ``data = …``   as given                            ``None``
``BYTES``  bytes from a wire               what was given beside them          as given
``LIST``   an array, not to be binary      a flat list, made when it is read   ``None``
``RAW``    an array, to be binary          ``None``                            made when read
``ARRAY``  a server's own request          a flat list, made when it is read   ``None``
=========  ==============================  ==================================  ==============

An array is kept as it is until somebody asks for another form, so that a request that is read by ``as_numpy`` and an
answer that was set from numpy never become lists. Knows no message and no JSON.
"""

from enum import Enum
from typing import Any, Final, Self

import numpy as np

from dragoman.compat.kserve.errors import InferenceError, InvalidInput
from dragoman.compat.kserve.protocol.byte_tensor import (
    as_texts,
    deserialize_bytes_tensor,
    elements,
    strict_texts,
)
from dragoman.compat.kserve.protocol.contents import get_content
from dragoman.compat.kserve.protocol.parameters import is_message
from dragoman.compat.kserve.utils.numpy_codec import from_np_dtype, to_np_dtype
from dragoman.tensors import bytes_array, decode_raw, join_bytes
from dragoman.types import Array

#: The parameter that says how many raw bytes a tensor has behind the JSON.
SIZE: Final = "binary_data_size"
#: What can't be said in JSON, nor in the lists of a message.
ONLY_RAW: Final = frozenset({"FP16", "BF16"})


class Form(Enum):
    """In which form the data are, and so what ``data`` and ``_raw_data`` say."""

    GIVEN = "given"
    BYTES = "bytes"
    LIST = "list"
    RAW = "raw"
    ARRAY = "array"


_GIVEN, _BYTES, _LIST, _RAW, _ARRAY = Form


class InferTensor:
    """An input or an output; ``kind`` is which of them, for messages."""

    kind = "tensor"
    # What a tensor has that was never told otherwise: ``of_array`` leaves it at that.
    _given: Any = None
    _bytes: Any = None
    _array: Array | None = None
    _list: list[Any] | None = None
    _text = False  #: whether elements of BYTES are text where they can be, as in JSON
    _binary = False  #: whether the client that sent an ARRAY sent it as raw bytes

    def __init__(
        self, name: str, shape: list[int], datatype: str, data: Any = None, parameters: Any = None
    ) -> None:
        self._name = name
        self._shape = shape
        self._datatype = datatype.upper()
        self._parameters = parameters
        self._form = _GIVEN
        self._given = data

    @classmethod
    def of_array(cls, name: str, datatype: str, array: Array, parameters: Any, text: bool, raw: bool) -> Self:
        """One that has an array, as fast as can be. BYTES are objects of ``bytes``; nothing is copied."""
        tensor = cls.__new__(cls)
        tensor._name = name
        tensor._shape = list(array.shape)
        tensor._datatype = datatype
        tensor._parameters = parameters
        tensor._form = _ARRAY
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

    @property
    def data(self) -> Any:
        """A list, an array, a message of contents; ``None`` where the data are raw bytes."""
        if self._form is _LIST or self._form is _ARRAY:
            return self._flat_list()
        if self._form is _BYTES and self._given == []:  # a message says so that has its data elsewhere
            return self._flat_list()
        return self._given

    @data.setter
    def data(self, data: Any) -> None:
        """From now on the data are these; ``None`` leaves raw bytes as they are."""
        if data is not None or self._form not in {_RAW, _BYTES}:
            self._form, self._array, self._bytes, self._list = _GIVEN, None, None, None
        self._given = data

    @property
    def _data(self) -> Any:
        return self.data

    @_data.setter
    def _data(self, data: Any) -> None:
        self.data = data

    @property
    def _raw_data(self) -> Any:
        if self._form is _RAW and self._bytes is None:
            self._bytes = self.to_bytes()
        return self._bytes

    @_raw_data.setter
    def _raw_data(self, raw: Any) -> None:
        self._given = self.data
        self._form = _GIVEN if raw is None else _BYTES
        self._array, self._bytes, self._list = None, raw, None

    def as_numpy(self) -> Array:
        """The data as an array of the tensor's shape; of BYTES as objects. Raises InvalidInput where they don't fit.

        BYTES that came as JSON are strings, if all of them are text. What came as JSON may be written to.
        """
        dtype = to_np_dtype(self._datatype)
        if dtype is None:
            raise InvalidInput(f"invalid datatype {dtype} in the {self.kind}")
        try:
            return self._unshaped(dtype).reshape(self._shape)
        except InvalidInput:
            raise
        except (ValueError, TypeError, OverflowError) as error:
            told = f"the {self.kind} {self._name!r} can't be {self._datatype} of shape {self._shape}: {error}"
            raise InvalidInput(told) from None

    def as_string(self) -> list[str]:
        """The elements of a BYTES tensor as text, flat. Raises InvalidInput for another datatype, or no text."""
        if self._datatype != "BYTES":
            raise InvalidInput(f"invalid datatype {self._datatype} in the {self.kind}")
        found = elements(self._unshaped(np.dtype(object)))
        try:
            return [element.decode() for element in found]
        except UnicodeDecodeError:
            raise InvalidInput(f"the {self.kind} {self._name!r} has elements that are no UTF-8") from None

    def set_data_from_numpy(self, input_tensor: Array, binary_data: bool = True) -> None:
        """Take the data of an array, as they are now. ``binary_data`` is whether they are to travel as raw bytes.

        Raises InferenceError where the array has not the tensor's datatype or shape, and for bytes that are to be
        JSON and are no text.
        """
        self.check(input_tensor)
        if self._datatype == "BYTES":
            found = elements(input_tensor)
            self._list = None if binary_data else strict_texts(found)
            self._array, size = bytes_array(found, input_tensor.shape), sum(map(len, found)) + 4 * len(found)
        else:
            self._list, self._array = None, np.array(_bits(input_tensor), to_np_dtype(self._datatype))
            size = self._array.nbytes
        self._given = self._bytes = None
        self._text = not binary_data
        self._form = _RAW if binary_data else _LIST
        if binary_data:
            self._parameters = {} if self._parameters is None else self._parameters
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

    @property
    def is_empty(self) -> bool:
        """Whether no data have been set."""
        return self._form is _GIVEN and self._given is None

    @property
    def is_raw(self) -> bool:
        """Whether the data are to travel as raw bytes: somebody chose it, or there is no other way."""
        if self._form is not _ARRAY:
            return self._form in {_RAW, _BYTES}
        if self._datatype == "BYTES" and not self._binary:
            return any(isinstance(value, bytes) for value in as_texts(elements(self.as_numpy())))
        return self._binary or self._datatype in ONLY_RAW

    @property
    def is_served(self) -> bool:
        """Whether a server made it from a request or an answer, and nobody has touched it since."""
        return self._form is _ARRAY

    @property
    def has_both(self) -> bool:
        """Whether there are raw bytes and something else."""
        return self._form is _BYTES and bool(self._given)

    def to_bytes(self) -> bytes:
        """The data as they are on a wire: little-endian, in C order."""
        if self._form is _BYTES:
            return bytes(self._bytes)
        array = self._array if self._array is not None else self.as_numpy()
        return join_bytes(elements(array)) if self._datatype == "BYTES" else _bits(array).tobytes()

    def to_list(self, nested: bool = False) -> list[Any]:
        """The data as they are in JSON, flat or as the shape is. Raises InferenceError for BYTES that are no text."""
        array = self._array if self._array is not None else self.as_numpy()
        if self._datatype == "BYTES":
            array = np.array(strict_texts(elements(array)), dtype=object).reshape(array.shape)
        values: list[Any] = (array if nested else array.ravel()).tolist()
        return values

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

    def _unshaped(self, dtype: np.dtype[Any]) -> Array:
        if self._array is not None:
            return self._from_array(self._array)
        if self._form is _BYTES:
            if self._datatype == "BYTES":
                return deserialize_bytes_tensor(self._bytes)
            return decode_raw(self._bytes, self._datatype, [-1])
        given = self._given
        if is_message(given, "InferTensorContents"):
            given = get_content(self._datatype, given)
        if isinstance(given, np.ndarray):
            given = _bits(given)
        return np.array(given, dtype=dtype)

    def _from_array(self, array: Array) -> Array:
        """What came as JSON is copied once if it can't be written to; raw bytes never are."""
        if self._text and self._datatype == "BYTES":
            texts: Array = np.array(as_texts(elements(array)), dtype=object)
            return texts
        if self._text and not array.flags.writeable:
            self._array = array = array.copy()
        return array

    def _flat_list(self) -> list[Any]:
        if self._list is None:
            array = self._array if self._array is not None else self.as_numpy()
            if self._datatype == "BYTES":
                self._list = as_texts(elements(array)) if self._text else list(elements(array))
            else:
                self._list = array.ravel().tolist()
        return self._list or []


def told(members: dict[str, Any]) -> str:
    """How KServe's objects show themselves: their members as in JSON, without the braces."""
    return ",".join(
        f'"{name}": ' + (f'"{value}"' if isinstance(value, str) else f"{value}")
        for name, value in members.items()
    )


def _bits(array: Array) -> Array:
    """Of bfloat16, which numpy has from elsewhere, its bits; anything else as it is."""
    return array.view("<u2") if array.dtype.name == "bfloat16" else array


def _are_same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return type(one) is type(other) and bool(np.array_equal(one, other))
    return bool(one == other)
