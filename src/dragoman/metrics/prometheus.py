"""The numbers of ``stats`` in Prometheus' text format. Counts nothing itself; everything happens at the scrape."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from dragoman.metrics.own import own_metrics
from dragoman.monitoring.monitor import Monitor
from dragoman.stats import FAILED, HIT, MISS, Histogram, ModelStats, Stats

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Every metric: name, kind, what it tells (units included) and its labels. The docs are checked against this table.
METRICS = (
    (
        "dragoman_requests",
        "counter",
        "Answers, by the code of their outcome",
        ("model", "version", "dialect", "code"),
    ),
    ("dragoman_refused_requests", "counter", "Requests that no model saw", ("dialect", "code")),
    ("dragoman_request_seconds", "histogram", "From arrival to answer, in seconds", ("model", "version")),
    ("dragoman_queue_seconds", "histogram", "From arrival to execution, in seconds", ("model", "version")),
    ("dragoman_execute_seconds", "histogram", "One execution, in seconds", ("model", "version")),
    ("dragoman_batch_rows", "histogram", "Rows of one execution", ("model", "version")),
    ("dragoman_waiting_requests", "gauge", "Requests in the queue now", ("model", "version")),
    ("dragoman_running_requests", "gauge", "Requests being executed now", ("model", "version")),
    (
        "dragoman_cache_hits",
        "counter",
        "Requests answered from what was kept",
        ("model", "version", "source"),
    ),
    (
        "dragoman_cache_misses",
        "counter",
        "Requests whose answers were not kept",
        ("model", "version", "source"),
    ),
    (
        "dragoman_cache_failures",
        "counter",
        "Requests whose answers could not be looked for",
        ("model", "version", "source"),
    ),
    (
        "dragoman_cache_seconds",
        "counter",
        "Looking for kept answers and keeping new ones, in seconds",
        ("model", "version", "source", "outcome"),
    ),
    ("dragoman_cache_bytes", "gauge", "Answers kept in memory now, in bytes", ()),
    ("dragoman_cache_entries", "gauge", "Answers kept in memory now", ()),
    ("dragoman_cache_evictions", "counter", "Answers that had to go for others", ()),
    ("dragoman_jobs_accepted", "counter", "Jobs that were accepted", ()),
    ("dragoman_jobs_begun", "counter", "Runs of jobs, each new try included", ()),
    ("dragoman_jobs_running", "gauge", "Jobs that run now", ()),
    ("dragoman_jobs_ended", "counter", "Jobs that have ended", ("state",)),
    ("dragoman_webhooks", "counter", "Tries to tell of a job's end", ("outcome",)),
    ("dragoman_worker_exits", "counter", "Worker processes that ended", ("model", "version", "reason")),
    ("dragoman_payloads", "counter", "Requests and answers kept by the payload log", ("outcome",)),
    ("dragoman_memory_bytes", "gauge", "Memory of the server's own process, in bytes", ()),
    (
        "dragoman_model_memory_bytes",
        "gauge",
        "Memory of a model's processes, in bytes",
        ("model", "version"),
    ),
    ("dragoman_kept_predictions", "counter", "Predictions to be kept, by what became of them", ("outcome",)),
    (
        "dragoman_drift",
        "gauge",
        "How far a feature has moved from the model's reference",
        ("model", "version", "feature", "test"),
    ),
    (
        "dragoman_drift_p_value",
        "gauge",
        "How often chance alone would move a feature so far",
        ("model", "version", "feature", "test"),
    ),
    ("dragoman_drift_rows", "gauge", "Values of a feature in the window", ("model", "version", "feature")),
    ("dragoman_accuracy", "gauge", "Share of the judged predictions that were right", ("model", "version")),
    ("dragoman_judged_predictions", "gauge", "Predictions with a label, in the window", ("model", "version")),
    (
        "dragoman_http_requests_in_flight",
        "gauge",
        "REST requests and gRPC calls being read, worked on or answered now",
        (),
    ),
    ("dragoman_start_time_seconds", "gauge", "When the server started, in seconds since 1970", ()),
)
_TABLE = {name: (kind, text, labels) for name, kind, text, labels in METRICS}
_KINDS: dict[str, Any] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}
_HISTOGRAMS = (
    ("dragoman_request_seconds", "total"),
    ("dragoman_queue_seconds", "queue"),
    ("dragoman_execute_seconds", "execute"),
    ("dragoman_batch_rows", "batch"),
)


#: Bytes of the server's own process, where they are told, and of each model's.
Memory = tuple[int | None, Mapping[tuple[str, str], int]]


def render(
    stats: Stats, in_flight: int, monitor: Monitor | None = None, memory: Memory | None = None
) -> bytes:
    """A whole scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_View(stats, in_flight, monitor, memory))
    return generate_latest(registry)


