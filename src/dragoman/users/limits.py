"""How much a key may ask: so many requests a second, a day and a month. Pure: time is handed in.

The rate is a bucket that refills; a day and a month are UTC's. What a window says of itself is written as
draft-ietf-httpapi-ratelimit-headers has it.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from dragoman.store.accounts import Key

DAY: Final = 86_400


class Bucket:
    """``burst`` requests at once, and ``rate`` more a second."""

    name = "rate"

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(max(1, burst))
        self._left = self._burst
        self._since = -math.inf

    def wait(self, now: float) -> float:
        """Seconds until there is one more; 0 while there is."""
        if now > self._since:
            self._left = min(self._burst, self._left + (now - self._since) * self._rate)
        self._since = now
        return 0.0 if self._left >= 1 else (1 - self._left) / self._rate

    def take(self) -> None:
        """One is taken, after ``wait`` has said that it is there."""
        self._left -= 1

    def policy(self) -> str:
        return f'"rate";q={self._burst:.0f};w={max(1, math.ceil(self._burst / self._rate))}'

    def left(self, now: float) -> str:
        full = math.ceil((self._burst - self._left) / self._rate)
        return f'"rate";r={max(0, int(self._left))};t={full}'


class Quota:
    """``most`` requests in each period. ``used`` counts those of all processes, as far as they are known."""

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.period = ""
        self.used = 0
        self.unsaid = 0  #: of them those that nobody else has been told of
        self._most = most
        self._ends = -math.inf
        self._begins = math.inf

    def wait(self, now: float) -> float:
        if not self._begins <= now < self._ends:
            self._turn(now)
        return 0.0 if self.used < self._most else self._ends - now

    def take(self) -> None:
        self.used += 1
        self.unsaid += 1

    def settle(self, period: str, count: int, said: int) -> None:
        """All processes together have used ``count`` of this period, ``said`` of those that were unsaid here."""
        if period == self.period:
            self.unsaid -= said
            self.used = count + self.unsaid

    def policy(self) -> str:
        window = DAY if self.name == "day" else 30 * DAY
        return f'"{self.name}";q={self._most};w={window}'

    def left(self, now: float) -> str:
        return f'"{self.name}";r={max(0, self._most - self.used)};t={math.ceil(self._ends - now)}'

    def _turn(self, now: float) -> None:
        begins, ends = _period(self.name, now)
        self.period = period_of(self.name, now)
        self.used = self.unsaid = 0
        self._begins, self._ends = begins.timestamp(), ends.timestamp()


Window = Bucket | Quota


class Limits:
    """Everything that one key has of them. ``share`` is how many processes divide its rate between them."""

    def __init__(self, key: Key, usage: Mapping[tuple[str, str], int], now: float, share: int = 1) -> None:
        self.quotas: list[Quota] = []
        self._windows: list[Window] = []
        if key.rate:
            burst = key.burst or math.ceil(key.rate)
            self._windows.append(Bucket(key.rate / share, math.ceil(burst / share)))
        for name, most in (("day", key.daily), ("month", key.monthly)):
            if most:
                quota = Quota(name, most)
                quota.wait(now)
                quota.used = usage.get((key.id, quota.period), 0)
                self.quotas.append(quota)
        self._windows += self.quotas
        self.policy = ", ".join(window.policy() for window in self._windows)  #: RateLimit-Policy

    def take(self, now: float) -> float:
        """Take one of each. Where one has none left nothing is taken, and the answer is seconds until it has."""
        longest = 0.0
        for window in self._windows:
            longest = max(longest, window.wait(now))
        if longest == 0.0:
            for window in self._windows:
                window.take()
        return longest

    def left(self, now: float) -> str:
        """RateLimit: what each has left, and in how many seconds it has all again."""
        return ", ".join(window.left(now) for window in self._windows)


def period_of(name: str, now: float) -> str:
    """``2026-11-25`` or ``2026-11``."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d" if name == "day" else "%Y-%m")


def periods_at(now: float) -> frozenset[str]:
    """The periods that count now."""
    return frozenset(period_of(name, now) for name in ("day", "month"))


def _period(name: str, now: float) -> tuple[datetime, datetime]:
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if name == "day":
        return day, day + timedelta(days=1)
    first = day.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)
