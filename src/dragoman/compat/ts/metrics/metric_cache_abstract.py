"""A model's metrics by kind and name: what a handler finds as ``context.metrics``.

Every value is written to standard output, the way TorchServe's log readers expect, and handed to ``take``.
"""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from dragoman.compat.ts.metrics.caching_metric import CachingMetric, Take, make_metric
from dragoman.compat.ts.metrics.dimension import Dimension
from dragoman.compat.ts.metrics.metric_cache_errors import (
    MetricsCacheKeyError,
    MetricsCacheTypeError,
    MetricsCacheValueError,
)
from dragoman.compat.ts.metrics.metric_type_enum import MetricTypes

logger = logging.getLogger(__name__)

_TIMES: Final = ("ms", "s")
_SIZES: Final = ("B", "kB", "MB", "GB")


class MetricCacheAbstract:
    """``idx`` is a request's place in the batch; without it a value is of all requests of the batch.

    ``written`` says whether values are written out at all.
    """

    def __init__(self, config_file_path: str | None = None, take: Take | None = None) -> None:
        self.config_file_path = config_file_path
        self.cache: dict[MetricTypes, dict[str, CachingMetric]] = {}
        self.request_ids: Mapping[int, str] | None = None
        self.model_name: str | None = None
        self.store: list[Any] = []  # where old handlers look for what is still to be written: nothing is
        self.written = True
        self._take = take

    def take_values(self, take: Take) -> None:
        """From now on ``take`` gets every value."""
        self._take = take

    def set_request_ids(self, request_ids: Mapping[int, str] | None) -> None:
        self.request_ids = request_ids

    def add_metric(
        self,
        name: str,
        value: float,
        unit: str,
        idx: int | None = None,
        dimensions: Sequence[Dimension] = (),
        metric_type: MetricTypes = MetricTypes.COUNTER,
    ) -> None:
        """Any metric, in any unit."""
        self._add(name, value, unit, self._request(idx), dimensions, metric_type)

    def add_counter(
        self, name: str, value: float, idx: int | None = None, dimensions: Sequence[Dimension] = ()
    ) -> None:
        """How much a count goes up by."""
        self._add(name, value, "count", self._request(idx), dimensions, MetricTypes.COUNTER)

    def add_time(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        unit: str = "ms",
        dimensions: Sequence[Dimension] = (),
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        """A duration, in ``ms`` or ``s``."""
        if unit not in _TIMES:
            raise MetricsCacheValueError(f"the unit of a time is one of {', '.join(_TIMES)}, got {unit!r}")
        self._add(name, value, unit, self._request(idx), dimensions, metric_type)

    def add_size(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        unit: str = "MB",
        dimensions: Sequence[Dimension] = (),
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        """A size, in ``B``, ``kB``, ``MB`` or ``GB``."""
        if unit not in _SIZES:
            raise MetricsCacheValueError(f"the unit of a size is one of {', '.join(_SIZES)}, got {unit!r}")
        self._add(name, value, unit, self._request(idx), dimensions, metric_type)

    def add_percent(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        dimensions: Sequence[Dimension] = (),
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        """A share, in percent."""
        self._add(name, value, "percent", self._request(idx), dimensions, metric_type)

    def add_error(self, name: str, value: float, dimensions: Sequence[Dimension] = ()) -> None:
        """A count of failures; its level is ``Error`` and it is no request's."""
        self._add(name, value, "", "", _with(dimensions, Level="Error"), MetricTypes.COUNTER, own=False)

    def add_metric_to_cache(
        self,
        metric_name: str,
        unit: str,
        dimension_names: Sequence[str] = (),
        metric_type: MetricTypes = MetricTypes.COUNTER,
    ) -> CachingMetric:
        """A new metric to keep and give values to; it takes the place of one of the same kind and name."""
        for what, value in (("metric_name", metric_name), ("unit", unit)):
            if not isinstance(value, str):
                raise MetricsCacheTypeError(f"{what} must be text, got {value!r}")
        if not isinstance(metric_type, MetricTypes):
            raise MetricsCacheTypeError(f"metric_type must be one of MetricTypes, got {metric_type!r}")
        if isinstance(dimension_names, str) or not isinstance(dimension_names or (), Sequence):
            raise MetricsCacheTypeError(f"dimension_names must be a list of text, got {dimension_names!r}")
        metric = CachingMetric(metric_name, unit, dimension_names, metric_type, self._emit)
        self.cache.setdefault(metric_type, {})[metric_name] = metric
        return metric

    def get_metric(self, metric_name: str, metric_type: MetricTypes = MetricTypes.COUNTER) -> CachingMetric:
        """The metric of this kind and name; raises MetricsCacheKeyError when there is none."""
        if not isinstance(metric_name, str) or not isinstance(metric_type, MetricTypes):
            raise MetricsCacheTypeError(
                f"a metric has a name and a kind, got {metric_name!r} and {metric_type!r}"
            )
        try:
            return self.cache[metric_type][metric_name]
        except KeyError:
            raise MetricsCacheKeyError(f"there is no {metric_type.value} {metric_name!r}") from None

    def cache_keys(self) -> list[str]:
        """``kind:name`` of every metric."""
        return [f"{kind.value}:{name}" for kind, metrics in self.cache.items() for name in metrics]

    def _add(
        self,
        name: str,
        value: float,
        unit: str,
        request: str,
        dimensions: Sequence[Dimension],
        kind: MetricTypes,
        own: bool = True,
    ) -> None:
        if own:
            dimensions = _with(dimensions, ModelName=self.model_name, Level="Model")
        names = [dimension.name for dimension in dimensions]
        metric = self.cache.get(kind, {}).get(name)
        if metric is None or metric.dimension_names != names:
            metric = self.add_metric_to_cache(name, unit, names, kind)
        metric.add_or_update(value, [dimension.value for dimension in dimensions], request)

    def _request(self, idx: int | None) -> str:
        ids = self.request_ids or {}
        return ids[idx] if idx is not None and idx in ids else ",".join(ids.values())

    def _emit(
        self, metric: CachingMetric, value: float, dimension_values: Sequence[Any], request: str
    ) -> None:
        if self.written:
            line = f"[METRICS]{make_metric(metric, value, dimension_values, request)}\n"
            self._to_stdout(lambda: sys.stdout.write(line))
        if self._take is not None:
            self._take(metric, value, dimension_values, request)

    def flush(self) -> None:
        """Let those who read standard output see what was written."""
        if self.written:
            self._to_stdout(sys.stdout.flush)

    def _to_stdout(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except (OSError, ValueError):  # nobody reads it, or it is closed: not the handler's failure
            self.written = False


def _with(dimensions: Sequence[Dimension] | None, **more: Any) -> list[Dimension]:
    """``dimensions`` and those of ``more`` that are not among them. The caller's list stays as it is."""
    result = list(dimensions or ())
    names = {dimension.name for dimension in result}
    return result + [Dimension(name, value) for name, value in more.items() if name not in names]
