"""One model asks another: the question goes to whoever runs the model, and answers come back from any thread.

At most one answer is expected of a model that isn't decoupled; of one that is, any number, none included.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from queue import SimpleQueue

from dragoman.compat.triton_python_backend_utils.errors import (
    TritonError,
    TritonModelException,
    from_failure,
)
from dragoman.compat.triton_python_backend_utils.host import Outcome, current
from dragoman.compat.triton_python_backend_utils.response import InferenceResponse
from dragoman.compat.triton_python_backend_utils.tensor import Tensor
from dragoman.errors import DragomanError
from dragoman.types import InferRequest


class Asked:
    """A question that is on its way. Outcomes may be taken by one thread or one coroutine."""

    def __init__(self, request: InferRequest) -> None:
        host = current()
        if host.ask is None:
            raise TritonModelException(
                f"model {host.model!r} can't ask other models here: neither while it loads nor in a cluster"
            )
        self._outcomes: SimpleQueue[Outcome] = SimpleQueue()
        self._arrived: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.over = False
        self.cancel = host.ask(request, self._take)

    def _take(self, outcome: Outcome) -> None:
        self._outcomes.put(outcome)
        if self._loop is not None and self._arrived is not None:
            self._loop.call_soon_threadsafe(self._arrived.set)

    def next(self) -> Outcome:
        """Wait for the next outcome."""
        return self._note(self._outcomes.get())

    async def async_next(self) -> Outcome:
        """The same in a coroutine, whose event loop goes on."""
        if self._arrived is None:
            self._arrived, self._loop = asyncio.Event(), asyncio.get_running_loop()
        while self._outcomes.empty():
            self._arrived.clear()
            if self._outcomes.empty():
                await self._arrived.wait()
        return self._note(self._outcomes.get())

    def _note(self, outcome: Outcome) -> Outcome:
        self.over = isinstance(outcome, DragomanError) or outcome.final
        return outcome


def begin(request: InferRequest) -> Asked:
    """Ask. Raises TritonModelException where no model can be asked."""
    return Asked(request)


def answer(asked: Asked) -> InferenceResponse:
    """The one answer."""
    return _only(asked, asked.next())


async def async_answer(asked: Asked) -> InferenceResponse:
    try:
        return _only(asked, await asked.async_next())
    finally:
        if not asked.over:
            asked.cancel()


class Answers(Iterator[InferenceResponse]):
    """Every answer of a decoupled model; an error is the last. Who stops early calls ``cancel``."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def __next__(self) -> InferenceResponse:
        if self._asked.over:
            raise StopIteration
        response = _response(self._asked.next())
        if response is None:
            raise StopIteration
        return response

    def cancel(self) -> None:
        """Nobody wants the rest."""
        if not self._asked.over:
            self._asked.over = True
            self._asked.cancel()


async def async_answers(asked: Asked) -> AsyncIterator[InferenceResponse]:
    """The same for coroutines."""
    try:
        while not asked.over:
            response = _response(await asked.async_next())
            if response is not None:
                yield response
    finally:
        if not asked.over:
            asked.cancel()


def _only(asked: Asked, outcome: Outcome) -> InferenceResponse:
    if asked.over:
        response = _response(outcome)
        return InferenceResponse([]) if response is None else response
    asked.cancel()
    asked.over = True
    text = "the model answers in parts: ask it with decoupled=True"
    return InferenceResponse(error=TritonError(text, TritonError.UNSUPPORTED))


def _response(outcome: Outcome) -> InferenceResponse | None:
    """As a model sees it; ``None`` for a last word that says only that it is the last."""
    if isinstance(outcome, DragomanError):
        return InferenceResponse(error=from_failure(outcome))
    if outcome.final and not outcome.outputs:
        return None
    tensors = [Tensor.of(tensor) for tensor in outcome.outputs]
    said = {
        key: value for key, value in outcome.parameters.items() if isinstance(value, bool | int | float | str)
    }
    return InferenceResponse(tensors, parameters=said)
