"""The numbers of ``stats`` under the names TorchServe gives them, in its text form. Counts nothing itself.

Its gauges of the last request (QueueTime, PredictionTime, ...) have no numbers here: a scrape in between sees
none of them; the counters of microseconds say more. Their names are there, as in TorchServe before a request.
"""

import math
import shutil
import socket
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from dragoman.errors import Code
from dragoman.stats import OK, Stats

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]
Sample = tuple[str, Labels, float]

#: Every metric: its name, kind and unit as TorchServe's own metrics.yaml has them.
METRICS: Final = (
    ("Requests2XX", "counter", "Count"),
    ("Requests4XX", "counter", "Count"),
    ("Requests5XX", "counter", "Count"),
    ("ts_inference_requests_total", "counter", "Count"),
    ("ts_inference_latency_microseconds", "counter", "Microseconds"),
    ("ts_queue_latency_microseconds", "counter", "Microseconds"),
    ("QueueTime", "gauge", "Milliseconds"),
    ("WorkerThreadTime", "gauge", "Milliseconds"),
    ("WorkerLoadTime", "gauge", "Milliseconds"),
    ("CPUUtilization", "gauge", "Percent"),
    ("MemoryUsed", "gauge", "Megabytes"),
    ("MemoryAvailable", "gauge", "Megabytes"),
    ("MemoryUtilization", "gauge", "Percent"),
    ("DiskUsage", "gauge", "Gigabytes"),
    ("DiskUtilization", "gauge", "Percent"),
    ("DiskAvailable", "gauge", "Gigabytes"),
    ("GPUMemoryUtilization", "gauge", "Percent"),
    ("GPUMemoryUsed", "gauge", "Megabytes"),
    ("GPUUtilization", "gauge", "Percent"),
    ("HandlerTime", "gauge", "ms"),
    ("PredictionTime", "gauge", "ms"),
)
#: The answers that count as the server's fault; the others but ``ok`` are the client's.
_OURS: Final = frozenset(
    code.value
    for code in (
        Code.OVERLOADED, Code.NOT_READY, Code.DEADLINE_EXCEEDED, Code.MODEL_FAILED,
        Code.MODEL_OUTPUT_INVALID, Code.INTERNAL,
    )
)  # fmt: skip
_HOST: Final = socket.gethostname()


def render(
    stats: Stats,
    defaults: Mapping[str, str],
    names: Collection[str] = (),
    *,
    system: bool = True,
    host: str = _HOST,
) -> bytes:
    """A whole scrape, or the metrics in ``names`` only.

    ``defaults`` are the versions that answer for each model when a request names none: they are called "default".
    """
    samples: dict[str, list[Sample]] = {}
    for sample in (*_counted(stats, defaults, host), *(_measured(host) if system else ())):
        samples.setdefault(sample[0], []).append(sample)
    lines = []
    for name, kind, unit in METRICS:
        if not names or name in names:
            lines.append(
                f"# HELP {name} Torchserve prometheus {kind} metric with unit: {unit}\n# TYPE {name} {kind}\n"
            )
            lines += [_line(sample) for sample in samples.get(name, ())]
    return "".join(lines).encode()


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


def _counted(stats: Stats, defaults: Mapping[str, str], host: str) -> Iterator[Sample]:
    yield from _requests(stats, host)
    for (model, version), numbers in sorted(stats.models.items()):
        if not numbers.total.count and not numbers.answers:
            continue
        shown = "default" if defaults.get(model, version) == version else version
        labels = (("model_name", model), ("model_version", shown), ("hostname", host))
        count = sum(n for (_, code), n in numbers.answers.items() if code == OK)
        yield "ts_inference_requests_total", labels, float(count)
        yield "ts_inference_latency_microseconds", labels, numbers.total.total * 1e6
        yield "ts_queue_latency_microseconds", labels, numbers.queue.total * 1e6


def _requests(stats: Stats, host: str) -> Iterator[Sample]:
    totals = {"Requests2XX": 0, "Requests4XX": 0, "Requests5XX": 0}
    counters = (stats.refused, *(numbers.answers for numbers in stats.models.values()))
    for counter in counters:
        for (_, code), n in counter.items():
            if code != Code.CANCELLED.value:  # nobody was there to be answered
                totals[
                    "Requests2XX" if code == OK else "Requests5XX" if code in _OURS else "Requests4XX"
                ] += n
    labels = (("Level", "Host"), ("Hostname", host))
    yield from ((name, labels, float(count)) for name, count in totals.items() if count)


def _measured(host: str) -> Iterator[Sample]:
    labels = (("Level", "Host"), ("Hostname", host))
    disk = shutil.disk_usage("/")
    gigabyte, megabyte = 2.0**30, 2.0**20
    yield "DiskUsage", labels, disk.used / gigabyte
    yield "DiskAvailable", labels, disk.free / gigabyte
    yield "DiskUtilization", labels, round(100 * disk.used / max(1, disk.used + disk.free), 1)
    memory = _memory()
    if memory is not None:
        total, available = memory
        yield "MemoryUsed", labels, (total - available) / megabyte
        yield "MemoryAvailable", labels, available / megabyte
        yield "MemoryUtilization", labels, round(100 * (total - available) / max(1, total), 1)


def _memory() -> tuple[int, int] | None:
    """Total and available bytes; ``None`` where the system doesn't tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["MemTotal"].split()[0]) * 1024, int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None


def _line(sample: Sample) -> str:
    name, labels, value = sample
    inner = "".join(f'{key}="{_escape(text)}",' for key, text in labels)
    return f"{name}{{{inner}}} {java_double(value)}\n"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
