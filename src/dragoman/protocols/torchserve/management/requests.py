"""What a client asks of the management API: a query or a JSON body in, values out. Pure.

As with TorchServe a number in a query that is none counts as not given; in JSON, where its place says what it is
meant to be, it is an error.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final
from urllib.parse import parse_qs

import orjson

from dragoman.errors import InvalidInput

PAGE: Final = 100  # models in an answer, at most and unless asked otherwise
MOST_PARAMETERS: Final = 100
JAVA_INT: Final = 1 << 31

_TEXTS: Final = ("url", "model_name", "handler", "runtime")
#: Numbers, and the least that is one; below it is as if it weren't there.
_NUMBERS: Final = {
    "batch_size": 1,
    "max_batch_delay": 0,
    "initial_workers": -JAVA_INT,
    "response_timeout": 1,
    "startup_timeout": 1,
}

Query = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What ``POST /models`` asks for; ``None`` was not asked. ``max_batch_delay`` is in milliseconds, the time limits
    are in seconds."""

    url: str | None = None
    model_name: str | None = None
    handler: str | None = None
    runtime: str | None = None
    batch_size: int | None = None
    max_batch_delay: int | None = None
    initial_workers: int | None = None
    response_timeout: int | None = None
    startup_timeout: int | None = None
    synchronous: bool = True
    most_workers: int | None = None  #: of a workflow's models, whose specification says so


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRegistration:
    """What ``POST /workflows`` asks for. The time limits, in seconds, are those of each of its models."""

    url: str | None = None
    workflow_name: str | None = None
    response_timeout: int | None = None
    startup_timeout: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """What ``PUT /models/{model}`` asks for. ``version`` is empty unless the query names one."""

    minimum: int = 1
    maximum: int = 1
    synchronous: bool = False
    version: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted."""

    limit: int = PAGE
    start: int = 0


def decode_registration(body: bytes | memoryview, media_type: str, query: str) -> Registration:
    """From the body if it is JSON, else from the query. Raises InvalidInput."""
    if media_type == "application/json" and bytes(body).strip():
        return _from_json(_object(bytes(body)))
    given = decode_query(query)
    said: dict[str, Any] = {name: given.get(name) for name in _TEXTS}
    said |= {name: _at_least(number(given.get(name)), least) for name, least in _NUMBERS.items()}
    return Registration(**said, synchronous=truth(given, "synchronous", default=True))


def decode_workflow(body: bytes | memoryview, media_type: str, query: str) -> WorkflowRegistration:
    """As ``decode_registration``. ``synchronous`` is taken and means nothing: the answer tells how it went."""
    names = [each.name for each in fields(WorkflowRegistration)]
    if media_type == "application/json" and bytes(body).strip():
        given = {name: value for name, value in _object(bytes(body)).items() if value is not None}
        limits = {name: _json_number(given, name) for name in names[2:]}
        _check_texts(given, names[:2])
    else:
        given = dict(decode_query(query))
        limits = {name: number(given.get(name)) for name in names[2:]}
    said: dict[str, Any] = {name: given.get(name) for name in names[:2]}
    said |= {name: _at_least(limit, _NUMBERS[name]) for name, limit in limits.items()}
    return WorkflowRegistration(**said)


def decode_scaling(query: str) -> Scaling:
    """``timeout`` and ``number_gpu`` are taken and mean nothing, as with TorchServe. Raises InvalidInput."""
    given = decode_query(query)
    minimum = number(given.get("min_worker"))
    least = 1 if minimum is None else minimum
    maximum = number(given.get("max_worker"))
    return Scaling(
        minimum=least,
        maximum=least if maximum is None else maximum,
        synchronous=truth(given, "synchronous"),
        version=given.get("model_version", ""),
    )


def decode_page(query: str) -> Page:
    """``?limit=&next_page_token=``: what is no sensible number counts as absent. Raises InvalidInput."""
    given = decode_query(query)
    limit, start = number(given.get("limit")), number(given.get("next_page_token"))
    return Page(
        PAGE if limit is None or not 0 <= limit <= PAGE else limit,
        0 if start is None or start < 0 else start,
    )


def decode_query(query: str) -> dict[str, str]:
    """The first value of each parameter. Raises InvalidInput for more of them than anybody could mean."""
    try:
        found = parse_qs(query, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError:
        raise InvalidInput(f"a query has at most {MOST_PARAMETERS} parameters") from None
    return {name: values[0] for name, values in found.items()}


def number(text: str | None) -> int | None:
    """A whole number that fits a Java int, or ``None``."""
    if text is None or re.fullmatch(r"[+-]?[0-9]{1,10}", text) is None:
        return None
    return int(text) if -JAVA_INT <= int(text) < JAVA_INT else None


def truth(query: Query, name: str, *, default: bool = False) -> bool:
    """As Java reads it: only ``true`` is true."""
    return query[name].lower() == "true" if name in query else default


def _at_least(value: int | None, least: int) -> int | None:
    return None if value is None or value < least else value


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput("the body must be a JSON object with the names of the query's parameters")
    return document


def _from_json(document: Mapping[str, Any]) -> Registration:
    given = {name: value for name, value in document.items() if value is not None}
    _check_texts(given, _TEXTS)
    said: dict[str, Any] = {name: given.get(name) for name in _TEXTS}
    said |= {name: _at_least(_json_number(given, name), least) for name, least in _NUMBERS.items()}
    synchronous = given.get("synchronous", True)
    if isinstance(synchronous, str):
        synchronous = synchronous.lower() == "true"
    if not isinstance(synchronous, bool):
        raise InvalidInput("Parameter synchronous must be true or false.")
    return Registration(**said, synchronous=synchronous)


def _check_texts(given: Mapping[str, Any], names: Iterable[str]) -> None:
    for name in names:
        if not isinstance(given.get(name, ""), str):
            raise InvalidInput(f"Parameter {name} must be a text.")


def _json_number(document: Mapping[str, Any], name: str) -> int | None:
    """``8``, and as Gson takes it ``8.0`` and ``"8"``."""
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    found = None if isinstance(value, bool) or not isinstance(value, int | str) else number(str(value))
    if found is None:
        raise InvalidInput(f"Parameter {name} must be a whole number.")
    return found
