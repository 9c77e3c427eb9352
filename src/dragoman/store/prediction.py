"""A kept prediction, as plain values. Pure: knows no database."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """``request``, ``response`` and ``label`` are JSON. ``time`` is in seconds since 1970, ``seconds`` from arrival to
    answer. ``number`` counts up in the store; 0 is not kept yet."""

    id: str
    time: float
    model: str
    version: str
    dialect: str
    code: str
    seconds: float
    request: str
    response: str
    label: str | None = None
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which are wanted: of a model and version, with a text somewhere, not older than ``since`` (seconds since 1970),
    before a number. Empty and 0 are all of them."""

    model: str = ""
    version: str = ""
    text: str = ""
    since: float = 0.0
    before: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How right a version was: of ``judged`` predictions in ``labels`` labelled requests ``right`` were."""

    model: str
    version: str
    labels: int
    right: int
    judged: int
