"""A handler's own metrics: what it finds as ``context.metrics``, and where the values it gives them go."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dragoman.compat.ts.metrics.caching_metric import CachingMetric
from dragoman.compat.ts.metrics.metric_cache_errors import GeneralMetricsCacheError
from dragoman.compat.ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
from dragoman.compat.ts.metrics.metric_type_enum import MetricTypes
from dragoman.compat.ts.metrics.unit import UNITS
from dragoman.errors import ConfigError
from dragoman.model_metrics import Declared, Pending, Value
from dragoman.runtimes.base import Artifact


def make_metrics(artifact: Artifact) -> tuple[MetricsCacheYamlImpl, Pending]:
    """The metrics as ``artifact.options`` describe them, and the values that wait to be taken. Raises ConfigError."""
    options = artifact.options
    metrics = _read(options.get("metrics_config"), options.get("declared_metrics") or {})
    metrics.model_name = artifact.name
    metrics.written = options.get("print_metrics", True)
    declared = {
        metric.metric_name: Declared(kind.value, metric.unit, tuple(metric.dimension_names))
        for kind, found in metrics.cache.items()
        for metric in found.values()
    }
    pending = Pending(
        declared, detect=options.get("detect_metrics", True), each=options.get("each_metric", False)
    )

    def take(metric: CachingMetric, value: float, dimension_values: Sequence[Any], request: str) -> None:
        name, unit = metric.metric_name, metric.unit
        if pending.wants(name):
            labels = tuple(zip(metric.dimension_names, map(str, dimension_values), strict=True))
            kind, unit = metric.metric_type.value, UNITS.get(unit, unit)
            pending.add(Value(name, kind, unit, labels, float(value), request, time.time()))

    metrics.take_values(take)
    return metrics, pending


def time_predictions(metrics: MetricsCacheYamlImpl, pending: Pending) -> Callable[[float], None]:
    """What is told how long each batch took, in milliseconds: TorchServe's ``PredictionTime``.

    Every batch has this metric, so it gets the short way, unless it is to be written out.
    """
    name, unit = "PredictionTime", "ms"
    if metrics.written:
        return lambda taken: metrics.add_time(name, taken, None, unit)
    labels = (("ModelName", str(metrics.model_name)), ("Level", "Model"))
    return pending.gauge(Value(name, "gauge", UNITS[unit], labels, 0.0)).set


def _read(file: str | None, declared: Mapping[str, Sequence[Any]]) -> MetricsCacheYamlImpl:
    """The metrics of the operator's file, and those that he names without one: ``{name: (kind, unit, labels)}``."""
    try:
        metrics = MetricsCacheYamlImpl(file)
        if file:
            metrics.initialize_cache()
    except GeneralMetricsCacheError as error:
        raise ConfigError(f"option 'metrics_config': {error}") from error
    for name, (kind, unit, labels) in declared.items():
        metrics.add_metric_to_cache(name, unit, list(labels), MetricTypes(kind))
    return metrics
