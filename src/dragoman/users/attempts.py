"""Slows down who guesses: the more often somebody fails, the longer the wait. Pure: time is handed in.

Memory is bounded: of too many names those that failed longest ago are forgotten.
"""

from collections import OrderedDict


class Attempts:
    """Counts failures by a name, which strangers choose. After ``free`` of them each next one waits twice as long as
    the one before, from one second up to ``longest``."""

    def __init__(self, free: int, longest: float = 900.0, most: int = 10_000) -> None:
        self._free = free
        self._longest = longest
        self._most = most
        self._failures: OrderedDict[str, tuple[int, float]] = (
            OrderedDict()
        )  # how many, and when the last one was

    def wait(self, name: str, now: float) -> float:
        """Seconds until this one may try again; 0 where it may now."""
        count, last = self._failures.get(name, (0, 0.0))
        if count < self._free:
            return 0.0
        return max(0.0, last + self._delay(count) - now)

    def failed(self, name: str, now: float) -> None:
        """It has tried and failed. Who was quiet for long begins anew."""
        count, last = self._failures.pop(name, (0, now))
        if now - last > 2 * self._longest:
            count = 0
        self._failures[name] = count + 1, now
        if len(self._failures) > self._most:
            self._failures.popitem(last=False)

    def forgive(self, name: str) -> None:
        """What was counted as a failure was none."""
        count, last = self._failures.get(name, (0, 0.0))
        if count:
            self._failures[name] = count - 1, last

    def succeeded(self, name: str) -> None:
        """It is who it says: what went wrong before is forgotten."""
        self._failures.pop(name, None)

    def __len__(self) -> int:
        return len(self._failures)

    def _delay(self, count: int) -> float:
        return min(self._longest, 2.0 ** min(count - self._free, 60))
