"""One call of a model's ``execute``: requests in, answers out, by return or by their senders, now or later.

    request ──► OPEN ──response returned, FINAL sent, error, sender lost──► answered

The call is over when every request is answered, from whichever thread that was.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from dragoman.compat.triton_python_backend_utils import InferenceResponse, TritonModelException
from dragoman.compat.triton_python_backend_utils.errors import to_failure
from dragoman.compat.triton_python_backend_utils.request import Received
from dragoman.compat.triton_python_backend_utils.response import InferenceResponseSender
from dragoman.errors import DragomanError, InvalidOutput
from dragoman.runtimes.base import Done, Emit
from dragoman.runtimes.failure import failed
from dragoman.types import InferRequest, InferResponse

Outcome = InferResponse | DragomanError


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model and what its calls depend on. ``outputs`` are the names of all that it has."""

    name: str
    version: str
    execute: Callable[[list[Received]], Any]
    outputs: Sequence[str]
    decoupled: bool
    later: Callable[[Callable[[], None]], object]  #: calls something soon, from another thread


class Call:
    """Requests that are answered together; ``done`` gets their outcomes in order, once."""

    def __init__(self, model: Model, requests: Sequence[InferRequest], emit: Emit, done: Done) -> None:
        self._model, self._requests, self._emit, self._done = model, requests, emit, done
        self._outcomes: list[Outcome | None] = [None] * len(requests)
        self._held: dict[int, Outcome] = {}  # answers whose last word is still to come
        self._left = len(requests)
        self._lock = threading.Lock()

    def run(self) -> None:
        """Call the model. Never raises for what it does; requests may be open when this returns."""
        received = [self._receive(place, request) for place, request in enumerate(self._requests)]
        try:
            result = self._model.execute(list(received))
            self._take(result, received)
        except DragomanError as error:
            self._fail_all(error)
        except BaseException as error:  # a model that calls sys.exit() must not take others' answers with it
            self._fail_all(failed(self._requests[0], error))

    def _receive(self, place: int, request: InferRequest) -> Received:
        sender = InferenceResponseSender(
            partial(self._send, place), lambda: request.abandoned, partial(self._lose, place)
        )
        return Received(request, self._model.outputs, sender)

    def _take(self, result: Any, received: Sequence[Received]) -> None:
        """What ``execute`` has returned. Raises InvalidOutput."""
        if self._model.decoupled:
            if result is not None:
                raise InvalidOutput(
                    f"Python model '{self._model.name}' is using the decoupled mode and the execute function must"
                    " return None."
                )
            return
        if result is None and all(request.sends for request in received):
            return
        if not isinstance(result, list):
            raise InvalidOutput(
                f"Expected a list in the execute return, found type '{type(result).__name__}'."
            )
        if len(result) != len(received):
            raise InvalidOutput(
                "Number of InferenceResponse objects do not match the number of InferenceRequest objects."
                f" InferenceRequest(s) size is:{len(received)}, and InferenceResponse(s) size is:{len(result)}"
            )
        for place, (request, response) in enumerate(zip(received, result, strict=True)):
            if response is None and request.sends:
                continue
            self._answer(place, self._outcome(place, response))

    def _send(self, place: int, response: InferenceResponse | None, final: bool) -> None:
        """What a sender sends. What comes after an error, or when the call has failed, is lost."""
        if self._outcomes[place] is not None:
            return
        outcome = None if response is None else self._outcome(place, response)
        if isinstance(outcome, DragomanError):
            self._answer(place, outcome)
        elif self._model.decoupled:
            if outcome is not None and not final:
                outcome.final = False
                self._emit(place, outcome)
            elif final:
                self._answer(place, outcome or self._empty(place))
        else:
            if outcome is not None and self._held.setdefault(place, outcome) is not outcome:
                raise TritonModelException("Unable to send response. Non-decoupled model sends one response.")
            if final:
                missing = InvalidOutput("the model has sent the final flag and no response")
                self._answer(place, self._held.pop(place, missing))

    def _lose(self, place: int) -> None:
        """The model has let go of a sender. That is found out wherever Python tidies up, locks held or not."""
        if self._outcomes[place] is None:
            missing = InvalidOutput("the model has not sent the final flag")
            self._model.later(partial(self._answer, place, missing))

    def _outcome(self, place: int, response: Any) -> Outcome:
        if not isinstance(response, InferenceResponse):
            return InvalidOutput(
                "Expected an InferenceResponse object in the execute function return list, found type"
                f" '{type(response).__name__}'."
            )
        if (said := response.error()) is not None:
            return to_failure(said)
        wanted = self._requests[place].outputs
        try:
            outputs = tuple(
                [
                    tensor.to_core()
                    for tensor in response.output_tensors()
                    if wanted is None or tensor.name() in wanted
                ]
            )
        except TritonModelException as error:
            return InvalidOutput(error.message())
        answer = self._empty(place)
        answer.outputs, answer.parameters = outputs, response.parameters()
        return answer

    def _empty(self, place: int) -> InferResponse:
        return InferResponse(self._model.name, self._model.version, (), self._requests[place].id)

    def _fail_all(self, error: DragomanError) -> None:
        for place in range(len(self._requests)):
            self._answer(place, error)

    def _answer(self, place: int, outcome: Outcome) -> None:
        """The last word to a request; the first one that comes counts."""
        with self._lock:
            if self._outcomes[place] is not None:
                return
            self._outcomes[place] = outcome
            self._left -= 1
            left = self._left
        if not left:
            self._done([each for each in self._outcomes if each is not None])
