"""Old way of writing metrics out: handlers that kept a ``MetricsStore`` hand its contents here."""

from collections.abc import Iterable
from typing import Any


def emit_metrics(metrics: Iterable[Any]) -> None:
    """Write these metrics to standard output, one a line."""
    for metric in metrics:
        print(f"[METRICS]{metric}")
