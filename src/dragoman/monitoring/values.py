"""Requests and answers as values of JSON: cut short where they are big, without what must not be kept. Pure.

Two steps: ``take`` copies a little, where a request is on its way; ``describe`` makes a document of it, where there is
time.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np

from dragoman.rows.values import plain, values_of
from dragoman.types import Array, Parameters, Tensor

#: What stands where a value was.
REDACTED: Final = "[redacted]"
#: Never kept: they hold keys and cookies.
_HEADERS: Final = "headers"
#: Bytes that an element of JSON takes at least.
_ELEMENT: Final = 8


@dataclass(frozen=True, slots=True)
class Taken:
    """The first elements of a tensor: all of them, unless ``cut``."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Array
    cut: bool


def take(tensors: Iterable[Tensor], most: int) -> tuple[Taken, ...]:
    """Copies of what of these tensors fits into ``most`` bytes in all."""
    found = []
    for tensor in tensors:
        data = tensor.data
        if data.dtype == object:
            kept, cut = _take_bytes(data, most)
            most -= sum(map(len, kept.tolist()))
        else:
            count = min(data.size, max(0, most) // _ELEMENT)
            cut = count < data.size
            kept = data.flat[:count] if cut else data.ravel().copy()
            most -= count * _ELEMENT
        found.append(Taken(tensor.name, tensor.datatype, tensor.shape, kept, cut))
    return tuple(found)


def _take_bytes(data: Array, most: int) -> tuple[Array, bool]:
    kept: list[bytes] = []
    for element in data.flat:
        if most <= 0:
            break
        kept.append(bytes(element[:most]))
        most -= max(_ELEMENT, len(element))
    array = np.empty(len(kept), object)
    array[:] = kept
    return array, most < 0 or len(kept) < data.size


def describe(tensors: Iterable[Taken], redact: Collection[str]) -> list[dict[str, Any]]:
    """The tensors as documents; ``redact`` are names in lower case."""
    return [_describe(tensor, redact) for tensor in tensors]


def _describe(tensor: Taken, redact: Collection[str]) -> dict[str, Any]:
    document = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    if tensor.name.lower() in redact:
        return document | {"data": REDACTED}
    if tensor.datatype == "BYTES":
        data = [_text(element, redact, cut=tensor.cut) for element in tensor.data.tolist()]
    else:
        values = values_of(Tensor(tensor.name, tensor.datatype, tensor.data)).tolist()
        data = [each if each == each and abs(each) != float("inf") else str(each) for each in values]
    return document | {"data": data} | ({"cut": True} if tensor.cut else {})


def _text(element: bytes, redact: Collection[str], *, cut: bool) -> Any:
    """An element of BYTES: JSON without what is redacted; what can't be read and may hold that not at all."""
    value: Any = None
    if element[:1] in (b"{", b"["):
        try:
            value = json.loads(element)
        except (ValueError, RecursionError):
            value = None
    if value is not None:
        return clean(value, redact) if redact else value
    text = plain(element if not cut else element.decode("utf-8", "ignore").encode())
    if redact and _holds(element, redact):
        return REDACTED
    return text


def _holds(element: bytes, redact: Collection[str]) -> bool:
    lower = element.lower()
    return any(name.encode() in lower for name in redact)


def clean(value: Any, redact: Collection[str]) -> Any:
    """A value of JSON, without the values of keys that are redacted."""
    if isinstance(value, dict):
        return {
            str(key): REDACTED if str(key).lower() in redact else clean(each, redact)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [clean(each, redact) for each in value]
    return value


def clean_parameters(parameters: Parameters, redact: Collection[str]) -> Any:
    """A request's parameters: never the headers among them, and nothing that JSON has no word for."""
    kept = {key: each for key, each in parameters.items() if key != _HEADERS}
    if isinstance(http := kept.get("http"), dict):
        kept["http"] = {key: each for key, each in http.items() if key != _HEADERS}
    return _plain(clean(kept, redact))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, bytes | np.generic):
        return plain(value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def whole(document: Sequence[dict[str, Any]]) -> bool:
    """Whether all values of these tensors are there."""
    return all(not each.get("cut") and isinstance(each["data"], list) for each in document)


def rows_of(document: dict[str, Any]) -> list[Any]:
    """A tensor's values row by row: values, or lists of them where a row has several."""
    data, shape = document["data"], document["shape"]
    width = prod(shape[1:])
    if len(shape) < 2 or width == 1:
        return list(data)
    return [data[start : start + width] for start in range(0, len(data), width)]
