"""One measured value, with everything that is written of it."""

import socket
import time
from collections.abc import Sequence
from typing import Any

from dragoman.compat.ts.metrics.dimension import Dimension
from dragoman.compat.ts.metrics.metric_type_enum import MetricTypes
from dragoman.compat.ts.metrics.unit import UNITS

_HOST = socket.gethostname()


class Metric:
    """A value of a metric. Its text is the line that log readers of TorchServe know."""

    def __init__(
        self,
        name: str,
        value: float,
        unit: str,
        dimensions: Sequence[Dimension],
        request_id: str | None = None,
        metric_method: str | None = None,
        metric_type: MetricTypes | None = None,
    ) -> None:
        self.name, self.value, self.unit = name, value, UNITS.get(unit, unit)
        self.dimensions = list(dimensions)
        self.request_id = request_id
        self.metric_method, self.metric_type = metric_method, metric_type
        self.timestamp = int(time.time())

    def update(self, value: float) -> None:
        """Set the value; a metric of the method ``counter`` adds it."""
        self.value = self.value + value if self.metric_method == "counter" else value

    def __str__(self) -> str:
        dimensions = ",".join(map(str, self.dimensions))
        kind = f"#type:{self.metric_type.name}|" if self.metric_type is not None else ""
        text = f"{self.name}.{self.unit}:{self.value}|#{dimensions}|{kind}#hostname:{_HOST},{self.timestamp}"
        return f"{text},{self.request_id}" if self.request_id else text

    def to_dict(self) -> dict[str, Any]:
        return {
            "MetricName": self.name,
            "Value": self.value,
            "Unit": self.unit,
            "Dimensions": self.dimensions,
            "Timestamp": self.timestamp,
            "HostName": _HOST,
            "RequestId": self.request_id,
        }
