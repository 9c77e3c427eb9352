"""Answers in this process's memory, within a budget of bytes: the least recently used one goes first.

Used on the event loop's thread only. Knows no model: a key is whatever tells two answers apart.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from dragoman.caching.cache import Then
from dragoman.caching.entries import own, size_of
from dragoman.stats import CacheStats
from dragoman.types import InferResponse


@dataclass(slots=True)
class _Kept:
    answer: InferResponse
    size: int
    until: float


class MemoryCache:
    """A ``Cache`` that answers at once."""

    def __init__(
        self, size: int, ttl: float, clock: Callable[[], float], stats: CacheStats | None = None
    ) -> None:
        """``size`` in bytes; ``ttl`` in seconds of the ``clock``, 0 is for ever."""
        self._room = size
        self._ttl = ttl
        self._clock = clock
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._stats = stats or CacheStats()

    def get(self, key: bytes, then: Then) -> None:
        kept = self._kept.get(key)
        if kept is not None and self._ttl and self._clock() >= kept.until:
            self._drop(key)
            kept = None
        if kept is None:
            then(None, False)
            return
        self._kept.move_to_end(key)
        then(kept.answer, False)

    def put(self, key: bytes, answer: InferResponse) -> None:
        """Keep it, and let go of as many others as it takes; one that is bigger than all the room is not kept."""
        size = size_of(answer) + len(key)
        if size > self._room:
            return
        if key in self._kept:
            self._drop(key)
        self._kept[key] = _Kept(own(answer), size, self._clock() + self._ttl)
        stats = self._stats
        stats.bytes += size
        stats.entries += 1
        while stats.bytes > self._room:
            self._drop(next(iter(self._kept)))
            stats.evictions += 1

    def clear(self, prefix: bytes = b"") -> None:
        for key in [key for key in self._kept if key.startswith(prefix)]:
            self._drop(key)

    def close(self) -> None:
        self.clear()

    def _drop(self, key: bytes) -> None:
        self._stats.bytes -= self._kept.pop(key).size
        self._stats.entries -= 1
