"""The old metrics object: keeps its metrics in a list until the handler has them written."""

from collections.abc import Mapping, Sequence
from typing import Any

from dragoman.compat.ts.metrics.caching_metric import CachingMetric, make_metric
from dragoman.compat.ts.metrics.metric_cache_abstract import MetricCacheAbstract


class MetricsStore(MetricCacheAbstract):
    """``store`` is for ``ts.service.emit_metrics``."""

    def __init__(self, request_ids: Mapping[int, str] | None, model_name: str | None) -> None:
        super().__init__()
        self.request_ids, self.model_name = request_ids, model_name

    def _emit(
        self, metric: CachingMetric, value: float, dimension_values: Sequence[Any], request: str
    ) -> None:
        self.store.append(make_metric(metric, value, dimension_values, request))
