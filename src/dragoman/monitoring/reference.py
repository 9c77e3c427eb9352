"""What a model was trained on, in a few numbers for each feature: where its values lie, and how many lie where. Pure.

Numbers are counted between up to 99 quantiles, so that their distribution can be read to a hundredth; categories by
name. The last count of each is of what is missing, or of all other categories.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from dragoman.errors import InvalidInput
from dragoman.monitoring.features import Columns
from dragoman.types import Array

NUMBER: Final = "number"
CATEGORY: Final = "category"
#: The version of the file's form, under this key.
_FORM: Final = "dragoman_reference"
_QUANTILES: Final = np.arange(1, 100) / 100
#: Categories that are counted by name.
_CATEGORIES: Final = 50


@dataclass(frozen=True, slots=True)
class Feature:
    """``bounds`` are the upper ones of a number's bins, ``names`` those of categories; ``counts`` has one more place
    than names, two more than bounds: above all of them, and missing."""

    kind: str
    bounds: tuple[float, ...]
    names: tuple[str, ...]
    counts: tuple[int, ...]

    def count(self, values: Array) -> list[int]:
        """How many of these values lie where."""
        if self.kind == CATEGORY:
            found = Counter(map(str, values.tolist()))
            named = [found[name] for name in self.names]
            return [*named, len(values) - sum(named)]
        if values.dtype == object:
            return [0] * (len(self.bounds) + 1) + [len(values)]
        missing = np.isnan(values)
        places = np.searchsorted(np.array(self.bounds), values[~missing], side="left")
        counts = np.bincount(places, minlength=len(self.bounds) + 1)
        return [*counts.tolist(), int(missing.sum())]


@dataclass(frozen=True, slots=True)
class Reference:
    """All features of a model, and of how many rows they tell."""

    rows: int
    features: Mapping[str, Feature]

    def count(self, columns: Columns) -> dict[str, list[int]]:
        """How many values of a request lie where, for each feature that is known."""
        return {
            name: feature.count(columns[name]) for name, feature in self.features.items() if name in columns
        }


def summarize(tables: Iterable[Columns]) -> Reference:
    """The reference that such columns are. Raises InvalidInput where there are none."""
    parts: dict[str, list[Array]] = {}
    for columns in tables:
        for name, values in columns.items():
            parts.setdefault(name, []).append(values)
    if not parts:
        raise InvalidInput("there are no rows to refer to, or no inputs with up to 256 values a row")
    features = {name: _summarize(np.concatenate(values)) for name, values in parts.items()}
    return Reference(max(sum(feature.counts) for feature in features.values()), features)


def _summarize(values: Array) -> Feature:
    if values.dtype == object:
        common = tuple(name for name, _ in Counter(values.tolist()).most_common(_CATEGORIES))
        empty = Feature(CATEGORY, (), common, ())
    else:
        present = values[~np.isnan(values)]
        inside = np.quantile(present, _QUANTILES, method="inverted_cdf") if present.size else present
        empty = Feature(NUMBER, tuple(np.unique(inside).tolist()), (), ())
    return Feature(empty.kind, empty.bounds, empty.names, tuple(empty.count(values)))


def encode(reference: Reference) -> dict[str, Any]:
    """As a document of JSON."""
    features = {}
    for name, feature in reference.features.items():
        places = {"names": feature.names} if feature.kind == CATEGORY else {"bounds": feature.bounds}
        features[name] = {"kind": feature.kind, **places, "counts": feature.counts}
    return {_FORM: 1, "rows": reference.rows, "features": features}


def decode(document: Any) -> Reference:
    """Raises InvalidInput for what is none."""
    if not isinstance(document, dict) or document.get(_FORM) != 1:
        raise InvalidInput(
            f'a reference is an object with "{_FORM}": 1, as `dragoman monitor reference` writes it'
        )
    try:
        features = {str(name): _decode(each) for name, each in document["features"].items()}
        return Reference(int(document["rows"]), features)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidInput(f"the reference is damaged: {type(error).__name__}: {error}") from error


def _decode(each: Mapping[str, Any]) -> Feature:
    kind = each["kind"]
    bounds = tuple(map(float, each["bounds"])) if kind == NUMBER else ()
    names = tuple(map(str, each["names"])) if kind == CATEGORY else ()
    counts = tuple(map(int, each["counts"]))
    places = {NUMBER: len(bounds) + 2, CATEGORY: len(names) + 1}.get(kind)
    if places != len(counts) or min(counts) < 0 or list(bounds) != sorted(set(bounds)):
        raise ValueError("kind, bounds or names, and counts don't belong together")
    return Feature(kind, bounds, names, counts)
