"""The numbers of ``stats`` under the names TorchServe gives them, in its text form. Counts nothing itself.

Two of its gauges have no numbers here: WorkerThreadTime, which is of no use without its threads, and WorkerLoadTime,
whose label names a port. Nor have those of GPUs. Their names are there, as in TorchServe before a request.
"""

import math
import socket
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, NamedTuple

from dragoman.errors import Code
from dragoman.model_metrics import BUCKETS, COUNTER, GAUGE, HISTOGRAM, Declared, Labels, Metric, ModelMetrics
from dragoman.stats import OK, Stats

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_HOST: Final = ("Level", "Hostname")
_MODEL: Final = ("model_name", "model_version", "hostname")
_GPU: Final = ("Level", "DeviceId", "Hostname")
#: The server's own metrics, as TorchServe's metrics.yaml declares them. The last label is always the host.
FRONTEND: Final[Mapping[str, Declared]] = {
    "Requests2XX": Declared(COUNTER, "Count", _HOST),
    "Requests4XX": Declared(COUNTER, "Count", _HOST),
    "Requests5XX": Declared(COUNTER, "Count", _HOST),
    "ts_inference_requests_total": Declared(COUNTER, "Count", _MODEL),
    "ts_inference_latency_microseconds": Declared(COUNTER, "Microseconds", _MODEL),
    "ts_queue_latency_microseconds": Declared(COUNTER, "Microseconds", _MODEL),
    "QueueTime": Declared(GAUGE, "Milliseconds", _HOST),
    "WorkerThreadTime": Declared(GAUGE, "Milliseconds", _HOST),
    "WorkerLoadTime": Declared(GAUGE, "Milliseconds", ("WorkerName", *_HOST)),
    "CPUUtilization": Declared(GAUGE, "Percent", _HOST),
    "MemoryUsed": Declared(GAUGE, "Megabytes", _HOST),
    "MemoryAvailable": Declared(GAUGE, "Megabytes", _HOST),
    "MemoryUtilization": Declared(GAUGE, "Percent", _HOST),
    "DiskUsage": Declared(GAUGE, "Gigabytes", _HOST),
    "DiskUtilization": Declared(GAUGE, "Percent", _HOST),
    "DiskAvailable": Declared(GAUGE, "Gigabytes", _HOST),
    "GPUMemoryUtilization": Declared(GAUGE, "Percent", _GPU),
    "GPUMemoryUsed": Declared(GAUGE, "Megabytes", _GPU),
    "GPUUtilization": Declared(GAUGE, "Percent", _GPU),
}
#: Handlers' metrics that are declared where nobody declares others. The host comes by itself.
BACKEND: Final[Mapping[str, Declared]] = {
    "HandlerTime": Declared(GAUGE, "ms", ("ModelName", "Level")),
    "PredictionTime": Declared(GAUGE, "ms", ("ModelName", "Level")),
}
#: What "legacy" mode shows to Prometheus, as TorchServe before 0.8 did.
LEGACY: Final = frozenset(name for name in FRONTEND if name.startswith("ts_"))
#: The answers that count as the server's fault; the others but ``ok`` are the client's.
_OURS: Final = frozenset(
    code.value
    for code in (
        Code.OVERLOADED, Code.NOT_READY, Code.DEADLINE_EXCEEDED, Code.MODEL_FAILED,
        Code.MODEL_OUTPUT_INVALID, Code.INTERNAL,
    )
)  # fmt: skip
HOST: Final = socket.gethostname()


