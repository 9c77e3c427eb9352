"""Counts of the last so many seconds, by name: what is older falls out. Knows nothing of what is counted."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

#: Parts of a window that fall out one by one.
_SLICES: Final = 12

Counts = Mapping[str, Sequence[int]]


class Window:
    """Written and read on one thread. All counts of one name have one length."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._slice = seconds / _SLICES
        self._clock = clock
        self._slices: deque[tuple[int, dict[str, list[int]]]] = deque()

    def add(self, counts: Counts) -> None:
        """Count these now."""
        now = self._sweep()
        if not self._slices or self._slices[-1][0] != now:
            self._slices.append((now, {}))
        add(self._slices[-1][1], counts)

    def totals(self) -> dict[str, list[int]]:
        """What was counted in the window, the part that is being counted included."""
        self._sweep()
        found: dict[str, list[int]] = {}
        for _, counts in self._slices:
            add(found, counts)
        return found

    def _sweep(self) -> int:
        now = int(self._clock() / self._slice)
        while self._slices and self._slices[0][0] <= now - _SLICES:
            self._slices.popleft()
        return now


def add(totals: dict[str, list[int]], counts: Counts) -> None:
    """Take counts in; of one name with another length the newer ones are right."""
    for name, numbers in counts.items():
        known = totals.get(name, ())
        same = len(known) == len(numbers)
        totals[name] = [a + b for a, b in zip(known, numbers, strict=True)] if same else list(numbers)
