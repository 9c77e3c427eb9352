"""The numbers of all processes as one, dead ones included, so that no count ever falls. Knows no socket."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from dragoman.stats import Stats

#: Seconds that a process has to send its numbers; after that its last ones count.
PATIENCE: Final = 1.0

Numbers = Mapping[str, Any]


class Totals:
    """Newest numbers of each living process by its pid, and the sum of the dead ones'."""

    def __init__(self) -> None:
        self._past = Stats()
        self._newest: dict[int, Numbers] = {}
        self._serial = 0
        self._news = asyncio.Event()

    def put(self, pid: int, numbers: Numbers) -> None:
        """A process sent its numbers; its ``serial`` says which question they answer."""
        self._newest[pid] = numbers
        self._news.set()

    def bury(self, pid: int) -> None:
        """A process is gone: what it counted stays, what it was doing doesn't."""
        numbers = self._newest.pop(pid, None)
        if numbers is not None:
            for _, _, counts in numbers["stats"]["models"]:
                counts["waiting"] = counts["running"] = 0
            numbers["stats"]["cache"] |= {"bytes": 0, "entries": 0}
            numbers["stats"]["jobs"]["running"] = 0
            self._past.add(numbers["stats"])
        self._news.set()

    async def gather(self, ask: Callable[[int], None]) -> dict[str, Any]:
        """The sum. ``ask`` is called with a serial number that every process is to answer."""
        self._serial += 1
        serial = self._serial
        ask(serial)
        try:
            async with asyncio.timeout(PATIENCE):
                while any(0 <= numbers["serial"] < serial for numbers in self._newest.values()):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass
        return self._sum()

    def _sum(self) -> dict[str, Any]:
        stats = Stats()
        stats.add(self._past.snapshot())
        for numbers in self._newest.values():
            stats.add(numbers["stats"])
        in_flight = sum(numbers["in_flight"] for numbers in self._newest.values())
        return {"stats": stats.snapshot(), "in_flight": in_flight, "started": self._past.started}
