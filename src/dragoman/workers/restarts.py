"""When another worker takes a dead one's place, and when too many have died. Pure: knows no process and no timer.

             ┌── a death: wait for 0.1 s, then twice as long each time, up to 30 s
CLOSED ──────┴── five deaths in a minute, and no answer among them ──► OPEN ──an answer──► CLOSED
"""

import random
from collections import deque
from collections.abc import Callable
from typing import Final

#: Seconds before the first restart, and the most between two. Each is drawn from a quarter less to a quarter more, so
#: that workers that died together don't load together.
FIRST_DELAY: Final = 0.1
LAST_DELAY: Final = 30.0
SPREAD: Final = 0.25
#: So many deaths within so many seconds, and requests are refused at once until an answer has come.
DEATHS: Final = 5
WINDOW: Final = 60.0


class Restarts:
    """The deaths of one instance, and its answers. Times are in seconds, of any clock that only grows."""

    def __init__(self, draw: Callable[[float, float], float] = random.uniform) -> None:
        self.broken = False
        self.troubled = False  #: whether an answer is news
        self._draw = draw
        self._deaths: deque[float] = deque(maxlen=DEATHS)
        self._delay = FIRST_DELAY
        self._last = float("-inf")

    def failed(self, now: float) -> None:
        """Take note of a death that is none for the breaker: another process serves meanwhile."""
        self.troubled = True
        self._last = now

    def died(self, now: float) -> bool:
        """Count a death. True if it is the one too many."""
        self.failed(now)
        self._deaths.append(now)
        opens = len(self._deaths) == DEATHS and now - self._deaths[0] < WINDOW and not self.broken
        self.broken = self.broken or opens
        return opens

    def delay(self) -> float:
        """Seconds until the next one may start; longer each time."""
        delay, self._delay = self._delay, min(2 * self._delay, LAST_DELAY)
        return self._draw(1 - SPREAD, 1 + SPREAD) * delay

    def answered(self, born: float) -> bool:
        """All is well again, if that process was born after the last death. True if the breaker was open."""
        if born < self._last:
            return False
        was_broken = self.broken
        self.broken = self.troubled = False
        self._deaths.clear()
        self._delay = FIRST_DELAY
        return was_broken
