"""A payload as a CloudEvent 1.0: HTTP headers beside the bytes as they are, or one line of JSON. Pure."""

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import orjson

#: KServe's types: what listens to its agent listens for these.
REQUEST: Final = "org.kubeflow.serving.inference.request"
RESPONSE: Final = "org.kubeflow.serving.inference.response"

#: Bytes up to which a line has JSON as JSON. It would have to be parsed, and parsing keeps other threads waiting.
PARSED: Final = 262_144
#: What a header may hold as it is; CloudEvents has the rest percent-encoded.
_PLAIN: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


@dataclass(frozen=True, slots=True)
class Payload:
    """``id`` is the same for a request and its answer; ``subject`` is the path, ``time`` in seconds since 1970."""

    type: str
    id: str
    subject: str
    content_type: str
    body: bytes
    time: float


def encode_headers(payload: Payload, common: Mapping[str, str]) -> dict[str, str]:
    """The event's attributes, in binary mode: the body is the payload's. ``common`` are those of all events."""
    headers = {
        f"ce-{name}": quote(value, safe=_PLAIN) for name, value in _attributes(payload, common).items()
    }
    headers["content-type"] = _content_type(payload)
    return headers


def encode_line(payload: Payload, common: Mapping[str, str]) -> bytes:
    """The event in CloudEvents' JSON format, with a line feed."""
    document: dict[str, Any] = _attributes(payload, common)
    document["datacontenttype"] = _content_type(payload)
    document |= _data(payload)
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _attributes(payload: Payload, common: Mapping[str, str]) -> dict[str, str]:
    fraction = f"{payload.time % 1:.6f}"[2:8]
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(payload.time)) + f".{fraction}Z"
    return {
        "specversion": "1.0",
        "type": payload.type,
        "id": payload.id,
        "time": moment,
        "subject": payload.subject,
        **common,
    }


def _content_type(payload: Payload) -> str:
    """What the client has said; clients that say nothing mostly send JSON."""
    if payload.content_type:
        return payload.content_type
    return "application/json" if payload.body[:1] in (b"{", b"[") else "application/octet-stream"


def _data(payload: Payload) -> dict[str, Any]:
    """JSON as JSON, text as text, all else as base64."""
    body, kind = payload.body, _content_type(payload).partition(";")[0].strip().lower()
    if len(body) <= PARSED:
        try:
            if kind == "application/json" or kind.endswith("+json"):
                return {"data": orjson.loads(body)}
            if kind.startswith("text/"):
                return {"data": body.decode()}
        except ValueError:  # it is something other than it says
            pass
    return {"data_base64": base64.b64encode(body).decode()}
