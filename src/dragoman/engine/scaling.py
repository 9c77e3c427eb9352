"""How many instances a model should have: what it has to do in, a number out. Pure: knows no clock and no process.

::

    requests wait longer than target_delay ──► one more          up to maximum
    one fewer would have been enough for idle_timeout ──► one fewer          down to minimum, which may be 0

One more is asked for at once and one fewer late: a copy too many costs memory, one too few everybody's time.
"""

from dataclasses import dataclass
from typing import Final

#: The share of their time that instances may work, if there were one fewer, for that one to be one too many.
ENOUGH: Final = 0.7


@dataclass(frozen=True, slots=True)
class Range:
    """Between how many instances to choose; durations are in seconds."""

    minimum: int
    maximum: int
    target_delay: float
    idle_timeout: float


@dataclass(frozen=True, slots=True)
class Load:
    """What a model has to do: requests that wait and that run, how long the oldest has waited, and the seconds that
    its instances have worked in all since it was loaded."""

    instances: int
    waiting: int
    running: int
    oldest: float
    worked: float


class Scaler:
    """Looks at one model's load from time to time, and remembers since when it has had little to do."""

    def __init__(self) -> None:
        self._easy_since: float | None = None
        self._looked = 0.0
        self._worked = 0.0

    def wanted(self, limits: Range, load: Load, now: float) -> int:
        """How many instances there should be, at ``now`` seconds of a clock that only grows."""
        instances = load.instances
        easy = self._is_easy(load, now)
        self._looked, self._worked = now, load.worked
        if not easy:
            self._easy_since = None
        elif self._easy_since is None:
            self._easy_since = now
        if load.waiting and load.oldest > limits.target_delay:
            instances += 1
        elif self._easy_since is not None and now - self._easy_since >= limits.idle_timeout:
            self._easy_since = now
            instances = max(instances - 1, limits.minimum)
        if instances > load.instances:
            return max(load.instances, min(instances, limits.maximum))
        return max(instances, limits.minimum)

    def _is_easy(self, load: Load, now: float) -> bool:
        """Whether one instance fewer would have been enough since the last look."""
        if load.waiting or not load.instances:
            return False
        worked, seconds = load.worked - self._worked, now - self._looked
        if load.instances == 1:
            return not load.running and not worked
        return worked < ENOUGH * seconds * (load.instances - 1)
