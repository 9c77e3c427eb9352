"""A unit's short name and the one that metrics are written with."""

from collections.abc import Mapping
from typing import Final

UNITS: Final[Mapping[str, str]] = {
    "ms": "Milliseconds",
    "s": "Seconds",
    "percent": "Percent",
    "count": "Count",
    "B": "Bytes",
    "kB": "Kilobytes",
    "MB": "Megabytes",
    "GB": "Gigabytes",
}


class Units:
    """The same table where old code looks for it."""

    def __init__(self) -> None:
        self.units = dict(UNITS)
