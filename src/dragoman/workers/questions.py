"""Models' questions to other models, where the server hears them: handed on, answered, taken back.

Replies go to a worker only as it takes them, so that neither its ring nor its memory is filled; what waits for a worker
is bounded, too. Who is asked, and where it runs, is not known here.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from dragoman.errors import DragomanError, NotReady, Overloaded
from dragoman.runtimes.base import Ask as RuntimeAsk
from dragoman.scheduling.scheduler import Outcome, Reply, Ticket
from dragoman.types import InferRequest
from dragoman.workers.frames import Frame
from dragoman.workers.shared import BIG, Damaged
from dragoman.workers.talk import Forget, Question, Took, Word, encode_reply

#: Questions of one worker that may be open.
MOST: Final = 1024
#: Bytes of replies that may be on their way to a worker, and that may wait for it.
UNTAKEN: Final = 2 * BIG
WAITING: Final = 1 << 28

#: Asks a model; raises what makes that impossible.
Ask = Callable[[InferRequest, Reply], Ticket | None]


class Questions:
    """Where a model's questions come out. Before anybody listens they are refused."""

    def __init__(self) -> None:
        self._ask: Ask | None = None

    def connect(self, ask: Ask) -> None:
        self._ask = ask

    def ask(self, request: InferRequest, reply: Reply) -> Ticket | None:
        """Raises DragomanError."""
        if self._ask is None:
            raise NotReady("models can be asked when the one that asks has loaded")
        return self._ask(request, reply)


class Conversation:
    """With one worker. ``send`` takes frames for it."""

    def __init__(self, questions: Questions, send: Callable[[Frame], None]) -> None:
        self._questions, self._send = questions, send
        self._open: dict[int, Ticket | None] = {}
        self._waiting: deque[Frame] = deque()
        self._waiting_bytes = 0
        self._untaken = 0

    def heard(self, word: Word) -> None:
        """What the worker says. Raises Damaged for what no honest one would."""
        if isinstance(word, Question):
            self._begin(word)
        elif isinstance(word, Forget):
            self._cancel(word.number)
        elif isinstance(word, Took):
            self._untaken -= word.size
            if self._untaken < 0:
                raise Damaged("replies were taken that nobody has sent")
            self._flush()

    def close(self) -> None:
        """The worker has ended: nobody waits."""
        self._waiting.clear()
        for number in tuple(self._open):
            self._cancel(number)

    def _begin(self, question: Question) -> None:
        number = question.number
        if number in self._open:
            raise Damaged(f"question {number} is asked twice")
        full = len(self._open) >= MOST
        self._open[number] = None
        try:
            if full:
                raise Overloaded(f"the model has {MOST} questions to other models open")
            ticket = self._questions.ask(question.request, lambda outcome: self._reply(number, outcome))
        except DragomanError as error:
            self._reply(number, error)
            return
        if number in self._open:
            self._open[number] = ticket

    def _cancel(self, number: int) -> None:
        ticket = self._open.pop(number, None)
        if ticket is not None:
            ticket.cancel()

    def _reply(self, number: int, outcome: Outcome) -> None:
        if number not in self._open:
            return
        if self._waiting_bytes > WAITING:
            self._cancel(number)
            outcome = Overloaded(f"more than {WAITING} bytes of answers wait for the model that has asked")
        if isinstance(outcome, DragomanError) or outcome.final:
            self._open.pop(number, None)
        frame = encode_reply(number, outcome)
        self._waiting.append(frame)
        self._waiting_bytes += frame.size
        self._flush()

    def _flush(self) -> None:
        while self._waiting and (not self._untaken or self._untaken + self._waiting[0].size <= UNTAKEN):
            frame = self._waiting.popleft()
            self._waiting_bytes -= frame.size
            self._untaken += frame.size
            self._send(frame)


def ask_from_threads(questions: Questions, loop: asyncio.AbstractEventLoop) -> RuntimeAsk:
    """The same for models that run on threads of the server: what is asked, and taken back, there."""

    def ask(request: InferRequest, take: Callable[[Outcome], None]) -> Callable[[], None]:
        tickets: list[Ticket] = []

        def begin() -> None:
            try:
                ticket = questions.ask(request, take)
            except DragomanError as error:
                take(error)
            else:
                tickets.extend([ticket] if ticket is not None else [])

        def cancel() -> None:
            for ticket in tickets:
                ticket.cancel()

        def forget() -> None:
            with suppress(RuntimeError):  # the event loop is closed
                loop.call_soon_threadsafe(cancel)

        loop.call_soon_threadsafe(begin)
        return forget

    return ask
