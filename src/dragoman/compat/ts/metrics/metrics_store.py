"""The old metrics object: keeps its metrics in a list until the handler has them written."""

from collections.abc import Mapping

from dragoman.compat.ts.metrics.metric import Metric
from dragoman.compat.ts.metrics.metric_cache_abstract import MetricCacheAbstract


class MetricsStore(MetricCacheAbstract):
    """``store`` is for ``ts.service.emit_metrics``."""

    def __init__(self, request_ids: Mapping[int, str] | None, model_name: str | None) -> None:
        super().__init__()
        self.request_ids, self.model_name = request_ids, model_name

    def _emit(self, metric: Metric) -> None:
        self.store.append(metric)
