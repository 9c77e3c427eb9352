"""When two requests are the same: tensors to canonical bytes to a digest of 32 bytes. Pure.

What a wire makes of a request plays no part: the order of inputs, the order of bytes and of dimensions in memory, JSON
or binary. Names, datatypes, shapes and values do. Every NaN is the same NaN, for JSON knows only one; 0.0 and -0.0
are two values, for models can tell them apart. Of BYTES every byte counts.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from struct import Struct
from typing import Any, Final

import numpy as np
import orjson

from dragoman.tensors import elements_of, encode_raw, join_bytes
from dragoman.types import Array, InferRequest, Tensor

#: Bytes of a key.
SIZE: Final = 32
_LENGTH: Final = Struct("<Q")
#: The one NaN of BF16, whose bits travel as uint16.
_NAN_BF16: Final = 0x7FC0


def input_key(inputs: Sequence[Tensor]) -> bytes:
    """The digest of what a model is asked, whatever its name and version. Raises InvalidOutput for no such tensors."""
    digest = blake2b(digest_size=SIZE)
    for tensor in sorted(inputs, key=_name):
        digest.update(_head(tensor, tensor.data.shape))
        digest.update(_bytes(tensor))
    return digest.digest()


def row_keys(inputs: Sequence[Tensor]) -> list[bytes]:
    """For each row of inputs whose first dimension counts rows, the ``input_key`` of that row alone."""
    ordered = sorted(inputs, key=_name)
    heads = [_head(tensor, (1, *tensor.data.shape[1:])) for tensor in ordered]
    keys = []
    for rows in zip(*map(_rows, ordered), strict=True):
        digest = blake2b(digest_size=SIZE)
        for head, row in zip(heads, rows, strict=True):
            digest.update(head)
            digest.update(row)
        keys.append(digest.digest())
    return keys


def request_key(request: InferRequest) -> bytes | None:
    """The digest of all that an answer depends on: inputs, wanted outputs, parameters. ``None`` where a parameter is
    nothing that could be compared."""
    digest = blake2b(digest_size=SIZE)
    inputs = request.inputs
    for tensor in inputs if len(inputs) == 1 else sorted(inputs, key=_name):
        digest.update(_head(tensor, tensor.data.shape))
        digest.update(_bytes(tensor))
    if request.outputs is not None or request.parameters:
        outputs = None if request.outputs is None else sorted(request.outputs)
        try:
            digest.update(orjson.dumps([outputs, request.parameters], option=orjson.OPT_SORT_KEYS))
        except orjson.JSONEncodeError:
            return None
    return digest.digest()


def _name(tensor: Tensor) -> str:
    return tensor.name


def _head(tensor: Tensor, shape: tuple[int, ...]) -> bytes:
    """All but the data. What one row's data could be taken for is told apart by what stands here."""
    text = f"{len(tensor.name)}:{tensor.name}{tensor.datatype}{shape}".encode("utf-8", "surrogatepass")
    if tensor.parameters:
        text += orjson.dumps(tensor.parameters, default=repr, option=orjson.OPT_SORT_KEYS)
    return _LENGTH.pack(len(text)) + text


def _bytes(tensor: Tensor) -> Any:
    """The data as little-endian bytes in C order. Of BYTES each element has its length before it."""
    if tensor.datatype == "BYTES":
        return join_bytes(elements_of(tensor))
    return encode_raw(_with_one_nan(tensor))


def _rows(tensor: Tensor) -> Iterator[Any]:
    count = len(tensor.data)
    if tensor.datatype == "BYTES":
        for row in tensor.data:
            yield join_bytes(elements_of(Tensor(tensor.name, "BYTES", np.asarray(row, object))))
        return
    raw = memoryview(encode_raw(_with_one_nan(tensor)))
    size = len(raw) // count if count else 0
    for start in range(count):
        yield raw[start * size : (start + 1) * size]


def _with_one_nan(tensor: Tensor) -> Tensor:
    """The tensor, or a copy in which every NaN has the same bits."""
    data = tensor.data
    if data.dtype.kind == "f":
        return _replaced(tensor, data != data, np.nan)
    if tensor.datatype == "BF16":
        return _replaced(tensor, (data & 0x7FFF) > 0x7F80, _NAN_BF16)
    return tensor


def _replaced(tensor: Tensor, places: Array, value: float) -> Tensor:
    if not places.any():
        return tensor
    data = tensor.data.copy()
    data[places] = value
    return Tensor(tensor.name, tensor.datatype, data)
