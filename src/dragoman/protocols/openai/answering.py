"""One answer on its way out: whole, or in events as the model makes them and the client reads them.

::

    asked ──whole answer──────────────────────► answered
      ├────first chunk──► begun ──last chunk──► answered, [DONE]
      │                     └──── fails ──────► an event with the error, no [DONE]
      ├────fails──────────────────────────────► its status and error
      └────client gone, at any time───────────► the model's coroutine is cancelled
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from dragoman.engine.engine import Engine
from dragoman.errors import Code, DeadlineExceeded
from dragoman.protocols.openai import codec
from dragoman.protocols.openai.errors import Failure, describe, from_model, told_by
from dragoman.protocols.openai.raw import RawRequest, headers_of, make_context
from dragoman.protocols.openai.serving import Operation, Target, is_stream
from dragoman.stats import OK
from dragoman.tensors import dump_json
from dragoman.transport.request import HttpRequest

log = logging.getLogger("dragoman.openai")

DIALECT: Final = "openai"
#: What a proxy has to know of an answer that comes bit by bit.
_EVENTS: Final = (("Content-Type", "text/event-stream; charset=utf-8"), ("Cache-Control", "no-cache"))
_NOTHING: Final = object()


class _ClientGone(Exception):
    """Nobody reads the answer any more."""


class Answering:
    """Asks one model once. ``run`` it in a task; cancel that when the client leaves."""

    def __init__(
        self, http: HttpRequest, target: Target, operation: Operation, request: Any, engine: Engine
    ) -> None:
        self._http = http
        self._target = target
        self._operation = operation
        self._request = request
        self._raw = RawRequest(http)
        self._context = make_context(self._raw)
        self._numbers = engine.stats.of(target.name, target.version)
        self._begun = False

    def leaving(self, cancel: Callable[[], object]) -> Callable[[], None]:
        """What to do when the client leaves."""

        def left() -> None:
            self._raw.gone = True
            cancel()

        return left

    async def run(self, timeout: float) -> None:
        """Answer, whatever happens, and count it. ``timeout`` is in seconds; 0 is no limit."""
        outcome = Code.CANCELLED.value
        self._numbers.running += 1
        try:
            outcome = await self._answer_in(timeout)
        except asyncio.CancelledError:
            if not self._raw.gone:  # the server ends, and not the client's patience
                self._http.abort()
            raise
        finally:
            self._numbers.running -= 1
            self._count(outcome)

    async def _answer_in(self, timeout: float) -> str:
        """Returns what is counted."""
        try:
            async with asyncio.timeout(timeout or None) as limit:
                failure = await self._answer()
        except _ClientGone:
            return Code.CANCELLED.value
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                error = DeadlineExceeded(f"the answer took more than {timeout:g} seconds")
            failure = describe(error)
        if failure is None:
            return OK
        try:
            await self._fail(failure)
        except _ClientGone:
            return Code.CANCELLED.value
        return failure.code.value

    async def _answer(self) -> Failure | None:
        """Returns the model's own word on its failure, which has not been sent."""
        answer = await self._target.ask(self._operation, self._request, self._raw, self._context)
        if is_stream(answer):
            return await self._stream(aiter(answer))
        if (told := told_by(answer)) is not None:
            return from_model(told)
        body = codec.encode_answer(answer, self._request)
        self._http.respond(200, body, headers=headers_of(self._context), compress=True)
        return None

    async def _stream(self, items: AsyncIterator[Any]) -> Failure | None:
        """The status waits for the first item: a model that fails at once is answered with the error's own."""
        ended = False
        try:
            while (item := await anext(items, _NOTHING)) is not _NOTHING:
                if (told := told_by(item)) is not None:
                    return from_model(told)
                event = codec.encode_event(item)
                ended = codec.ends_stream(event)
                await self._send(event)
            await self._send(b"" if ended else codec.DONE)
            self._http.end()
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()
        return None

    async def _send(self, event: bytes) -> None:
        """Raises _ClientGone."""
        if not self._begun:
            self._begun = True
            self._http.start(200, (*_EVENTS, *headers_of(self._context)))
        try:
            await self._http.send(event)
        except ConnectionError:
            raise _ClientGone from None

    async def _fail(self, failure: Failure) -> None:
        document = dump_json(failure.document)
        if not self._begun:
            self._http.respond(failure.status, document, headers=failure.headers)
            return
        names = {"model": self._target.name, "error": failure.document["error"]["message"]}
        log.warning("a stream broke off", extra=names)
        await self._send(b"data: " + document + b"\n\n")
        self._http.end()

    def _count(self, outcome: str) -> None:
        numbers = self._numbers
        seconds = asyncio.get_running_loop().time() - self._http.arrived
        numbers.answers[DIALECT, outcome] += 1
        numbers.total.observe(seconds)
        numbers.executed(1, seconds)
