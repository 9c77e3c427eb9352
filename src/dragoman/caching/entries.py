"""An answer as bytes that can be kept anywhere, and back. Pure.

::

    <u32 length><JSON: model, version, parameters, outputs><the outputs' data, one behind the other>

What is read may have been written by anybody: every size is checked before anything is made of it.
"""

from collections.abc import Sequence
from math import prod
from struct import Struct
from typing import Any, Final

import numpy as np
import orjson

from dragoman.tensors import bytes_array, decode_raw, dump_json, encode_raw, split_bytes
from dragoman.types import DTYPES, InferResponse, Parameters, Tensor

_LENGTH: Final = Struct("<I")
#: The first key of every entry: other bytes, or those of another form, are no entry.
_FORM: Final = 1


def encode_entry(response: InferResponse) -> bytes:
    """The answer without its id. Raises InvalidOutput for parameters that are no JSON."""
    pieces = [encode_raw(tensor) for tensor in response.outputs]
    outputs = [
        [tensor.name, tensor.datatype, tensor.data.shape, len(piece), tensor.parameters]
        for tensor, piece in zip(response.outputs, pieces, strict=True)
    ]
    head = dump_json([_FORM, response.model, response.version, response.parameters, outputs])
    return b"".join((_LENGTH.pack(len(head)), head, *pieces))


def decode_entry(data: bytes) -> InferResponse:
    """The answer, whose tensors are views on ``data``. Raises ValueError for what is none."""
    try:
        start = 4 + _LENGTH.unpack_from(data)[0]
        form, model, version, parameters, described = orjson.loads(data[4:start])
        if form != _FORM:
            raise ValueError(f"an entry of the unknown form {form!r:.20}")
        outputs = []
        for name, datatype, shape, size, own in described:
            outputs.append(_tensor(name, datatype, shape, memoryview(data)[start : start + size], own))
            start += size
        if start != len(data):
            raise ValueError("an entry has more or fewer bytes than it says")
        return InferResponse(model, version, tuple(outputs), parameters=parameters)
    except ValueError:
        raise
    except Exception as error:  # whatever odd bytes lead to: they are no entry
        raise ValueError(f"no entry: {error}") from None


def _tensor(name: str, datatype: str, shape: list[int], data: memoryview, parameters: Parameters) -> Tensor:
    if datatype == "BYTES":
        return Tensor(name, datatype, bytes_array(split_bytes(data, prod(shape), name), shape), parameters)
    if prod(shape) * DTYPES[datatype].itemsize != len(data):
        raise ValueError(f"output {name!r:.50} has not the size of its shape")
    return Tensor(name, datatype, decode_raw(data, datatype, shape), parameters)


def own(response: InferResponse) -> InferResponse:
    """The answer with data of its own, which nobody can change: what came was a view on what will be used again."""
    outputs = []
    for tensor in response.outputs:
        data = tensor.data.copy()
        data.flags.writeable = False
        outputs.append(Tensor(tensor.name, tensor.datatype, data, dict(tensor.parameters)))
    return InferResponse(
        response.model, response.version, tuple(outputs), parameters=dict(response.parameters)
    )


def size_of(response: InferResponse) -> int:
    """About how many bytes of memory an owned answer takes."""
    total = 512 + 64 * len(response.parameters)
    for tensor in response.outputs:
        total += 512 + tensor.data.nbytes
        if tensor.datatype == "BYTES":
            total += sum(33 + len(element) for element in tensor.data.ravel().tolist())
    return total


def split_rows(response: InferResponse, rows: int) -> list[InferResponse] | None:
    """An answer for each row; ``None`` where an output has not one for each."""
    if any(tensor.data.shape[:1] != (rows,) for tensor in response.outputs):
        return None
    return [
        InferResponse(
            response.model,
            response.version,
            tuple(Tensor(t.name, t.datatype, t.data[row : row + 1], t.parameters) for t in response.outputs),
            parameters=response.parameters,
        )
        for row in range(rows)
    ]


def join_rows(answers: Sequence[InferResponse]) -> InferResponse:
    """One answer with the rows of all. Raises ValueError where they are not alike."""
    first = answers[0]
    if len(answers) == 1:
        return first
    outputs = []
    for place, tensor in enumerate(first.outputs):
        parts: list[Any] = [answer.outputs[place].data for answer in answers]
        outputs.append(Tensor(tensor.name, tensor.datatype, np.concatenate(parts), tensor.parameters))
    return InferResponse(first.model, first.version, tuple(outputs), parameters=first.parameters)


def choose(response: InferResponse, names: Sequence[str] | None) -> InferResponse | None:
    """The answer with these outputs only, in their order; ``None`` where one of them is missing."""
    if names is None:
        return response
    known = {tensor.name: tensor for tensor in response.outputs}
    if not known.keys() >= set(names):
        return None
    return InferResponse(
        response.model,
        response.version,
        tuple(known[name] for name in names),
        parameters=response.parameters,
    )
