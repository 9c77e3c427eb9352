"""A handler that takes 2 ms and 10 µs for each item, however many they are: what joined requests gain shows."""

import time
from typing import Any


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[dict[str, int]] | None:
    if data is None:  # it is being loaded
        return None
    time.sleep(0.002 + 0.00001 * len(data))
    return [{"sum": sum(row["body"])} for row in data]
