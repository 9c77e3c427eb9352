"""Changes that are over: what two looks in a row have seen alike. Pure: knows no clock and no file.

A model that is being copied looks different each time; it is let through when it has been left alone for as long as
lies between two looks.
"""

from collections.abc import Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Quiet(Generic[T]):
    """Compares looks with each other, name by name. ``known`` is what everybody knows already."""

    def __init__(self, known: Mapping[str, T]) -> None:
        self._known = dict(known)
        self._seen: dict[str, T | None] = {}

    def changes(self, look: Mapping[str, T]) -> dict[str, T | None]:
        """What differs from what is known and was the same at the last look; ``None`` has gone. It is known then."""
        settled: dict[str, T | None] = {}
        seen: dict[str, T | None] = {}
        for name in sorted(self._known.keys() | look.keys()):
            now = look.get(name)
            if now == self._known.get(name):
                continue
            seen[name] = now
            if name in self._seen and self._seen[name] == now:
                settled[name] = now
        self._seen = {name: now for name, now in seen.items() if name not in settled}
        for name, now in settled.items():
            if now is None:
                del self._known[name]
            else:
                self._known[name] = now
        return settled
