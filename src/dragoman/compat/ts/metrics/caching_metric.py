"""A metric that a handler keeps and gives values to."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from dragoman.compat.ts.metrics.dimension import Dimension
from dragoman.compat.ts.metrics.metric import Metric
from dragoman.compat.ts.metrics.metric_type_enum import MetricTypes

logger = logging.getLogger(__name__)


#: Takes a value: the metric, the value, the values of the metric's dimensions, the request's id.
Take = Callable[["CachingMetric", float, Sequence[Any], str], None]


class CachingMetric:
    """A metric's name, unit, kind and dimensions. ``take`` gets every value that is given to it."""

    def __init__(
        self,
        metric_name: str,
        unit: str,
        dimension_names: Sequence[str] | None = None,
        metric_type: MetricTypes = MetricTypes.COUNTER,
        take: "Take | None" = None,
    ) -> None:
        self.metric_name, self.unit, self.metric_type = metric_name, unit, metric_type
        self.dimension_names = list(dimension_names or ())
        self._take = take or _write

    def add_or_update(self, value: float, dimension_values: Sequence[Any] = (), request_id: str = "") -> None:
        """Give a value; ``dimension_values`` go with the dimensions' names. A wrong call is logged, not raised."""
        if len(dimension_values) != len(self.dimension_names):
            names = ", ".join(self.dimension_names) or "none"
            logger.error(
                "metric %s: %s don't fit its dimensions: %s", self.metric_name, dimension_values, names
            )
        elif self.metric_type is MetricTypes.COUNTER and value < 0:
            logger.error("metric %s is a counter and can't go down by %s", self.metric_name, -value)
        else:
            self._take(self, value, dimension_values, request_id)

    def update(self, value: float, request_id: str = "", dimensions: Sequence[Dimension] = ()) -> None:
        """The old form: these dimensions take the place of the metric's own."""
        self.dimension_names = [dimension.name for dimension in dimensions]
        self.add_or_update(value, [dimension.value for dimension in dimensions], request_id)


def make_metric(
    metric: CachingMetric, value: float, dimension_values: Sequence[Any], request_id: str
) -> Metric:
    """One value of ``metric`` with everything that is written of it."""
    pairs = zip(metric.dimension_names, dimension_values, strict=True)
    dimensions = [Dimension(name, each) for name, each in pairs]
    kind = metric.metric_type
    return Metric(metric.metric_name, value, metric.unit, dimensions, request_id, metric_type=kind)


def _write(metric: CachingMetric, value: float, dimension_values: Sequence[Any], request_id: str) -> None:
    print(f"[METRICS]{make_metric(metric, value, dimension_values, request_id)}")
