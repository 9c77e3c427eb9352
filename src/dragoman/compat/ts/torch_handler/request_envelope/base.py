"""An envelope: takes requests of one form apart for a handler, and puts its answers into that form."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any


class BaseEnvelope(ABC):
    """Stands before a handler's ``handle``, of which it is told at load."""

    def __init__(self, handle_fn: Callable[[Any, Any], Any]) -> None:
        self._handle_fn = handle_fn
        self.context: Any = None

    def handle(self, data: Any, context: Any) -> Any:
        self.context = context
        if not data or context.get_request_header(0, "describe") == "True":
            return self._handle_fn(data, context)
        results = self._handle_fn(self.parse_input(data), context)
        if inspect.iscoroutine(results):
            return self._later(results)
        return results if results is None else self.format_output(results)

    async def _later(self, results: Coroutine[Any, Any, Any]) -> Any:
        return self.format_output(await results)

    @abstractmethod
    def parse_input(self, data: Any) -> Any:
        """What the handler gets for these requests."""

    @abstractmethod
    def format_output(self, data: Any) -> Any:
        """One item for each request of what the handler returned."""


def body_of(row: Any) -> Any:
    """What the client sent: the part ``data``, else the body."""
    return row.get("data") or row.get("body") if isinstance(row, dict) else row


def content_of(row: Any) -> Any:
    """What a stock handler works on: the body, or the one tensor of a request of the Open Inference Protocol.

    A tensor of one text or file is that; one of numbers is a nested list of its shape.
    """
    tensor = isinstance(row, dict) and "datatype" in row  # as the envelope kservev2 hands them out
    found = row if tensor else body_of(row)
    if isinstance(found, dict) and isinstance(found.get("inputs"), list) and len(found["inputs"]) == 1:
        found = found["inputs"][0]
    if not isinstance(found, dict) or "data" not in found:
        return found
    data = found["data"]
    if "shape" not in found:
        return data
    if found.get("datatype") == "BYTES":
        return data[0] if len(data) == 1 else data
    return _nested(data, list(found["shape"]))


def _nested(flat: Any, shape: list[int]) -> Any:
    if not shape:
        return flat[0]
    if len(shape) == 1:
        return flat
    size = len(flat) // shape[0] if shape[0] else 0
    return [_nested(flat[row * size : (row + 1) * size], shape[1:]) for row in range(shape[0])]


class Instances(BaseEnvelope):
    """Requests that bring rows each, which the handler gets as one list."""

    def __init__(self, handle_fn: Callable[[Any, Any], Any]) -> None:
        super().__init__(handle_fn)
        self._lengths: list[int] = []

    def join(self, batches: list[list[Any]]) -> list[Any]:
        """All requests' rows, and a note of how many each has."""
        self._lengths = [len(batch) for batch in batches]
        return [row for batch in batches for row in batch]

    def divide(self, results: Any) -> list[Any]:
        """What belongs to each request. One request gets all; several need an item for each row."""
        if len(self._lengths) == 1:
            return [results]
        if not isinstance(results, list) or len(results) != sum(self._lengths):
            raise ValueError(f"the handler should return {sum(self._lengths)} items, one for each row")
        parts, first = [], 0
        for length in self._lengths:
            parts.append(results[first : first + length])
            first += length
        return parts
