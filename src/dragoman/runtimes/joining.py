"""Joins requests to a model that takes them as the clients sent them, and cuts the answer apart. Knows no model.

Documents are joined where they are objects with rows under ``instances`` and are else equal; tensors where their names,
datatypes, shapes of rows and parameters are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from dragoman.tensors import bytes_array, dump_json
from dragoman.types import InferRequest, InferResponse, Tensor

#: What may differ between requests that are joined: the first one's is what the model gets.
_OWN = frozenset({"headers"})


@dataclass(frozen=True, slots=True)
class Join:
    """Several requests as one. ``counts`` has the rows of each."""

    request: InferRequest
    requests: Sequence[InferRequest]
    counts: Sequence[int]
    document: bool

    def split(self, response: InferResponse) -> list[InferResponse] | None:
        """An answer for each request; ``None`` where it has not a row for each row."""
        return self._split_document(response) if self.document else self._split_tensors(response)

    def _split_document(self, response: InferResponse) -> list[InferResponse] | None:
        answer = orjson.loads(response.outputs[0].data.item()) if response.outputs else None
        if not isinstance(answer, dict):
            return None
        rows = answer.get("predictions")
        if not isinstance(rows, list) or len(rows) != sum(self.counts):
            return None
        parts, at = [], 0
        for request, count in zip(self.requests, self.counts, strict=True):
            body = dump_json({**answer, "predictions": rows[at : at + count]})
            output = Tensor("body", "BYTES", bytes_array([body], [1]))
            parts.append(replace(response, outputs=(output,), id=request.id))
            at += count
        return parts

    def _split_tensors(self, response: InferResponse) -> list[InferResponse] | None:
        total = sum(self.counts)
        if any(tensor.data.shape[:1] != (total,) for tensor in response.outputs):
            return None
        parts, at = [], 0
        for request, count in zip(self.requests, self.counts, strict=True):
            outputs = tuple(
                [replace(tensor, data=tensor.data[at : at + count]) for tensor in response.outputs]
            )
            parts.append(replace(response, outputs=outputs, id=request.id or response.id))
            at += count
        return parts


def join(requests: Sequence[InferRequest]) -> Join | None:
    """All of them as one, or ``None`` where they are not alike."""
    first = requests[0]
    if any(_form(request) != _form(first) for request in requests[1:]):
        return None
    if "content_type" in first.inputs[0].parameters:
        return _join_documents(requests)
    counts = [request.inputs[0].data.shape[0] for request in requests]
    inputs = tuple(
        [
            replace(tensor, data=np.concatenate([request.inputs[place].data for request in requests]))
            for place, tensor in enumerate(first.inputs)
        ]
    )
    return Join(replace(first, inputs=inputs), requests, counts, document=False)


def _join_documents(requests: Sequence[InferRequest]) -> Join | None:
    documents = []
    for request in requests:
        try:
            document = orjson.loads(request.inputs[0].data.item())
        except orjson.JSONDecodeError:
            return None
        if not isinstance(document, dict) or not isinstance(document.get("instances"), list):
            return None
        documents.append(document)
    if any(_rest(document) != _rest(documents[0]) for document in documents[1:]):
        return None
    rows = [row for document in documents for row in document["instances"]]
    body = dump_json({**documents[0], "instances": rows})
    first = requests[0]
    joined = replace(first.inputs[0], data=bytes_array([body], [1]))
    counts = [len(document["instances"]) for document in documents]
    return Join(replace(first, inputs=(joined,)), requests, counts, document=True)


def _rest(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "instances"}


def _form(request: InferRequest) -> Any:
    """What has to be equal."""
    inputs = [
        (
            t.name,
            t.datatype,
            t.parameters,
            None if "content_type" in t.parameters else t.data.shape[1:] or None,
        )
        for t in request.inputs
    ]
    parameters = {key: value for key, value in request.parameters.items() if key not in _OWN}
    return inputs, request.outputs, parameters, all(t.data.ndim for t in request.inputs)
