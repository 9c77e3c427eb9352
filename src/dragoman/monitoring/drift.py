"""How far what a model is asked is from what it was trained on: three tests over two rows of counts. Pure.

PSI (population stability index) tells how much has moved, KS (Kolmogorov-Smirnov) how far two distributions of numbers
are apart at most, chi-squared whether categories are as common as they were. A p-value is how often chance alone would
make such a difference, or a greater one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, inf, lgamma, log, pi, sqrt
from typing import Final

from dragoman.monitoring.reference import CATEGORY, Feature, Reference
from dragoman.windows import Counts

PSI: Final = "psi"
KS: Final = "ks"
CHI_SQUARED: Final = "chi_squared"

#: Rows that must have been seen: with fewer, chance alone moves every test.
LEAST_ROWS: Final = 200
#: From here on PSI says that a feature is to be looked at, or has moved: the bounds that are in use for it.
MODERATE, LARGE = 0.1, 0.25

#: The least share that PSI reckons with: an empty bin would be infinitely far away.
_LEAST_SHARE: Final = 1e-4
#: Bins that PSI looks at.
_PSI_BINS: Final = 10
#: Values of one category, expected on the smaller side, that chi-squared needs; rarer ones are taken together.
_RARE: Final = 5.0
_TERMS: Final = 500
_SMALL: Final = 1e-15


@dataclass(frozen=True, slots=True)
class Result:
    """PSI has no ``p``."""

    test: str
    statistic: float
    p: float | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """One feature; ``verdict`` is one of too_few, stable, moderate, large."""

    feature: str
    rows: int
    verdict: str
    results: Sequence[Result]


def compare(reference: Reference, seen: Counts) -> Iterator[Drift]:
    """Every feature of the reference with what was seen of it, the one that has moved most first."""
    found = [_compare(name, feature, seen.get(name, ())) for name, feature in reference.features.items()]
    return iter(sorted(found, key=lambda drift: -drift.results[0].statistic if drift.results else inf))


def _compare(name: str, feature: Feature, seen: Sequence[int]) -> Drift:
    rows = sum(seen)
    if rows < LEAST_ROWS or len(seen) != len(feature.counts):
        return Drift(name, rows, "too_few", ())
    groups = _group(feature)
    moved = psi(
        [sum(feature.counts[i] for i in each) for each in groups],
        [sum(seen[i] for i in each) for each in groups],
    )
    if feature.kind == CATEGORY:
        other = Result(CHI_SQUARED, *chi_squared(feature.counts, seen))
    else:
        other = Result(KS, *ks(feature.counts[:-1], seen[:-1]))  # a missing number is nowhere
    verdict = "large" if moved >= LARGE else "moderate" if moved >= MODERATE else "stable"
    return Drift(name, rows, verdict, (Result(PSI, moved), other))


def _group(feature: Feature) -> list[list[int]]:
    """The places of counts that PSI takes together: about a tenth of the reference each; missing is alone."""
    places = range(len(feature.counts))
    if feature.kind == CATEGORY:
        return [[place] for place in places]
    groups: list[list[int]] = [[]]
    wanted, held = sum(feature.counts[:-1]) / _PSI_BINS, 0
    for place in places[:-1]:
        groups[-1].append(place)
        held += feature.counts[place]
        if held >= wanted * len(groups) and place < places[-2]:
            groups.append([])
    return [*groups, [places[-1]]]


def psi(expected: Sequence[int], seen: Sequence[int]) -> float:
    """The population stability index of two rows of counts; bins that both leave empty don't count."""
    total = 0.0
    for before, now in zip(expected, seen, strict=True):
        if before or now:
            p = max(before / sum(expected), _LEAST_SHARE)
            q = max(now / sum(seen), _LEAST_SHARE)
            total += (q - p) * log(q / p)
    return total


def ks(expected: Sequence[int], seen: Sequence[int]) -> tuple[float, float]:
    """The greatest distance of two distributions that are counted in the same bins, and its (asymptotic) p-value."""
    n, m = sum(expected), sum(seen)
    if not n or not m:
        return 0.0, 1.0
    distance = before = now = 0.0
    for a, b in zip(expected, seen, strict=True):
        before += a / n
        now += b / m
        distance = max(distance, abs(before - now))
    return distance, kolmogorov(distance * sqrt(n * m / (n + m)))


def kolmogorov(x: float) -> float:
    """How often the limit of the distance, times the square root of the size, is above ``x``."""
    if x <= 0.0:
        return 1.0
    if x < 1.0:  # the two series are one function; each is fast where the other is slow
        terms = (exp(-((2 * k - 1) ** 2) * pi**2 / (8 * x * x)) for k in range(1, 20))
        return min(1.0, max(0.0, 1.0 - sqrt(2 * pi) / x * sum(terms)))
    terms = ((-1) ** (k - 1) * exp(-2.0 * k * k * x * x) for k in range(1, 101))
    return min(1.0, max(0.0, 2.0 * sum(terms)))


def chi_squared(expected: Sequence[int], seen: Sequence[int]) -> tuple[float, float]:
    """Whether two rows of counts are of one distribution: the statistic of their table, and its p-value."""
    n, m = sum(expected), sum(seen)
    if not n or not m:
        return 0.0, 1.0
    pairs = _without_rare(list(zip(expected, seen, strict=True)), min(n, m) / (n + m))
    statistic = 0.0
    for a, b in pairs:
        both = a + b
        for found, size in ((a, n), (b, m)):
            right = both * size / (n + m)
            statistic += (found - right) ** 2 / right
    freedom = len(pairs) - 1
    return statistic, gamma_above(freedom / 2, statistic / 2) if freedom else 1.0


def _without_rare(pairs: list[tuple[int, int]], smaller: float) -> list[tuple[int, int]]:
    """Rare categories taken together: of few the statistic has another distribution."""
    rare = [(a, b) for a, b in pairs if (a + b) * smaller < _RARE]
    kept = [(a, b) for a, b in pairs if (a + b) * smaller >= _RARE]
    if together := (sum(a for a, _ in rare), sum(b for _, b in rare)):
        kept += [together] if sum(together) else []
    return kept


def gamma_above(a: float, x: float) -> float:
    """The regularized upper incomplete gamma function Q(a, x); that of (k/2, x/2) is chi-squared's with k degrees."""
    if x <= 0.0:
        return 1.0
    front = exp(a * log(x) - x - lgamma(a))
    return 1.0 - front * _series(a, x) if x < a + 1.0 else front * _fraction(a, x)


def _series(a: float, x: float) -> float:
    term = total = 1.0 / a
    for k in range(1, _TERMS):
        term *= x / (a + k)
        total += term
        if term < total * _SMALL:
            break
    return total


def _fraction(a: float, x: float) -> float:
    """Lentz's way to reckon the continued fraction."""
    tiny = 1e-300
    b = x + 1.0 - a
    c, d = 1.0 / tiny, 1.0 / b
    total = d
    for k in range(1, _TERMS):
        b += 2.0
        step = -k * (k - a)
        d = 1.0 / (step * d + b or tiny)
        c = b + step / c or tiny
        total *= c * d
        if abs(c * d - 1.0) < _SMALL:
            break
    return total
