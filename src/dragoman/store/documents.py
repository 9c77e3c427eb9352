"""A model as one JSON document and back, and the seal by which it is known again. Pure.

Documents are kept in the history for ever, so reading takes those of every earlier form: what an older one doesn't
have, has its default.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any, Final

from dragoman.store.state import Model, Version

_VERSION: Final = frozenset(field.name for field in fields(Version))

Document = dict[str, Any]


def encode_model(model: Model) -> Document:
    """The model as JSON has it."""
    document = asdict(model)
    document["versions"] = [
        version | {"changed_at": encode_time(version["changed_at"])} for version in document["versions"]
    ]
    return document


def decode_model(document: Mapping[str, Any]) -> Model:
    """The model of a document. Raises ValueError, KeyError or TypeError for what is none."""
    versions = tuple(
        Version(**{name: value for name, value in version.items() if name in _VERSION} | _times(version))
        for version in document["versions"]
    )
    return Model(
        name=document["name"],
        versions=versions,
        default=document["default"],
        shadow=document.get("shadow", ""),
        revision=document["revision"],
    )


def seal(document: object) -> str:
    """SHA-256 of a document: the same for the same content, whatever the order of its keys."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def encode_time(time: datetime | None) -> int | None:
    """Microseconds since 1970, UTC."""
    if time is None:
        return None
    whole = int(time.replace(microsecond=0).timestamp())
    return whole * 1_000_000 + time.microsecond


def decode_time(microseconds: int | None) -> datetime | None:
    """The moment, in UTC."""
    if microseconds is None:
        return None
    whole, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(whole, UTC).replace(microsecond=rest)


def _times(version: Mapping[str, Any]) -> dict[str, datetime | None]:
    return {"changed_at": decode_time(version.get("changed_at"))}
