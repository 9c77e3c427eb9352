"""Metrics of a model's own: counters, gauges and histograms, which the server's ``/metrics`` has."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final

from dragoman.compat.triton_python_backend_utils.errors import TritonModelException
from dragoman.compat.triton_python_backend_utils.host import current
from dragoman.model_metrics import COUNTER, GAUGE, HISTOGRAM, Value

_KINDS: Final = (COUNTER, GAUGE, HISTOGRAM)


class MetricFamily:
    """Metrics of one name, kind and description, which differ in their labels."""

    COUNTER: Final = 0
    GAUGE: Final = 1
    HISTOGRAM: Final = 2

    def __init__(self, name: str, description: str = "", kind: int = COUNTER) -> None:
        if int(kind) not in range(len(_KINDS)):
            raise TritonModelException(f"unknown kind of metric {kind!r}")
        self.name, self.description, self.kind = name, description, _KINDS[int(kind)]
        self._labels: set[tuple[tuple[str, str], ...]] = set()

    def Metric(  # noqa: N802 - its users' name
        self, labels: Mapping[str, str] | None = None, buckets: Sequence[float] | None = None
    ) -> "Metric":
        """The metric with these labels. Histograms have the server's buckets, whatever ``buckets`` says."""
        if buckets is not None and self.kind != HISTOGRAM:
            raise TritonModelException("only a histogram has buckets")
        found = tuple((str(key), str(text)) for key, text in (labels or {}).items())
        return Metric(self, found)


class Metric:
    """One series of numbers; any thread may change it."""

    def __init__(self, family: MetricFamily, labels: tuple[tuple[str, str], ...]) -> None:
        self._family, self._labels = family, labels
        self._pending = current().pending
        self._value = 0.0
        self._lock = threading.Lock()

    def increment(self, value: float) -> None:
        """A counter goes up by ``value``; a gauge may go down, too."""
        if self._family.kind == HISTOGRAM:
            raise TritonModelException("a histogram can't be incremented: it observes")
        if self._family.kind == COUNTER and value < 0:
            raise TritonModelException(
                "TRITONSERVER_METRIC_KIND_COUNTER can only be incremented monotonically"
                " by non-negative values."
            )
        with self._lock:
            self._value += value
            self._tell(self._value if self._family.kind == GAUGE else value)

    def set(self, value: float) -> None:
        """Where a gauge stands."""
        if self._family.kind != GAUGE:
            raise TritonModelException(f"a {self._family.kind} can't be set")
        with self._lock:
            self._value = value
            self._tell(value)

    def observe(self, value: float) -> None:
        """A histogram's next value."""
        if self._family.kind != HISTOGRAM:
            raise TritonModelException(f"a {self._family.kind} can't observe")
        self._tell(value)

    def value(self) -> float:
        """What a counter or gauge of this process has come to."""
        if self._family.kind == HISTOGRAM:
            raise TritonModelException("a histogram has no value")
        return self._value

    def _tell(self, value: float) -> None:
        family = self._family
        self._pending.add(Value(family.name, family.kind, "", self._labels, float(value), "", time.time()))