class _View(Collector):
    def __init__(self, stats: Stats, in_flight: int, monitor: Monitor | None, memory: Memory | None) -> None:
        self._stats = stats
        self._memory = memory
        self._monitor = monitor
        self._in_flight = in_flight

    def collect(self) -> Iterable[Metric]:
        stats = self._stats
        models = [([name, version], numbers) for (name, version), numbers in sorted(stats.models.items())]
        requests = _family("dragoman_requests")
        for labels, numbers in models:
            for (dialect, code), count in sorted(numbers.answers.items()):
                requests.add_metric([*labels, dialect, code], count)
        yield requests
        refused = _family("dragoman_refused_requests")
        for (dialect, code), count in sorted(stats.refused.items()):
            refused.add_metric([dialect, code], count)
        yield refused
        exits = _family("dragoman_worker_exits")
        for labels, numbers in models:
            for reason, count in sorted(numbers.exits.items()):
                exits.add_metric([*labels, reason], count)
        yield exits
        yield from _lookups(models)
        yield from _histograms(models)
        for name, attribute in (
            ("dragoman_waiting_requests", "waiting"),
            ("dragoman_running_requests", "running"),
        ):
            gauge = _family(name)
            for labels, numbers in models:
                gauge.add_metric(labels, getattr(numbers, attribute))
            yield gauge
        yield from _outcomes(stats)
        if self._memory is not None:
            yield from _memory(*self._memory)
        if self._monitor is not None:
            yield from _monitoring(stats, self._monitor)
        for name, value in (
            ("dragoman_cache_bytes", stats.cache.bytes),
            ("dragoman_cache_entries", stats.cache.entries),
            ("dragoman_cache_evictions", stats.cache.evictions),
            ("dragoman_jobs_accepted", stats.jobs.accepted),
            ("dragoman_jobs_begun", stats.jobs.begun),
            ("dragoman_jobs_running", stats.jobs.running),
            ("dragoman_http_requests_in_flight", self._in_flight),
            ("dragoman_start_time_seconds", stats.started),
        ):
            gauge = _family(name)
            gauge.add_metric([], value)
            yield gauge
        yield from own_metrics(stats)


def _lookups(models: list[tuple[list[str], ModelStats]]) -> Iterator[Metric]:
    for name, outcome in (
        ("dragoman_cache_hits", HIT), ("dragoman_cache_misses", MISS), ("dragoman_cache_failures", FAILED)
    ):  # fmt: skip
        family = _family(name)
        for labels, numbers in models:
            for (source, how), count in sorted(numbers.lookups.items()):
                if how == outcome:
                    family.add_metric([*labels, source], count)
        yield family
    seconds = _family("dragoman_cache_seconds")
    for labels, numbers in models:
        for key in sorted(numbers.lookups):
            seconds.add_metric([*labels, *key], numbers.lookup_seconds[key])
    yield seconds


def _outcomes(stats: Stats) -> Iterator[Metric]:
    for name, counts in (
        ("dragoman_jobs_ended", stats.jobs.ended),
        ("dragoman_webhooks", stats.jobs.webhooks),
        ("dragoman_payloads", stats.payloads),
        ("dragoman_kept_predictions", stats.observed),
    ):
        family = _family(name)
        for label, count in sorted(counts.items()):
            family.add_metric([label], count)
        yield family


def _memory(own: int | None, models: Mapping[tuple[str, str], int]) -> Iterator[Metric]:
    server, each = _family("dragoman_memory_bytes"), _family("dragoman_model_memory_bytes")
    if own is not None:
        server.add_metric([], own)
    for labels, size in sorted(models.items()):
        each.add_metric(labels, size)
    yield from (server, each)


def _monitoring(stats: Stats, monitor: Monitor) -> Iterator[Metric]:
    drift, p_value, rows = map(_family, ("dragoman_drift", "dragoman_drift_p_value", "dragoman_drift_rows"))
    for labels, (_, features) in monitor.drift(stats).items():
        for feature in features:
            rows.add_metric([*labels, feature.feature], feature.rows)
            for result in feature.results:
                drift.add_metric([*labels, feature.feature, result.test], result.statistic)
                if result.p is not None:
                    p_value.add_metric([*labels, feature.feature, result.test], result.p)
    accuracy, judged = _family("dragoman_accuracy"), _family("dragoman_judged_predictions")
    for each in monitor.accuracies:
        judged.add_metric([each.model, each.version], each.judged)
        if each.judged:
            accuracy.add_metric([each.model, each.version], each.right / each.judged)
    yield from (drift, p_value, rows, accuracy, judged)


def _histograms(models: list[tuple[list[str], ModelStats]]) -> Iterator[Metric]:
    for name, attribute in _HISTOGRAMS:
        family = _family(name)
        for labels, numbers in models:
            histogram: Histogram = getattr(numbers, attribute)
            sums = accumulate(histogram.counts)
            buckets = [
                (_bound(bound), float(n)) for bound, n in zip((*histogram.bounds, None), sums, strict=True)
            ]
            family.add_metric(labels, buckets, histogram.total)
        yield family


def _bound(bound: float | None) -> str:
    return "+Inf" if bound is None else repr(float(bound))


def _family(name: str) -> Any:
    kind, text, labels = _TABLE[name]
    return _KINDS[kind](name, text, labels=labels)
