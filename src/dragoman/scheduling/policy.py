"""When a batch goes, and how big it is. Pure: a queue in, a decision out; knows no clock and no instance."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Send the first ``count`` requests of the queue, now."""

    count: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Send nothing before ``until`` (or before another request comes)."""

    until: float


class Policy(Protocol):
    """Decides about requests that may be joined: ``rows`` of each, oldest first, and when the oldest came.

    ``waits`` says that it may let them wait while an instance is free.
    """

    @property
    def waits(self) -> bool: ...

    def decide(self, rows: Iterable[int], oldest: float, now: float) -> Dispatch | Wait: ...


@dataclass(frozen=True, slots=True)
class Immediate:
    """One request at a time, as soon as an instance is free."""

    waits: ClassVar[bool] = False

    def decide(self, rows: Iterable[int], oldest: float, now: float) -> Dispatch | Wait:
        return Dispatch(1)


@dataclass(frozen=True, slots=True)
class DynamicBatching:
    """What has queued goes together, up to ``max_batch`` rows, when an instance is free.

    With a ``max_delay`` (seconds) an incomplete batch waits for company until its oldest request is that old. A
    batch that reaches one of the ``preferred`` sizes goes at once. A request bigger than ``max_batch`` goes alone.
    """

    max_batch: int
    max_delay: float = 0.0
    preferred: tuple[int, ...] = ()

    @property
    def waits(self) -> bool:
        return self.max_delay > 0

    def decide(self, rows: Iterable[int], oldest: float, now: float) -> Dispatch | Wait:
        count = total = preferred_count = 0
        for request_rows in rows:
            if count and total + request_rows > self.max_batch:
                return Dispatch(count)
            count += 1
            total += request_rows
            if total in self.preferred:
                preferred_count = count
            if total >= self.max_batch:
                return Dispatch(count)
        if preferred_count:
            return Dispatch(preferred_count)
        if now >= oldest + self.max_delay:
            return Dispatch(count)
        return Wait(oldest + self.max_delay)
