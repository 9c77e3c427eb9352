"""Rows in, rows out: joins requests into one and cuts the answer apart. Knows nothing of time."""

from collections.abc import Hashable, Sequence

import numpy as np

from dragoman.errors import InvalidOutput
from dragoman.types import InferRequest, InferResponse, Tensor


def rows_of(request: InferRequest) -> int:
    """How many rows a request brings: the first dimension of its inputs (1 where there is none)."""
    shape = request.inputs[0].data.shape if request.inputs else ()
    return shape[0] if shape else 1


def key_of(request: InferRequest) -> Hashable:
    """Requests with equal keys may be joined: same names, datatypes, row shapes, outputs and parameters."""
    inputs = tuple([(t.name, t.datatype, t.data.shape[1:]) for t in request.inputs])
    if not request.parameters:
        return (inputs, request.outputs)
    return (inputs, request.outputs, tuple(sorted((k, repr(v)) for k, v in request.parameters.items())))


def merge(requests: Sequence[InferRequest]) -> InferRequest:
    """One request with the rows of all, in order. They must have equal keys."""
    first = requests[0]
    inputs = tuple(
        Tensor(
            tensor.name,
            tensor.datatype,
            np.concatenate([request.inputs[place].data for request in requests]),
            tensor.parameters,
        )
        for place, tensor in enumerate(first.inputs)
    )
    return InferRequest(first.model, inputs, first.version, "", first.outputs, first.parameters)


def split(response: InferResponse, requests: Sequence[InferRequest]) -> list[InferResponse]:
    """Cut a joined answer into one answer per request, as views on its rows.

    Raises InvalidOutput when an output does not have one row per row asked: such an answer belongs to nobody.
    """
    counts = [rows_of(request) for request in requests]
    total = sum(counts)
    for tensor in response.outputs:
        if not tensor.data.shape or tensor.data.shape[0] != total:
            raise InvalidOutput(
                f"output {tensor.name!r} of model {response.model!r} has shape {list(tensor.data.shape)}"
                f" for a batch of {total} rows: a batched model must answer one row per row"
            )
    answers = []
    start = 0
    for request, count in zip(requests, counts, strict=True):
        rows = slice(start, start + count)
        outputs = tuple(Tensor(t.name, t.datatype, t.data[rows], t.parameters) for t in response.outputs)
        answers.append(
            InferResponse(response.model, response.version, outputs, request.id, response.parameters)
        )
        start += count
    return answers
