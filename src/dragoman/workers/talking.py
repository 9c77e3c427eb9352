"""A worker's loop for a model that talks while it runs: it asks other models, answers when it likes, and hears when
nobody waits for it any more.

::

    server ──► thread that hears ──batch──► main thread: begin        any thread ──► answer, part, question ──► server
                    └──reply──► who asked    └──abandoned──► request
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from queue import SimpleQueue
from typing import Final, Protocol

from dragoman.errors import DragomanError
from dragoman.runtimes.base import Emit, Runtime
from dragoman.scheduling.scheduler import Outcome
from dragoman.tensors import Buffer
from dragoman.types import InferRequest
from dragoman.workers.frames import Frame
from dragoman.workers.messages import decode_heard
from dragoman.workers.talk import (
    Abandoned,
    Reply,
    encode_forget,
    encode_question,
    encode_ready,
    encode_took,
)

log = logging.getLogger("dragoman.workers")

#: Bytes of replies that were taken before the server is told; less than it lets be on their way.
_TOLD: Final = 1 << 20

#: Seconds between two looks at whether the model would answer.
_PAUSE: Final = 0.5

#: Takes what comes of a question.
Take = Callable[[Outcome], None]
#: The frame that answers a batch: its number, the outcomes, seconds, and why the process should be replaced.
Encode = Callable[[int, Sequence[Outcome], float, str], Frame]


class Line(Protocol):
    """The way to the server; any thread may send."""

    def next(self) -> Buffer: ...
    def send(self, frame: Frame) -> None: ...


def serve_talk(
    line: Line,
    runtime: Runtime,
    rotten: Callable[[Sequence[Outcome], int], str],
    emit: Callable[[int], Emit],
    encode: Encode,
) -> None:
    """Until the word to go, an empty frame, has come. ``emit`` makes what hands out parts for a batch's number."""
    talk = _Talk(line, runtime, rotten, emit, encode)
    runtime.attend(talk.ask)
    threading.Thread(target=talk.hear, name="hears the server", daemon=True).start()
    if runtime.watched:
        threading.Thread(target=talk.watch, name="watches the model", daemon=True).start()
    talk.run()


class _Talk:
    def __init__(
        self,
        line: Line,
        runtime: Runtime,
        rotten: Callable[[Sequence[Outcome], int], str],
        emit: Callable[[int], Emit],
        encode: Encode,
    ) -> None:
        self._line, self._runtime, self._rotten = line, runtime, rotten
        self._emit, self._encode = emit, encode
        self._batches: SimpleQueue[tuple[int, list[InferRequest]] | None] = SimpleQueue()
        self._open: dict[int, list[InferRequest]] = {}
        self._takers: dict[int, Take] = {}
        self._numbers = count(1)
        self._served = 0
        self._leaving = threading.Event()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Begin batch after batch; some may be open when the next one begins."""
        while (batch := self._batches.get()) is not None:
            number, requests = batch
            answer = partial(self._answer, number, time.perf_counter())
            self._runtime.begin(requests, self._emit(number), answer)
            del batch, requests, answer

    def hear(self) -> None:
        """Take what comes, as long as something does."""
        taken = 0
        while frame := self._line.next():
            heard = decode_heard(frame)
            if isinstance(heard, Reply):
                self._take(heard)
                taken += len(frame)
                if taken > _TOLD:
                    self._line.send(encode_took(taken))
                    taken = 0
            elif isinstance(heard, Abandoned):
                requests = self._open.get(heard.number)
                if requests is not None:
                    requests[heard.place].abandoned = True
            else:
                number, requests = heard
                self._open[number] = requests
                self._batches.put((number, list(requests)))
        self._leaving.set()
        self._batches.put(None)

    def watch(self) -> None:
        """Tell when the model says that it would not answer, and when it says that it would."""
        told = True
        while not self._leaving.wait(_PAUSE):
            ready = self._runtime.alive()
            if ready is not told:
                told = ready
                self._line.send(encode_ready(ready))

    def ask(self, request: InferRequest, take: Take) -> Callable[[], None]:
        """Send a question. Raises what makes it impossible to write."""
        number = next(self._numbers)
        frame = encode_question(number, request)
        self._takers[number] = take
        self._line.send(frame)
        return partial(self._forget, number)

    def _forget(self, number: int) -> None:
        if self._takers.pop(number, None) is not None:
            self._line.send(encode_forget(number))

    def _take(self, reply: Reply) -> None:
        last = isinstance(reply.outcome, DragomanError) or reply.outcome.final
        take = self._takers.pop(reply.number, None) if last else self._takers.get(reply.number)
        if take is None:
            return  # nobody wants it any more
        try:
            take(reply.outcome)
        except Exception:  # who asked has gone: others' answers still have to come
            log.exception("an answer found nobody")

    def _answer(self, number: int, started: float, outcomes: Sequence[Outcome]) -> None:
        with self._lock:
            self._open.pop(number)
            self._served += len(outcomes)
            rotten = self._rotten(outcomes, self._served)
        self._line.send(self._encode(number, outcomes, time.perf_counter() - started, rotten))
