"""The classification extension: the best ``k`` values of an output as strings ``value:index:label``.

Knows tensors and labels, not how the answer is written.
"""

import math

import numpy as np

from dragoman.errors import InvalidInput
from dragoman.tensors import bytes_array
from dragoman.types import Array, Signature, Tensor

_UNSUPPORTED = ("BYTES", "FP16", "BF16")


def classify(tensor: Tensor, count: int, signature: Signature | None) -> Tensor:
    """The ``count`` largest values of each row (of everything, for a model without batches), best first.

    ``count`` may be any positive number: there are never more classes than values. Equals keep their order,
    NaN comes last. The shape is [rows, classes], or [classes].
    """
    if tensor.datatype in _UNSUPPORTED:
        raise InvalidInput(
            f"class result not available for output due to unsupported type '{tensor.datatype}'"
        )
    batched = signature is not None and signature.batched and tensor.data.ndim > 0
    shape = tensor.data.shape if batched else (1, *tensor.data.shape)
    values = tensor.data.reshape(shape[0], math.prod(shape[1:]))
    best = _best(values, min(count, values.shape[1]))
    labels = _labels(signature, tensor.name)
    write = _write_float if tensor.datatype in ("FP32", "FP64") else _write_integer
    strings = [
        write(value, index, labels)
        for row, indices in zip(values, best, strict=True)
        for value, index in zip(row[indices].tolist(), indices.tolist(), strict=True)
    ]
    return Tensor(tensor.name, "BYTES", bytes_array(strings, best.shape if batched else best.shape[1:]))


def _best(values: Array, count: int) -> Array:
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), -np.inf, values)
    # Ascending and stable over the reversed row, read backwards: descending, and the lower index first.
    last = values.shape[1] - 1
    order: Array = last - np.argsort(values[:, ::-1], axis=1, kind="stable")[:, ::-1]
    return order[:, :count]


def _labels(signature: Signature | None, name: str) -> tuple[str, ...]:
    for spec in signature.outputs if signature else ():
        if spec.name == name:
            return spec.labels
    return ()


def _write_float(value: float, index: int, labels: tuple[str, ...]) -> bytes:
    return f"{value:f}:{index}{_suffix(index, labels)}".encode()  # as C's std::to_string: six decimals


def _write_integer(value: int, index: int, labels: tuple[str, ...]) -> bytes:
    return f"{int(value)}:{index}{_suffix(index, labels)}".encode()


def _suffix(index: int, labels: tuple[str, ...]) -> str:
    return f":{labels[index]}" if index < len(labels) and labels[index] else ""
