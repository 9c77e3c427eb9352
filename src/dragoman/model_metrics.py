"""Numbers that models take of themselves: values by metric and labels, summed up. Knows no process and no wire.

::

    model ──value──► Pending ──now and then, together──► ModelMetrics ──► views

What models say is not trusted: names, labels and how many of them there may be are limited here, on both ways in.
"""

import logging
import math
import re
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

log = logging.getLogger("dragoman.model_metrics")

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"
KINDS: Final = (COUNTER, GAUGE, HISTOGRAM)
#: Upper bounds of a histogram's buckets: those of Prometheus' client libraries.
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
#: Series (a metric with one set of labels) that one model may have; values of more are left out.
MOST_SERIES: Final = 1000
MOST_LABELS: Final = 16
#: Characters of a name, of a label's value or unit, and of the ids of the requests that a value belongs to.
LONGEST_NAME: Final = 200
LONGEST_TEXT: Final = 500
LONGEST_REQUESTS: Final = 8192
#: Values that may wait to be taken; what comes then is left out.
MOST_PENDING: Final = 10_000
_NAME: Final = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_LABEL: Final = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]*")

Labels = tuple[tuple[str, str], ...]


class Declared(NamedTuple):
    """What an operator says of a metric before it has values."""

    kind: str
    unit: str
    labels: tuple[str, ...]


class Value(NamedTuple):
    """One value that a model gave a metric: how much a counter goes up by, where a gauge stands, an observation.

    ``requests`` are ids, joined by commas; ``time`` is in seconds since 1970.
    """

    name: str
    kind: str
    unit: str
    labels: Labels
    value: float
    requests: str = ""
    time: float = 0.0


class Series:
    """A metric's numbers under one set of labels: a sum, or where a gauge stands; a histogram's ``counts``, too."""

    __slots__ = ("counts", "time", "value")

    def __init__(self, kind: str) -> None:
        self.value = 0.0
        self.time = 0.0
        self.counts = [0] * (len(BUCKETS) + 1) if kind == HISTOGRAM else []


class Metric:
    """A metric and its series. The first value decides about kind and unit."""

    __slots__ = ("kind", "name", "series", "unit")

    def __init__(self, name: str, kind: str, unit: str) -> None:
        self.name, self.kind, self.unit = name, kind, unit
        self.series: dict[Labels, Series] = {}

    def put(self, value: Value) -> None:
        series = self._series(value.labels)
        if self.kind == GAUGE:
            series.value, series.time = value.value, value.time
            return
        series.value += value.value
        if self.kind == HISTOGRAM:
            series.counts[bisect_left(BUCKETS, value.value)] += 1

    def add(self, labels: Labels, value: float, time: float, counts: Sequence[int]) -> None:
        """Take in the numbers of a series that was kept elsewhere; of a gauge the newest stays."""
        series = self._series(labels)
        if self.kind != GAUGE:
            series.value += value
            series.counts = [mine + theirs for mine, theirs in zip(series.counts, counts, strict=True)]
        elif time >= series.time:
            series.value, series.time = value, time

    def _series(self, labels: Labels) -> Series:
        series = self.series.get(labels)
        if series is None:
            series = self.series[labels] = Series(self.kind)
        return series


class ModelMetrics:
    """The metrics of one model, of at most ``most`` series. ``told`` hears of every value, whatever becomes of it."""

    def __init__(
        self, told: Callable[[Sequence[Value]], None] | None = None, most: int = MOST_SERIES
    ) -> None:
        self._metrics: dict[str, Metric] = {}
        self._told = told
        self._most = most
        self._count = 0
        self._full = False

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._metrics.values())

    def take(self, values: Sequence[Value]) -> None:
        """Take in what a model has said. One metric has one kind: a value of another one is left out."""
        for value in values:
            metric = self._find(value.name, value.kind, value.unit, value.labels)
            if metric is not None and (value.kind != COUNTER or value.value >= 0):
                metric.put(value)
        if self._told is not None:
            self._told(values)

    def snapshot(self) -> list[list[Any]]:
        """Plain lists and numbers, for another process."""
        return [
            [metric.name, metric.kind, metric.unit, labels, series.value, series.time, series.counts]
            for metric in self
            for labels, series in metric.series.items()
        ]

    def add(self, snapshot: Iterable[Sequence[Any]]) -> None:
        """Take in another one's snapshot."""
        for name, kind, unit, labels, value, when, counts in snapshot:
            found = tuple((key, text) for key, text in labels)
            metric = self._find(name, kind, unit, found)
            if metric is not None:
                metric.add(found, value, when, counts)

    def _find(self, name: str, kind: str, unit: str, labels: Labels) -> Metric | None:
        """The metric, if it is of that kind and there is room for one more series."""
        metric = self._metrics.get(name)
        if metric is not None and metric.kind != kind:
            return None
        if metric is None or labels not in metric.series:
            if self._count >= self._most:
                self._tell_full(name)
                return None
            self._count += 1
        if metric is None:
            metric = self._metrics[name] = Metric(name, kind, unit)
        return metric

    def _tell_full(self, name: str) -> None:
        if not self._full:
            self._full = True
            log.warning("a model has too many metrics", extra={"metric": name, "most": self._most})


