"""CloudEvents around a request of KServe's first protocol, and around its answer. Pure.

A structured event is a JSON object with its data inside (``application/cloudevents+json``); a binary one has its
attributes in ``ce-`` headers and its data as the body. An answer is an event of the same kind.
"""

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from dragoman.errors import InvalidInput

STRUCTURED: Final = "application/cloudevents+json"
#: What each event has to have.
_REQUIRED: Final = ("specversion", "id", "source", "type")
_PREFIX: Final = "ce-"
#: Attributes of a request that an answer has its own of.
_OWN: Final = frozenset({"specversion", "id", "source", "type", "time", "datacontenttype", "dataschema"})


@dataclass(frozen=True, slots=True)
class Event:
    """What came as an event. ``attributes`` are those of the request."""

    structured: bool
    attributes: Mapping[str, str]
    data: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Style:
    """What answers say of themselves: their type and source, and whether they keep the attributes of the request."""

    type: str = "io.kserve.inference.response"
    source: str = ""  #: empty is the model's own
    merge: bool = False


def decode_event(body: bytes, content_type: str, headers: Mapping[str, str]) -> Event | None:
    """The event in a request, or ``None``. Header names are in lower case. Raises InvalidInput for a structured event
    that lacks what each has."""
    if content_type.partition(";")[0].strip().lower() == STRUCTURED:
        return _decode_structured(body)
    attributes = {
        name.removeprefix(_PREFIX): value for name, value in headers.items() if name.startswith(_PREFIX)
    }
    if not all(name in attributes for name in _REQUIRED):
        return None  # as with KServe: then it is a request with odd headers
    return Event(False, attributes, body, content_type)


def _decode_structured(body: bytes) -> Event:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"Unrecognized request format: {error}") from None
    missing = [name for name in _REQUIRED if not isinstance(document, dict) or name not in document]
    if missing:
        raise InvalidInput(f"Expected a CloudEvent with {', '.join(_REQUIRED)}; {missing[0]} is missing")
    data = document.pop("data", None)
    attributes = {name: str(value) for name, value in document.items() if name != "data_base64"}
    if "data_base64" in document:
        data = _decode_base64(document["data_base64"])
        return Event(True, attributes, data, attributes.get("datacontenttype", ""))
    return Event(True, attributes, orjson.dumps(data), "application/json")


def _decode_base64(text: Any) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, TypeError, ValueError):
        raise InvalidInput('Expected the event\'s "data_base64" to be base64') from None


def encode_event(
    event: Event, body: bytes, content_type: str, model: str, id_: str, time: str, style: Style
) -> tuple[bytes, str, dict[str, str]]:
    """The answer to ``event``: body, content type, headers. ``id_`` and ``time`` (RFC 3339) are the answer's own."""
    attributes = {
        "specversion": "1.0",
        "id": id_,
        "source": style.source or f"io.kserve.inference.{model}",
        "type": style.type,
        "time": time,
    }
    if style.merge:
        attributes |= {name: value for name, value in event.attributes.items() if name not in _OWN}
    if not event.structured:
        return body, content_type, {f"{_PREFIX}{name}": value for name, value in attributes.items()}
    data: Any = (
        orjson.Fragment(body) if content_type == "application/json" else body.decode("utf-8", "replace")
    )
    return orjson.dumps({**attributes, "data": data}), STRUCTURED, {}
