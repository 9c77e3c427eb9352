"""What a caller asks of kept predictions, and what it is told. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

from dragoman.errors import InvalidInput
from dragoman.monitoring.drift import LARGE, LEAST_ROWS, MODERATE, Drift
from dragoman.monitoring.labels import Label
from dragoman.monitoring.reference import Reference
from dragoman.store.prediction import Accuracy, Prediction, Query
from dragoman.tensors import dump_json

#: Predictions in one answer, at most, and where nobody says how many.
MOST: Final = 1000
USUAL: Final = 50
#: The answer's size in bytes: from here on no further prediction goes into it.
_BYTES: Final = 8 << 20
_KNOWN: Final = ("model", "version", "query", "since", "before", "limit")
_LABEL: Final = ("label", "output", "within")
_MOST_ROWS: Final = 10_000

Found = Mapping[tuple[str, str], tuple[Reference, Sequence[Drift]]]


def decode_query(query: str) -> Query:
    """Raises InvalidInput for what is not known, there twice, or no number where one is asked for."""
    said: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _KNOWN:
            raise InvalidInput(f"unknown query parameter {key!r:.50}; known are {', '.join(_KNOWN)}")
        if key in said:
            raise InvalidInput(f"query parameter {key!r} is there twice")
        said[key] = value
    try:
        limit, before = int(said.get("limit") or USUAL), int(said.get("before") or 0)
        since = float(said.get("since") or 0)
    except ValueError:
        raise InvalidInput("'limit', 'before' and 'since' are numbers") from None
    if not 1 <= limit <= MOST or not 0 <= before < 1 << 63 or not 0 <= since < 1e11:
        raise InvalidInput(
            f"'limit' is from 1 to {MOST}, 'before' the 'next' of an answer, 'since' in seconds since 1970"
        )
    return Query(
        model=said.get("model", ""),
        version=said.get("version", ""),
        text=said.get("query", ""),
        since=since,
        before=before,
        limit=limit,
    )


def encode_predictions(found: Sequence[Prediction], limit: int) -> bytes:
    """Newest first; ``next`` is empty where there can be no more."""
    told: list[dict[str, Any]] = []
    size = 0
    for each in found:
        if told and size + len(each.request) + len(each.response) > _BYTES:
            break
        size += len(each.request) + len(each.response)
        told.append(_describe(each))
    more = len(told) < len(found) or len(found) == limit
    return dump_json({"predictions": told, "next": str(found[len(told) - 1].number) if told and more else ""})


def _describe(each: Prediction) -> dict[str, Any]:
    document = {name: getattr(each, name) for name in ("id", "time", "model", "version", "dialect", "code")}
    document |= {"seconds": each.seconds, "request": json.loads(each.request)}
    document["response"] = json.loads(each.response)
    return document if each.label is None else document | {"label": json.loads(each.label)}


def decode_label(body: bytes | memoryview) -> Label:
    """``{"label": 3}`` or ``{"label": [3, 5], "output": "kind", "within": 0.5}``. Raises InvalidInput."""
    try:
        said = json.loads(bytes(body))
    except (ValueError, RecursionError):
        raise InvalidInput('a label is JSON, as in {"label": 3}') from None
    if not isinstance(said, dict) or "label" not in said or not set(said) <= set(_LABEL):
        known = ", ".join(_LABEL)
        raise InvalidInput(
            f'expected an object with "label", and of {known} what is needed, got {said!r:.100}'
        )
    values = said["label"] if isinstance(said["label"], list) else [said["label"]]
    if not 1 <= len(values) <= _MOST_ROWS or None in values:
        raise InvalidInput(f"'label' is a value, or a list of one for each row, up to {_MOST_ROWS}")
    output, within = said.get("output", ""), said.get("within", 0)
    if not isinstance(output, str) or isinstance(within, bool) or not isinstance(within, int | float):
        raise InvalidInput("'output' is a name, 'within' a number")
    if not within >= 0:
        raise InvalidInput("'within' is how far away a right number may be: not below 0")
    return Label(tuple(values), output, float(within))


def encode_label(prediction: Prediction, right: int, judged: int) -> bytes:
    """What a label has told."""
    told = {"id": prediction.id, "model": prediction.model, "version": prediction.version}
    return dump_json(told | {"right": right, "judged": judged})


def encode_accuracy(found: Iterable[Accuracy], window: float) -> bytes:
    """``accuracy`` is of single predictions: a request may have many."""
    models = [
        {
            "model": each.model,
            "version": each.version,
            "labels": each.labels,
            "right": each.right,
            "judged": each.judged,
            "accuracy": each.right / each.judged if each.judged else None,
        }
        for each in found
    ]
    return dump_json({"window": window, "models": models})


def encode_drift(found: Found, window: float) -> bytes:
    """The features of each version, the one that has moved most first."""
    models = [
        {
            "model": model,
            "version": version,
            "reference_rows": reference.rows,
            "features": [_describe_drift(drift) for drift in features],
        }
        for (model, version), (reference, features) in found.items()
    ]
    bounds = {"rows": LEAST_ROWS, "moderate": MODERATE, "large": LARGE}
    return dump_json({"window": window, "bounds": bounds, "models": models})


def _describe_drift(drift: Drift) -> dict[str, Any]:
    document: dict[str, Any] = {"feature": drift.feature, "rows": drift.rows, "verdict": drift.verdict}
    for result in drift.results:
        document[result.test] = {"statistic": result.statistic}
        if result.p is not None:
            document[result.test]["p"] = result.p
    return document
