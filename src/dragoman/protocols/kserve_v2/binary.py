"""The binary extension: a JSON header whose length is told apart, then the raw tensors, one after another.

Knows sizes and raw data; what stands in the JSON is the codec's business. Shared with gRPC's raw contents.
"""

import math
from collections.abc import Sequence

from dragoman.errors import InvalidInput
from dragoman.tensors import Buffer, bytes_array, count_elements, decode_raw, split_bytes
from dragoman.types import DTYPES, Array, Signature, Tensor

_LONGEST = 20  # digits of the largest number of 64 bits


def decode_header_length(value: str | None, size: int) -> int:
    """How many bytes of a body of ``size`` are JSON: all without a header, none for a raw binary request."""
    # Triton binary extension: the JSON's length is in Inference-Header-Content-Length.
    if value is None:
        return size
    digits = value[1:] if value[:1] in ("-", "+") else value
    if not (digits.isascii() and digits.isdigit()):
        shown = value[:32].encode("ascii", "backslashreplace").decode()
        raise InvalidInput(f"Unable to parse Inference-Header-Content-Length, got: {shown}")
    if len(digits) > _LONGEST or not 0 <= int(value) <= size:
        raise InvalidInput(f"inference header size should be in range (0, {size}), got: {value[:32]}")
    return int(value)


def decode_tensor(
    name: str, datatype: str, shape: list[int], data: Buffer, model: str = "", tag: str = ""
) -> Array:
    """Raw ``data`` as an array of ``shape``: a view, but for BYTES. ``model`` and ``tag`` serve messages."""
    count = count_elements(shape, name)
    if datatype == "BYTES":
        return bytes_array(split_bytes(data, count, name, model, tag), shape)
    expected = count * DTYPES[datatype].itemsize
    if len(data) != expected:
        raise size_mismatch(name, model, expected, len(data), tag)
    return decode_raw(data, datatype, shape)


def size_mismatch(name: str, model: str, expected: int, got: int, tag: str) -> InvalidInput:
    """The error for raw data that is not as long as its shape says."""
    return InvalidInput(
        f"{tag}input byte size mismatch for input '{name}' for model '{model}'."
        f" Expected {expected}, got {got}"
    )


def decode_raw_request(model: str, body: Buffer, signature: Signature | None, tag: str) -> Tensor:
    """A body without any JSON is one row of the model's one input; its shape follows from its size."""
    inputs = signature.inputs if signature else ()
    if signature is None or len(inputs) != 1:
        raise InvalidInput(
            f"{tag}Raw request must only have 1 input (found 1) to be deduced but got {len(inputs)} inputs in"
            f" '{model}' model configuration"
        )
    spec = inputs[0]
    row = spec.shape[1:] if signature.batched else spec.shape
    batch = [1] if signature.batched else []
    if spec.datatype == "BYTES":
        if row != (1,):
            raise InvalidInput(
                f"{tag}For BYTE datatype raw input '{spec.name}', the model must have input shape [1]"
            )
        return Tensor(spec.name, "BYTES", bytes_array([bytes(body)], [*batch, 1]))
    shape = batch + _deduce(spec.name, row, len(body) // DTYPES[spec.datatype].itemsize, tag)
    expected = math.prod(shape) * DTYPES[spec.datatype].itemsize
    if len(body) != expected:
        raise size_mismatch("raw_input", model, expected, len(body), tag)
    return Tensor(spec.name, spec.datatype, decode_raw(body, spec.datatype, shape))


def _deduce(name: str, row: Sequence[int], count: int, tag: str) -> list[int]:
    """The shape of one row of ``count`` elements: at most one dimension may be open."""
    if sum(size < 0 for size in row) > 1:
        raise InvalidInput(
            f"{tag}The shape of the raw input '{name}' can not be deduced because there are more than one"
            " variable-sized dimension"
        )
    known = math.prod(size for size in row if size >= 0)
    return [size if size >= 0 else count // known if known else 0 for size in row]
