"""What a caller says of a job in query and headers, and what it is told. Pure.

``POST /jobs?to=/v2/models/iris/infer`` is a request for that path: its body and its type are what that protocol has.
``POST /jobs?model=iris&format=csv`` are rows of a file, sent as the body or named with ``file=``.
"""

import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

from dragoman.errors import InvalidInput
from dragoman.jobs.description import describe
from dragoman.jobs.order import KEPT_HEADERS, Order
from dragoman.store.job import Job
from dragoman.tensors import dump_json

#: The header that names who is to be told.
WEBHOOK: Final = b"dragoman-webhook"
#: Jobs in one list, at most.
MOST: Final = 1000
_REQUEST: Final = ("to",)
_ROWS: Final = ("model", "version", "format", "file", "stored")
_LIST: Final = ("state", "limit", "before")

RawHeader = tuple[bytes, bytes]


def decode_query(query: str, known: Sequence[str]) -> dict[str, str]:
    """Raises InvalidInput for what is not known, or there twice."""
    said: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in known:
            raise InvalidInput(f"unknown query parameter {key!r:.50}; known are {', '.join(known)}")
        if key in said:
            raise InvalidInput(f"query parameter {key!r} is there twice")
        said[key] = value
    return said


def decode_target(query: str) -> tuple[str, str]:
    """The path that a job's request goes to, and its query; empty for a job of rows. Raises InvalidInput."""
    said = decode_query(query, (*_REQUEST, *_ROWS))
    if "to" not in said:
        if not said.get("model"):
            raise InvalidInput(
                "a job says where it goes: ?to=/v2/models/iris/infer, or ?model=iris&format=jsonl for rows"
            )
        return "", ""
    if len(said) > 1:
        raise InvalidInput("'to' goes with no other query parameter")
    path, _, rest = said["to"].partition("?")
    return path, rest


def decode_rows(query: str, version: str) -> Order:
    """A job of rows; ``version`` answers where none is named. Raises InvalidInput."""
    said = decode_query(query, _ROWS)
    file = said.get("file", "")
    kind = said.get("format") or file.rpartition(".")[2].lower() or "jsonl"
    if said.get("stored", "false") not in ("true", "false"):
        raise InvalidInput("'stored' is true or false")
    return Order(
        model=said["model"],
        version=said.get("version") or version,
        format=kind,
        file=file,
        stored=said.get("stored") == "true",
    )


def decode_request(path: str, query: str, params: Sequence[str], headers: Sequence[RawHeader]) -> Order:
    """A job of one request. ``params`` are what its route has made of the path: model and version first."""
    model, _, rest = (params[0] if params else "").partition("/")
    version = params[1] if len(params) > 1 else rest.partition("/")[0]
    kept = tuple(
        (name.decode("latin-1").lower(), value.decode("latin-1"))
        for name, value in headers
        if name.decode("latin-1").lower() in KEPT_HEADERS
    )
    return Order(model=model, version=version, path=path, query=query, headers=kept)


def decode_list(query: str) -> tuple[str, int, float]:
    """State, how many, and before when in seconds since 1970. Raises InvalidInput."""
    said = decode_query(query, _LIST)
    try:
        limit, before = int(said.get("limit", "100")), float(said.get("before", "0"))
    except ValueError:
        raise InvalidInput("'limit' and 'before' are numbers") from None
    if not 1 <= limit <= MOST or not 0 <= before < 1e11:
        raise InvalidInput(f"'limit' is from 1 to {MOST}, 'before' a time in seconds since 1970")
    return said.get("state", ""), limit, before


def encode_job(job: Job) -> bytes:
    return dump_json(describe(job))


def encode_jobs(found: Sequence[Job]) -> bytes:
    return dump_json({"jobs": [describe(job) for job in found]})


def decode_headers(text: str) -> list[tuple[str, str]]:
    """Headers of a result, as they were kept."""
    kept: list[Any] = json.loads(text or "[]")
    return [(str(name), str(value)) for name, value in kept]
