"""The machine: its memory, its disk, and how busy its processors were since they were looked at last."""

import shutil
from collections.abc import Iterator
from typing import Final

_GIGABYTE: Final = 2.0**30
_MEGABYTE: Final = 2.0**20


class Host:
    """Measures when it is asked. A number that the system doesn't tell is left out."""

    def __init__(self) -> None:
        self._before = _processor_times()

    def measure(self) -> Iterator[tuple[str, float]]:
        """Numbers by the names that TorchServe gives them: percent, megabytes, gigabytes."""
        yield from self._processors()
        disk = shutil.disk_usage("/")
        yield "DiskAvailable", disk.free / _GIGABYTE
        yield "DiskUsage", disk.used / _GIGABYTE
        yield "DiskUtilization", _percent(disk.used, disk.used + disk.free)
        memory = _memory()
        if memory is not None:
            total, available = memory
            yield "MemoryAvailable", available / _MEGABYTE
            yield "MemoryUsed", (total - available) / _MEGABYTE
            yield "MemoryUtilization", _percent(total - available, total)

    def _processors(self) -> Iterator[tuple[str, float]]:
        now, before = _processor_times(), self._before
        if now is not None and before is not None:
            self._before = now
            yield "CPUUtilization", _percent(now[0] - before[0], now[1] - before[1])


def _percent(part: float, whole: float) -> float:
    return round(100.0 * part / max(1, whole), 1)


def _processor_times() -> tuple[int, int] | None:
    """Ticks that all processors have worked, and all that there were, since the machine started."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(field) for field in file.readline().split()[1:9]]  # the guests' are in the users'
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)  # without idle and iowait
    except (OSError, ValueError, IndexError):
        return None


def _memory() -> tuple[int, int] | None:
    """Total and available bytes."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["MemTotal"].split()[0]) * 1024, int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
