"""Every change that a model has seen, and what rolling back means. Pure.

A rollback is a change like any other: it adds to the history and takes nothing from it. It says whose outcome it has
restored, so that the next one goes further back instead of forth again::

    1 register   2 add "2"   3 default "2"   4 rollback to 2   5 rollback to 1   6 scale   7 rollback to 1
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from dragoman.store.state import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change. ``before`` or ``after`` is ``None`` where there was no model; ``restored`` is the number of the
    change whose outcome a rollback has brought back."""

    number: int
    model: str
    revision: int
    at: datetime
    who: str
    what: str
    before: Model | None
    after: Model | None
    restored: int | None = None


class Step(NamedTuple):
    """What of a change matters for rolling back: ``exists`` says that there was a model after it."""

    number: int
    restored: int | None
    exists: bool


def earlier(steps: Sequence[Step]) -> int | None:
    """The number of the change whose outcome a rollback restores: the last one before the present, with a model in
    it. ``steps`` are all of one model, oldest first; ``None`` where nothing lies before."""
    places = {step.number: place for place, step in enumerate(steps)}

    def outcome(place: int) -> int:
        """Where the state after that step was made first."""
        restored = steps[place].restored
        return place if restored is None else places[restored]

    place = outcome(len(steps) - 1) if steps else 0
    while place > 0:
        place = outcome(place - 1)
        if steps[place].exists:
            return steps[place].number
    return None
