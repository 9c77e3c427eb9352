"""Models' own metrics beside the server's, for Prometheus: the names that models gave them, and whose they are.

A model can't take the server's names, nor the labels that say whose a number is.
"""

from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Final

from prometheus_client.metrics_core import Metric

from dragoman.model_metrics import BUCKETS, COUNTER, HISTOGRAM, Labels, Series
from dragoman.model_metrics import Metric as Own
from dragoman.stats import Stats

#: What begins like this is the server's, or Prometheus' own.
_TAKEN: Final = ("dragoman_", "process_", "python_")
_OURS: Final = ("model", "version")
_BOUNDS: Final = (*map(repr, BUCKETS), "+Inf")


def own_metrics(stats: Stats) -> Iterator[Metric]:
    """A family for each name, over all models. Of a name that is of two kinds the first model's counts."""
    families: dict[str, Metric] = {}
    for (model, version), numbers in sorted(stats.models.items()):
        for metric in numbers.metrics:
            name = metric.name.removesuffix("_total") if metric.kind == COUNTER else metric.name
            if name.startswith(_TAKEN):
                continue
            text = f"A model's own, in {metric.unit}" if metric.unit else "A model's own"
            family = families.setdefault(name, Metric(name, text, metric.kind))
            if family.type == metric.kind:
                _add(family, metric, {"model": model, "version": version})
    yield from families.values()


def _add(family: Metric, metric: Own, whose: dict[str, str]) -> None:
    for labels, series in metric.series.items():
        all_labels = whose | _renamed(labels)
        if metric.kind == HISTOGRAM:
            _add_histogram(family, series, all_labels)
        else:
            suffix = "_total" if metric.kind == COUNTER else ""
            family.add_sample(family.name + suffix, all_labels, series.value)


def _add_histogram(family: Metric, series: Series, labels: dict[str, str]) -> None:
    sums = list(accumulate(series.counts))
    for bound, count in zip(_BOUNDS, sums, strict=True):
        family.add_sample(f"{family.name}_bucket", labels | {"le": bound}, count)
    family.add_sample(f"{family.name}_count", labels, sums[-1])
    family.add_sample(f"{family.name}_sum", labels, series.value)


def _renamed(labels: Labels) -> dict[str, Any]:
    """As Prometheus does it with labels that are taken."""
    return {f"exported_{key}" if key in (*_OURS, "le") else key: text for key, text in labels}
