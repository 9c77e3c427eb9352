"""The data of an input or an output, in one of several forms.

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
answer that was set from numpy never become lists. Whoever has had the list in hand may have changed it: from then on
it is what counts. Knows no message and no JSON.
"""

from enum import Enum
from typing import Any, Final

import numpy as np

from dragoman.compat.kserve.errors import InvalidInput
from dragoman.compat.kserve.protocol.byte_tensor import (
    as_bytes,
    as_texts,
    deserialize_bytes_tensor,
    elements,
    strict_texts,
)
from dragoman.compat.kserve.protocol.contents import get_content
from dragoman.compat.kserve.protocol.parameters import is_message
from dragoman.compat.kserve.utils.numpy_codec import to_np_dtype
from dragoman.tensors import decode_raw, join_bytes
from dragoman.types import Array

#: What can't be said in JSON, nor in the lists of a message.
ONLY_RAW: Final = frozenset({"FP16", "BF16"})


class Form(Enum):
    """In which form the data are, and so what ``data`` and ``_raw_data`` say."""

    GIVEN = "given"
    BYTES = "bytes"
    LIST = "list"
    RAW = "raw"
    ARRAY = "array"


class TensorData:
    """The data of a tensor, whose name, shape and datatype are known; ``kind`` is what it is, for messages."""

    kind = "tensor"
    _name: str
    _shape: list[int]
    _datatype: str
    _form: Form
    # What a tensor has that was never told otherwise: ``of_array`` leaves it at that.
    _given: Any = None
    _bytes: Any = None
    _array: Array | None = None
    _list: list[Any] | None = None
    _text = False  #: whether elements of BYTES are text where they can be, as in JSON
    _binary = False  #: whether the client that sent an ARRAY sent it as raw bytes

    @property
    def data(self) -> Any:
        """A list, an array, a message of contents; ``None`` where the data are raw bytes."""
        if self._form is Form.LIST or self._form is Form.ARRAY:
            return self._flat_list()
        if self._form is Form.BYTES and type(self._given) is list and not self._given:
            return self._flat_list()  # of a message that has its data elsewhere
        return self._given

    @data.setter
    def data(self, data: Any) -> None:
        """From now on the data are these; ``None`` leaves raw bytes as they are."""
        if data is not None or self._form not in {Form.RAW, Form.BYTES}:
            self._form, self._array, self._bytes, self._list = Form.GIVEN, None, None, None
        self._given = data

    @property
    def _data(self) -> Any:
        return self.data

    @_data.setter
    def _data(self, data: Any) -> None:
        self.data = data

    @property
    def _raw_data(self) -> Any:
        if self._form is Form.RAW and self._bytes is None:
            self._bytes = self.to_bytes()
        return self._bytes

    @_raw_data.setter
    def _raw_data(self, raw: Any) -> None:
        self._given = self.data
        self._form = Form.GIVEN if raw is None else Form.BYTES
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

    @property
    def is_empty(self) -> bool:
        """Whether no data have been set."""
        return self._form is Form.GIVEN and self._given is None

    @property
    def is_raw(self) -> bool:
        """Whether the data are to travel as raw bytes: somebody chose it, or there is no other way."""
        if self._form is not Form.ARRAY:
            return self._form in {Form.RAW, Form.BYTES}
        if self._datatype == "BYTES" and not self._binary:
            return any(isinstance(value, bytes) for value in as_texts(elements(self.as_numpy())))
        return self._binary or self._datatype in ONLY_RAW

    @property
    def is_served(self) -> bool:
        """Whether a server made it from a request or an answer, and nobody has touched it since."""
        return self._form is Form.ARRAY

    @property
    def has_both(self) -> bool:
        """Whether there are raw bytes and something else."""
        return self._form is Form.BYTES and self._given is not None and len(self._given) > 0

    def to_bytes(self) -> bytes:
        """The data as they are on a wire: little-endian, in C order."""
        if self._form is Form.BYTES:
            return bytes(self._bytes)
        array = self.held() if self._array is not None else self.as_numpy()
        return join_bytes(elements(array)) if self._datatype == "BYTES" else bits_of(array).tobytes()

    def to_list(self, nested: bool = False) -> list[Any]:
        """The data as they are in JSON, flat or as the shape is. Raises InferenceError for BYTES that are no text."""
        array = self.held() if self._array is not None else self.as_numpy()
        if self._datatype == "BYTES":
            array = np.array(strict_texts(elements(array)), dtype=object).reshape(array.shape)
        values: list[Any] = (array if nested else array.ravel()).tolist()
        return values

    def held(self) -> Array:
        """The array that is kept, in whatever shape; of the list, once somebody has that. BYTES are ``bytes``."""
        if self._list is None:
            assert self._array is not None
            return self._array
        dtype = to_np_dtype(self._datatype)
        return np.array(
            [as_bytes(v) for v in self._list] if self._datatype == "BYTES" else self._list, dtype=dtype
        )

    def _unshaped(self, dtype: np.dtype[Any]) -> Array:
        if self._array is not None:
            return self._from_array(self.held())
        if self._form is Form.BYTES:
            if self._datatype == "BYTES":
                return deserialize_bytes_tensor(self._bytes)
            return decode_raw(self._bytes, self._datatype, [-1])
        given = self._given
        if is_message(given, "InferTensorContents"):
            given = get_content(self._datatype, given)
        if isinstance(given, np.ndarray):
            given = bits_of(given)
        return np.array(given, dtype=dtype)

    def _from_array(self, array: Array) -> Array:
        """What can't be written to is copied, once, but for what came raw over gRPC."""
        if self._text and self._datatype == "BYTES":
            texts: Array = np.array(as_texts(elements(array)), dtype=object)
            return texts
        if not array.flags.writeable and (self._text or not self._binary):
            self._array = array = array.copy()
        return array

    def _flat_list(self) -> list[Any]:
        if self._list is None:
            array = self.held() if self._array is not None else self.as_numpy()
            if self._datatype == "BYTES":
                self._list = as_texts(elements(array)) if self._text else list(elements(array))
            else:
                self._list = array.ravel().tolist()
        return self._list or []


def bits_of(array: Array) -> Array:
    """Of bfloat16, which numpy has from elsewhere, its bits; anything else as it is."""
    return array.view("<u2") if array.dtype.kind == "V" and array.dtype.name == "bfloat16" else array
