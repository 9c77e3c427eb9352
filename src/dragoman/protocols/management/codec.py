"""Management calls as JSON. Pure: bytes in, values out, and back; knows no socket and no engine.

Every answer is an object. Sizes are in bytes, times in seconds since 1970 (UTC), shares in percent.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from dragoman.engine.intake import Order
from dragoman.engine.lifecycle import Record
from dragoman.engine.operations import Operation
from dragoman.engine.shadow import Report
from dragoman.engine.traffic import Traffic
from dragoman.errors import DragomanError, InvalidInput, SourceError
from dragoman.tensors import Buffer, dump_json, parse_json

T = TypeVar("T")

Document = Mapping[str, Any]

_DEPTH: Final = 20


def decode_order(body: Buffer) -> Order:
    """``{"source": …}`` and, all optional, ``name``, ``version``, ``settings``, ``digest``, ``default``,
    ``replaces``. Raises InvalidInput."""
    said = _object(body, {"source", "name", "version", "settings", "digest", "default", "replaces", "wait"})
    return Order(
        _get(said, "source", str),
        _get(said, "name", str, ""),
        _get(said, "version", str, ""),
        _get(said, "settings", dict, {}),
        _get(said, "digest", str, ""),
        _get(said, "default", bool, True),
        _get(said, "replaces", bool, False),
    )


def decode_wait(body: Buffer) -> bool:
    """Whether the caller waits for the outcome, which is so unless it says ``"wait": false``."""
    said = parse_json(body, _DEPTH)
    return _get(said, "wait", bool, True) if isinstance(said, dict) else True


def decode_version(body: Buffer) -> str:
    """``{"version": …}``; an empty one is the newest. Raises InvalidInput."""
    return _get(_object(body, {"version"}), "version", str)


def decode_instances(body: Buffer) -> tuple[int, int]:
    """``{"min": …, "max": …}``; without ``max`` the number stays the same. Raises InvalidInput."""
    said = _object(body, {"min", "max"})
    return _get(said, "min", int), _get(said, "max", int, 0)


def decode_traffic(body: Buffer) -> Traffic:
    """``{"shares": {"1": 90, "2": 10}, "shadow": "3"}``, both optional. Raises InvalidInput."""
    said = _object(body, {"shares", "shadow"})
    return Traffic(_get(said, "shares", dict, {}), _get(said, "shadow", str, ""))


def encode(document: Document) -> bytes:
    return dump_json(document)


def encode_record(record: Record) -> Document:
    return {
        "name": record.name,
        "version": record.version,
        "state": record.state.value,
        "reason": record.reason,
        "step": record.step,
    }


def encode_operation(operation: Operation) -> Document:
    """How far it is; ``error`` is empty while nothing has gone wrong, ``loaded`` what has come of it."""
    state = "running" if not operation.finished else "failed" if operation.error else "done"
    loaded: Sequence[Record] = operation.result or ()
    return {
        "id": operation.id,
        "what": operation.what,
        "state": state,
        "step": operation.step,
        "done_bytes": operation.done,
        "total_bytes": operation.total,
        "error": "" if operation.error is None else explain(operation.error),
        "started": operation.started,
        "loaded": [encode_record(record) for record in loaded],
    }


def explain(error: DragomanError) -> str:
    """What went wrong, and with which location, for whoever named it."""
    return f"{error.message}: {error.location}" if isinstance(error, SourceError) else error.message


def encode_traffic(traffic: Traffic, report: Report | None) -> Document:
    document: dict[str, Any] = {"shares": dict(traffic.shares), "shadow": traffic.shadow, "report": None}
    if report is not None:
        compared = report.equal + report.different
        document["report"] = {
            "since": report.since,
            "copied": report.copied,
            "refused": report.refused,
            "failed": report.failed,
            "recovered": report.recovered,
            "equal": report.equal,
            "different": report.different,
            "disagreement": report.different / compared if compared else 0.0,
            "largest_difference": report.largest_difference,
            "seconds": report.seconds,
            "shadow_seconds": report.shadow_seconds,
        }
    return document


def _object(body: Buffer, keys: set[str]) -> dict[str, Any]:
    said = parse_json(body, _DEPTH)
    if not isinstance(said, dict):
        raise InvalidInput(f"the body is a JSON object with {', '.join(sorted(keys))}")
    for key in said:
        if key not in keys:
            raise InvalidInput(f"unknown key {key!r}; known are {', '.join(sorted(keys))}")
    return said


def _get(said: Document, key: str, kind: type[T], default: T | None = None) -> T:
    if key not in said:
        if default is None:
            raise InvalidInput(f"{key!r} is missing")
        return default
    value = said[key]
    if type(value) is not kind:
        raise InvalidInput(f"{key!r} must be {_WORDS[kind]}, got {value!r:.50}")
    return value


_WORDS: Final[Mapping[type, str]] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    dict: "an object",
}