class Sample(NamedTuple):
    """One number of the server's. ``labels`` are their values; the host's is not among them."""

    name: str
    labels: tuple[str, ...]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is shown, and as what. Of handlers' metrics those that are in ``backend``, and with ``detect`` all."""

    frontend: Mapping[str, Declared] = field(default_factory=lambda: FRONTEND)
    backend: Mapping[str, Declared] = field(default_factory=lambda: BACKEND)
    detect: bool = False
    host: str = HOST

    def render(self, stats: Stats, samples: Iterable[Sample], names: Collection[str] = ()) -> bytes:
        """A whole scrape, or the metrics in ``names`` only. ``samples`` are the server's own."""
        found: dict[str, list[Sample]] = {}
        for sample in samples:
            found.setdefault(sample.name, []).append(sample)
        text = []
        for name, declared in self.frontend.items():
            if not names or name in names:
                text.append(_head(name, declared.kind, declared.unit))
                text += [self._line(declared, sample) for sample in found.get(name, ())]
        for metric in self._models(stats):
            if not names or metric.name in names:
                text.append(_head(metric.name, metric.kind, metric.unit))
                text += [line for labels in metric.series for line in self._lines(metric, labels)]
        return "".join(text).encode()

    def named(self, sample: Sample) -> Labels | None:
        """A sample's labels but the host, under their names; ``None`` where other ones are declared."""
        declared = self.frontend.get(sample.name)
        if declared is None or len(declared.labels) != len(sample.labels) + 1:
            return None
        return tuple(zip(declared.labels[:-1], sample.labels, strict=True))

    def shows(self, name: str) -> bool:
        """Whether a handler's metric of this name is shown."""
        return (self.detect or name in self.backend) and name not in self.frontend

    def _models(self, stats: Stats) -> Iterator[Metric]:
        """The handlers' metrics over all models and versions: their labels alone tell them apart."""
        together = ModelMetrics(most=sys.maxsize)
        for numbers in stats.models.values():
            together.add(numbers.metrics.snapshot())
        metrics = {metric.name: metric for metric in together}
        for name, declared in self.backend.items():
            if self.shows(name):
                yield metrics.pop(name, Metric(name, declared.kind, declared.unit))
        yield from (metric for metric in metrics.values() if self.shows(metric.name))

    def _line(self, declared: Declared, sample: Sample) -> str:
        labels = self.named(sample)
        return (
            ""
            if labels is None
            else _line(sample.name, (*labels, (declared.labels[-1], self.host)), sample.value)
        )

    def _lines(self, metric: Metric, labels: Labels) -> Iterator[str]:
        series, all_labels = metric.series[labels], (*labels, ("Hostname", self.host))
        if metric.kind == HISTOGRAM:
            sums = list(accumulate(series.counts))
            for bound, count in zip((*BUCKETS, math.inf), sums, strict=True):
                yield _line(f"{metric.name}_bucket", (*all_labels, ("le", java_double(bound))), count)
            yield _line(f"{metric.name}_count", all_labels, sums[-1])
            yield _line(f"{metric.name}_sum", all_labels, series.value)
        else:
            yield _line(metric.name, all_labels, series.value)


def count(stats: Stats, defaults: Mapping[str, str]) -> Iterator[Sample]:
    """The server's counts of requests.

    ``defaults`` are the versions that answer for each model when a request names none: they are called "default".
    """
    totals = {"Requests2XX": 0, "Requests4XX": 0, "Requests5XX": 0}
    for counter in (stats.refused, *(numbers.answers for numbers in stats.models.values())):
        for (_, code), n in counter.items():
            if code != Code.CANCELLED.value:  # nobody was there to be answered
                kind = "2XX" if code == OK else "5XX" if code in _OURS else "4XX"
                totals[f"Requests{kind}"] += n
    yield from (Sample(name, ("Host",), float(n)) for name, n in totals.items() if n)
    for (model, version), numbers in sorted(stats.models.items()):
        if numbers.total.count or numbers.answers:
            labels = (model, "default" if defaults.get(model, version) == version else version)
            yield Sample("ts_inference_requests_total", labels, float(numbers.answers.total()))
            yield Sample("ts_inference_latency_microseconds", labels, numbers.total.total * 1e6)
            yield Sample("ts_queue_latency_microseconds", labels, numbers.queue.total * 1e6)


def queue_time(stats: Stats) -> Iterator[Sample]:
    """How long the newest request waited, in whole milliseconds."""
    newest = max(stats.models.values(), key=lambda numbers: numbers.last, default=None)
    if newest is not None and newest.last:
        yield Sample("QueueTime", ("Host",), float(int(newest.queue.last * 1000)))


def java_double(value: float) -> str:
    """A number as Java's ``Double.toString`` writes it: ``6.0``, ``1.3375965742999999E7``."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    digits, _, exponent = repr(value).partition("e")  # Python needs none from 1e-4 to 1e16
    mantissa, power = _normal(digits)
    return f"{mantissa}E{power + int(exponent or 0)}"


def _normal(digits: str) -> tuple[str, int]:
    """``12345.6`` as ``1.23456`` and 4: the same number with one digit before the point."""
    sign, digits = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
    whole, _, fraction = digits.partition(".")
    significant = (whole + fraction).lstrip("0")
    power = len(whole) - 1 - (len(whole + fraction) - len(significant))
    return f"{sign}{significant[0]}.{significant[1:].rstrip('0') or '0'}", power


def _head(name: str, kind: str, unit: str) -> str:
    return (
        f"# HELP {name} Torchserve prometheus {kind} metric with unit: {_plain(unit)}\n# TYPE {name} {kind}\n"
    )


def _line(name: str, labels: Labels, value: float) -> str:
    inner = "".join(f'{key}="{_escape(text)}",' for key, text in labels)
    return f"{name}{{{inner}}} {java_double(float(value))}\n"


def _escape(text: str) -> str:
    return _plain(text).replace('"', '\\"')


def _plain(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
