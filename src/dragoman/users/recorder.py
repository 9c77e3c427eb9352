"""The audit: who did what, to which model, from where, and what came of it. Lines of the log, and of a store.

Nobody waits for it: lines are kept until ``drain`` hands them to whoever writes them. What strangers can cause is
bounded, and what was left out is said.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from dragoman.store.accounts import Entry
from dragoman.users.limits import Bucket

log = logging.getLogger("dragoman.audit")

#: Lines that may wait to be written.
MOST: Final = 10_000
#: Lines about callers that nobody knows: at once, and a second.
BURST: Final = 100
RATE: Final = 1.0


class Recorder:
    """Takes lines. ``keeps`` says that somebody drains it."""

    def __init__(self, *, keeps: bool, clock: Callable[[], float] = time.time) -> None:
        self._keeps = keeps
        self._clock = clock
        self._waiting: list[Entry] = []
        self._strangers = Bucket(RATE, BURST)
        self._left_out = 0

    def record(self, who: str, what: str, origin: str, outcome: str, model: str = "") -> None:
        """``who`` is empty for callers that nobody knows."""
        now = self._clock()
        if not who:
            if self._strangers.wait(now):
                self._left_out += 1
                return
            self._strangers.take()
        self._add(Entry(at=now, who=who or "nobody", what=what, model=model, origin=origin, outcome=outcome))

    def drain(self) -> list[Entry]:
        """What has come since the last time."""
        if self._left_out:
            count, self._left_out = self._left_out, 0
            self._add(
                Entry(at=self._clock(), who="nobody", what="audit", outcome=f"{count} more were refused")
            )
        waiting, self._waiting = self._waiting, []
        return waiting

    def put_back(self, entries: list[Entry]) -> None:
        """They could not be written: later."""
        self._waiting = [*entries, *self._waiting][-MOST:]

    def _add(self, entry: Entry) -> None:
        fields = {"who": entry.who, "what": entry.what, "origin": entry.origin, "outcome": entry.outcome}
        log.info("audit", extra=fields | ({"model": entry.model} if entry.model else {}))
        if self._keeps and len(self._waiting) < MOST:
            self._waiting.append(entry)
