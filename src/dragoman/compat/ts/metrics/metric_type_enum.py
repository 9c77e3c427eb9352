"""The kinds of metric."""

from enum import Enum


class MetricTypes(Enum):
    """The values are what a metrics file calls them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
