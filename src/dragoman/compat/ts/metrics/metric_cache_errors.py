"""What can be wrong with a metric or a metrics file."""


class GeneralMetricsCacheError(Exception):
    """Any of them."""


class MetricsCacheTypeError(GeneralMetricsCacheError, TypeError):
    """A value of the wrong type."""


class MetricsCacheValueError(GeneralMetricsCacheError, ValueError):
    """A value that is not allowed."""


class MetricsCacheKeyError(GeneralMetricsCacheError, KeyError):
    """No such metric, or a key missing in the file."""


class MetricsCacheIOError(GeneralMetricsCacheError, OSError):
    """The metrics file can't be read."""


class MetricsCachePyYamlError(GeneralMetricsCacheError):
    """The metrics file isn't YAML."""
