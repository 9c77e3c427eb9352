"""One request that passes the rooms, and when it passed each. Knows no wire and no collector.

Times are ``time.monotonic``'s, in seconds.
"""

import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from dragoman.types import InferRequest, Moments

#: Copies for a shadow are no part of the client's way.
_SHADOW: Final = "shadow"


class Room(NamedTuple):
    """A room, or one model's part of it, and the time in it."""

    name: str
    begin: float
    end: float
    model: str = ""
    version: str = ""


@dataclass(slots=True)
class Asked:
    """A model that was asked on the way."""

    model: str
    version: str
    moments: Moments


@dataclass(slots=True)
class Passage:
    """``arrived``: the head was there; ``called``: all of the request was. ``traceparent`` goes on to whom models ask.

    A ``told`` one is to be told to its client.
    """

    arrived: float
    called: float
    told: bool = False
    traceparent: str = ""
    span: Any = None
    asked: list[Asked] = field(default_factory=list)

    def enter(self, request: InferRequest, model: str, version: str, dialect: str) -> None:
        """A model is asked now."""
        if dialect == _SHADOW:
            return
        request.moments = Moments(time.monotonic())
        self.asked.append(Asked(model, version, request.moments))
        headers = request.parameters.get("headers")
        if self.traceparent and isinstance(headers, dict):  # other requests have the same ones
            request.parameters["headers"] = {**headers, "traceparent": self.traceparent}

    def rooms(self, answered: float) -> Iterator[Room]:
        """What it has passed when it is answered."""
        yield Room("transport", self.arrived, self.called)
        if not self.asked:
            return
        yield Room("decode", self.called, self.asked[0].moments.submitted)
        done = self.called
        for each in self.asked:
            moments, whose = each.moments, (each.model, each.version)
            if moments.started:
                yield Room("queue", moments.submitted, moments.started, *whose)
                ended = moments.finished or answered
                yield Room("execute", moments.started, ended, *whose)
                done = max(done, ended)
        if done > self.called:
            yield Room("encode", done, answered)

    def timing(self, answered: float) -> str:
        """As a ``Server-Timing`` header: milliseconds for each room, those of several models added."""
        spent: dict[str, float] = {}
        for room in self.rooms(answered):
            spent[room.name] = spent.get(room.name, 0.0) + room.end - room.begin
        spent["total"] = answered - self.arrived
        return ", ".join(f"{name};dur={max(0.0, seconds) * 1000:.3f}" for name, seconds in spent.items())


#: The passage of the request that is being handled, where somebody wants to know of it.
current: Final[ContextVar[Passage | None]] = ContextVar("dragoman_passage", default=None)
