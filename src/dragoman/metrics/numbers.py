"""The numbers of ``stats`` as JSON: for the page, and for whoever would rather not read Prometheus' format.

Counts nothing itself. Durations are in seconds, sizes in bytes, times in seconds since 1970; counts only grow.
"""

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

from dragoman.stats import ROWS, SECONDS, Histogram, ModelStats, Stats

Document = dict[str, Any]


def describe(stats: Stats, in_flight: int, now: float) -> Document:
    """Everything that is counted. A histogram's ``counts`` belong to ``bounds``, and the last one is all above."""
    return {
        "time": now,
        "started": stats.started,
        "in_flight": in_flight,
        "bounds": {"seconds": list(SECONDS), "rows": list(ROWS)},
        "refused": _nested(stats.refused),
        "models": [
            {"name": name, "version": version, **_describe_model(numbers)}
            for (name, version), numbers in sorted(stats.models.items())
        ],
    }


def _describe_model(numbers: ModelStats) -> Document:
    return {
        "answers": _nested(numbers.answers),
        "exits": {reason: count for reason, count in numbers.exits.items() if count},
        "waiting": numbers.waiting,
        "running": numbers.running,
        "last": numbers.last,
        "total": _describe_histogram(numbers.total),
        "queue": _describe_histogram(numbers.queue),
        "execute": _describe_histogram(numbers.execute),
        "batch": _describe_histogram(numbers.batch),
    }


def _describe_histogram(histogram: Histogram) -> Document:
    return {"counts": histogram.counts, "sum": histogram.total}


def _nested(counts: Counter[tuple[str, str]]) -> Mapping[str, Mapping[str, int]]:
    """By dialect, then by code."""
    found: dict[str, dict[str, int]] = {}
    for (dialect, code), count in counts.items():
        found.setdefault(dialect, {})[code] = count
    return found


def own_memory() -> int | None:
    """Bytes that this process has in memory; ``None`` where the system doesn't tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
