"""Documents whose fields have types, as protobuf's have: checked once, whatever they were written in.

Pure: from what JSON or text protobuf give to the same with every value of its field's type. Knows no field.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dragoman.errors import ConfigError

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value that is no message. ``read`` raises ValueError for what it can't be."""

    name: str
    read: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Enum:
    """One of these names; in a document also its number, which is its place."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Many:
    """A list."""

    of: "Kind"


@dataclass(frozen=True, slots=True)
class Map:
    """A mapping from texts, or from numbers written as texts."""

    of: "Kind"


@dataclass(frozen=True, slots=True)
class Message:
    """Fields by name. Of each group in ``choices`` only one may be there."""

    fields: "Mapping[str, Kind]"
    choices: tuple[tuple[str, ...], ...] = field(default=())


Kind = Scalar | Enum | Many | Map | Message


def _integer(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, str) and value.removeprefix("-").isdecimal() and value.isascii():
            value = int(value)  # protobuf's JSON writes 64 bits as a text
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or not least <= value <= most:
            raise ValueError
        return value

    return read


def _number(value: Any) -> float:
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    if type(value) not in (int, float) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError
    return float(value)


def _exactly(kind: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise ValueError
        return value

    return read


STRING: Final = Scalar("a text", _exactly(str))
BOOL: Final = Scalar("true or false", _exactly(bool))
FLOAT: Final = Scalar("a number", _number)
INT32: Final = Scalar("a whole number of 32 bits", _integer(-(2**31), 2**31 - 1))
INT64: Final = Scalar("a whole number of 64 bits", _integer(-(2**63), 2**63 - 1))
UINT32: Final = Scalar("a whole number of 32 bits, from 0 on", _integer(0, 2**32 - 1))
UINT64: Final = Scalar("a whole number of 64 bits, from 0 on", _integer(0, 2**64 - 1))


def check(document: Any, kind: Kind, where: str) -> Any:
    """The document with values of its fields' types, and without what is null. Raises ConfigError.

    ``where`` is what the document is called.
    """
    if isinstance(kind, Message):
        return _check_message(document, kind, where)
    if isinstance(kind, Many):
        if not isinstance(document, list):
            raise ConfigError(f"{where} must be a list, got {_shown(document)}")
        return [check(item, kind.of, f"{where}[{place}]") for place, item in enumerate(document)]
    if isinstance(kind, Map):
        if not isinstance(document, dict):
            raise ConfigError(f"{where} must be an object, got {_shown(document)}")
        return {key: check(value, kind.of, f"{where}.{key}") for key, value in document.items()}
    if isinstance(kind, Enum):
        if type(document) is int and 0 <= document < len(kind.names):
            return kind.names[document]
        if document not in kind.names:
            raise ConfigError(f"{where} must be one of {', '.join(kind.names)}, got {_shown(document)}")
        return document
    try:
        return kind.read(document)
    except (ValueError, OverflowError):
        raise ConfigError(f"{where} must be {kind.name}, got {_shown(document)}") from None


def _check_message(document: Any, message: Message, where: str) -> Document:
    if not isinstance(document, dict):
        raise ConfigError(f"{where} must be an object, got {_shown(document)}")
    result: Document = {}
    for key, value in document.items():
        name = key if key in message.fields else _snake(key)
        if name not in message.fields:
            raise ConfigError(f"{where} has no field {key!r}")
        if name in result:
            raise ConfigError(f"{where} has the field {name!r} twice")
        if value is not None:
            result[name] = check(value, message.fields[name], f"{where}.{name}")
    for choice in message.choices:
        chosen = [name for name in choice if name in result]
        if len(chosen) > 1:
            raise ConfigError(f"{where} can have only one of {', '.join(chosen)}")
    return result


def _snake(name: str) -> str:
    """``maxBatchSize``, as protobuf's JSON spells ``max_batch_size``."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
