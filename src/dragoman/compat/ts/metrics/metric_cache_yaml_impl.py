"""The metrics that an operator's metrics file declares for all models, kept by kind and name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dragoman.compat.need import need
from dragoman.compat.ts.metrics.caching_metric import Take
from dragoman.compat.ts.metrics.metric_cache_abstract import MetricCacheAbstract
from dragoman.compat.ts.metrics.metric_cache_errors import (
    MetricsCacheIOError,
    MetricsCacheKeyError,
    MetricsCachePyYamlError,
    MetricsCacheValueError,
)
from dragoman.compat.ts.metrics.metric_type_enum import MetricTypes


class MetricsCacheYamlImpl(MetricCacheAbstract):
    """Metrics declared under ``model_metrics`` of a YAML file, and those that a handler adds."""

    def __init__(self, config_file_path: str | None = None, take: Take | None = None) -> None:
        super().__init__(config_file_path, take)
        self._declared = _read(config_file_path) if config_file_path else {}

    def initialize_cache(self) -> None:
        """Make the declared metrics; raises MetricsCacheKeyError for a declaration that isn't whole."""
        section = self._declared.get("model_metrics")
        if not section:
            raise MetricsCacheValueError("the metrics file declares no model_metrics")
        for kind, metrics in section.items():
            try:
                metric_type = MetricTypes(kind)
            except ValueError as error:
                raise MetricsCacheKeyError(f"{kind!r} is no kind of metric") from error
            for metric in metrics:
                try:
                    self.add_metric_to_cache(
                        metric["name"], metric["unit"], metric["dimensions"], metric_type
                    )
                except KeyError as error:
                    raise MetricsCacheKeyError(f"a declared metric has no {error}") from error


def _read(path: str) -> Mapping[str, Any]:
    yaml = need("yaml", "a metrics file", "PyYAML")
    try:
        found = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise MetricsCacheIOError(f"can't read {path}: {error}") from error
    except yaml.YAMLError as error:
        raise MetricsCachePyYamlError(f"{path} isn't YAML: {error}") from error
    return found if isinstance(found, dict) else {}
