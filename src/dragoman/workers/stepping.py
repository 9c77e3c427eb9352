"""A worker's loop for a model that is asked step by step: requests join its batch between two steps, and leave it.

Each comes in a frame of its own; one without requests says that nobody waits for the answer of that number any more.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from dragoman.errors import ModelFailed
from dragoman.runtimes.base import Runtime
from dragoman.scheduling.scheduler import Outcome
from dragoman.tensors import Buffer
from dragoman.types import InferResponse
from dragoman.workers.frames import Frame
from dragoman.workers.messages import decode_requests, encode_outcomes, encode_part

#: Whether the process should be replaced, and why: told of the newest outcomes and of how many there were in all.
Rotten = Callable[[Sequence[Outcome], int], str]


class Line(Protocol):
    """The way to the server."""

    def next(self) -> Buffer: ...
    def arrived(self) -> Iterable[Buffer]: ...
    def send(self, frame: Frame) -> None: ...


def serve_steps(line: Line, runtime: Runtime, rotten: Rotten) -> None:
    """Until the word to go, an empty frame, has come and everything that had joined is answered."""
    _Steps(line, runtime, rotten).run()


class _Steps:
    def __init__(self, line: Line, runtime: Runtime, rotten: Rotten) -> None:
        self._line, self._rotten = line, rotten
        self._batch = runtime.open_batch(self._emit)
        self._joined: dict[int, float] = {}  # numbers of the requests that run, and since when
        self._served = 0
        self._leaving = False

    def run(self) -> None:
        while self._joined or not self._leaving:
            if not self._joined:
                self._hear(self._line.next())
            for frame in self._line.arrived():
                self._hear(frame)
            for number, outcome in self._batch.step() if self._joined else ():
                self._answer(number, outcome)

    def _hear(self, frame: Buffer) -> None:
        if not frame:
            self._leaving = True
            return
        number, requests = decode_requests(frame)
        if requests:
            self._joined[number] = time.perf_counter()
            self._batch.join(number, requests[0])
        elif number in self._joined:
            self._batch.leave(number)
            self._answer(number, ModelFailed("nobody waits for this answer any more"))

    def _emit(self, number: int, part: InferResponse) -> None:
        self._line.send(encode_part(number, 0, part))

    def _answer(self, number: int, outcome: Outcome) -> None:
        self._served += 1
        seconds = time.perf_counter() - self._joined.pop(number)
        self._line.send(encode_outcomes(number, [outcome], seconds, self._rotten([outcome], self._served)))