class Pending:
    """Values that a model has given and nobody has taken yet, in the model's own process. Any thread may call it.

    Only those of ``declared`` metrics count, unless ``detect`` lets every other be as its first value is. ``each``
    keeps every value by itself; without it they are summed up, so that it doesn't matter how many there are.
    """

    def __init__(
        self, declared: Mapping[str, Declared] | None = None, *, detect: bool = True, each: bool = False
    ) -> None:
        self._declared = dict(declared or {})
        self._detect = detect
        self._each = each
        self._lock = threading.Lock()
        self._there = threading.Event()
        self._values: list[Value] = []
        self._gauges: list[Gauge] = []
        self._places: dict[_Key, int] = {}  # of the values that are summed up
        self._known: dict[_Key, _Key | None] = {}  # what becomes of the series that have been seen
        self.left_out = 0  #: values that found no room

    def wants(self, name: str) -> bool:
        """Whether values of this metric are of any use."""
        return self._detect or name in self._declared

    def add(self, value: Value) -> None:
        """Keep a value. What makes no sense, or doesn't fit what was declared, is left out."""
        if not math.isfinite(value.value):
            return
        with self._lock:
            self._keep(value)
        if not self._there.is_set():
            self._there.set()

    def gauge(self, value: Value) -> "Gauge":
        """A gauge that is set all the time: only where it stands when somebody looks counts, whatever ``each`` says."""
        with self._lock:
            gauge = Gauge(self._there, self._settle(value))
            self._gauges.append(gauge)
        return gauge

    def take(self) -> list[Value]:
        """All that is there, oldest first."""
        with self._lock:
            values, self._values = self._values, []
            self._places.clear()
            self._there.clear()
            now = time.time()
            for gauge in self._gauges:
                values += gauge.take(now)
        return values

    def wait(self) -> None:
        """Until there is something to take, or somebody calls ``wake``."""
        self._there.wait()

    def wake(self) -> None:
        self._there.set()

    def _keep(self, value: Value) -> None:
        key = value[:4]
        if key not in self._known:
            if len(self._known) >= MOST_SERIES:
                self.left_out += 1
                return
            self._known[key] = self._settle(value)
        settled = self._known[key]
        if settled is None or (settled[1] == COUNTER and value.value < 0):
            return
        place = self._places.get(settled)
        if place is not None:
            total = value.value + (self._values[place].value if settled[1] == COUNTER else 0.0)
            self._values[place] = Value(*settled, total, value.requests, value.time)
        elif len(self._values) >= MOST_PENDING:
            self.left_out += 1
        else:
            if not self._each and settled[1] != HISTOGRAM:
                self._places[settled] = len(self._values)
            self._values.append(Value(*settled, value.value, value.requests[:LONGEST_REQUESTS], value.time))

    def _settle(self, value: Value) -> "_Key | None":
        """The series that the value goes to: what was declared wins, and its labels count by their order."""
        declared = self._declared.get(value.name)
        if declared is None and not self._detect:
            return None
        if declared is not None:
            if len(declared.labels) != len(value.labels):
                names = ", ".join(declared.labels)
                log.warning("metric %s is declared with the labels %s and has others", value.name, names)
                return None
            labels = tuple(zip(declared.labels, (text for _, text in value.labels), strict=True))
            value = value._replace(kind=declared.kind, unit=declared.unit, labels=labels)
        labels = tuple((key, text[:LONGEST_TEXT]) for key, text in value.labels)
        value = Value(value.name, value.kind, value.unit[:LONGEST_TEXT], labels, 0.0)
        if not is_sound(value):
            log.warning("metric %.200r can't be shown: its name, a label or its kind is none", value.name)
            return None
        return value[:4]


class Gauge:
    """Where one series stands; set by the thread that runs the model."""

    __slots__ = ("_key", "_there", "_value")

    def __init__(self, there: threading.Event, key: "_Key | None") -> None:
        self._there = there
        self._key = key
        self._value: float | None = None

    def set(self, value: float) -> None:
        self._value = value
        if not self._there.is_set():
            self._there.set()

    def take(self, now: float) -> list[Value]:
        """What it was set to since the last time, if it was."""
        value, self._value = self._value, None
        if value is None or self._key is None:
            return []
        return [Value(*self._key, value, "", now)]


_Key = tuple[str, str, str, Labels]


def is_sound(value: Value) -> bool:
    """Whether this is a value that anybody could show, and within all limits."""
    return (
        value.kind in KINDS
        and len(value.name) <= LONGEST_NAME
        and _NAME.fullmatch(value.name) is not None
        and len(value.labels) <= MOST_LABELS
        and len(dict(value.labels)) == len(value.labels)
        and all(len(key) <= LONGEST_NAME and _LABEL.fullmatch(key) for key, _ in value.labels)
        and all(len(text) <= LONGEST_TEXT for text in (value.unit, *(text for _, text in value.labels)))
        and len(value.requests) <= LONGEST_REQUESTS
        and math.isfinite(value.value)
        and math.isfinite(value.time)
    )
