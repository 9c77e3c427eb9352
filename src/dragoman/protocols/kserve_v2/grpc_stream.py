"""One stream of inferences: requests as they come, answers as they are ready, in the order of their requests.

Knows the codec and what submits a request, not which model that is.

An answer in one piece waits until those of earlier requests are out. One that comes in parts (a decoupled model's)
keeps the order of its own parts only, as with Triton.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from dragoman.errors import DragomanError
from dragoman.protocols.kserve_v2 import grpc_codec
from dragoman.scheduling.scheduler import Outcome, Reply, Ticket
from dragoman.transport.grpc.call import Call
from dragoman.transport.grpc.status import fail
from dragoman.types import InferResponse

if TYPE_CHECKING:
    from dragoman.engine.model import Model

#: Requests of one stream that may be open at once; the client's next one is read when one of them has its answer.
MOST: Final = 256
#: Bytes of answers that may wait for the client before its next request is read.
UNREAD: Final = 1_048_576

Decode = Callable[[grpc_codec.Parsed, Call], tuple["Model", grpc_codec.Asked]]
Submit = Callable[["Model", grpc_codec.Asked, Reply], Ticket | None]


class InferStream:
    """``ask`` it once; it goes on by itself until the client has said its last and has every answer."""

    def __init__(self, call: Call, decode: Decode, submit: Submit) -> None:
        self.decode = decode
        self.submit = submit
        self.call = call
        # Triton: with this header an error ends the stream, with a status of its own.
        self._strict = (call.header(b"triton_grpc_error") or "").lower() == "true"
        self._open: set[Turn] = set()
        self._order: deque[Turn] = deque()  # those of them whose answer has to wait for the ones before
        self._asking = False
        self._complete = False  # the client has sent its last request
        self._over = False
        self._counted = False
        call.on_cancel = self._stop
        call.on_sent = self.ask

    def ask(self) -> None:
        """Read the client's next request, unless enough is open."""
        if self._asking or self._complete or self._over:
            return
        if len(self._open) < MOST and self.call.unsent < UNREAD:
            self._asking = True
            self.call.receive(self._take)

    def count(self) -> None:
        """One more request; the first has been counted when the call was let in. Raises DragomanError."""
        if self._counted:
            self.call.caller.spend()
        self._counted = True

    def send(self, pieces: grpc_codec.Pieces) -> None:
        """A part that has no order to keep but that of its own answer."""
        self.call.send(pieces)

    def leave_order(self, turn: "Turn") -> None:
        """Its answer comes in parts: others need not wait for it."""
        if turn in self._order:
            self._order.remove(turn)
            self._flush()

    def finish(self, turn: "Turn") -> None:
        """It has all of its answer, or an error instead."""
        if self._over:
            return
        if turn not in self._order:
            self._close(turn)
        self._flush()

    def _take(self, message: bytes | None) -> None:
        self._asking = False
        if message is None:
            self._complete = True
        else:
            turn = Turn(self)
            self._open.add(turn)
            self._order.append(turn)
            turn.begin(message)
        self._go_on()

    def _flush(self) -> None:
        while self._order and self._order[0].done:
            self._close(self._order.popleft())
        self._go_on()

    def _close(self, turn: "Turn") -> None:
        self._open.discard(turn)
        if turn.error is not None and self._strict:
            fail(self.call, turn.error)
            self._stop()
            return
        for pieces in turn.answer:
            self.call.send(pieces)

    def _go_on(self) -> None:
        if not self._complete:
            self.ask()
        elif not self._open and not self._over:
            self._over = True
            self.call.end()

    def _stop(self) -> None:
        """Nobody waits for any answer."""
        self._over = True
        for turn in tuple(self._open):
            turn.leave()
        self._open.clear()
        self._order.clear()


class Turn:
    """One request of a stream and its answer; ``answer`` and ``error`` are what has to wait for its place."""

    __slots__ = ("_asked", "_entry", "_id", "_model", "_parts", "_stream", "answer", "done", "error")

    def __init__(self, stream: InferStream) -> None:
        self.answer: list[grpc_codec.Pieces] = []
        self.error: DragomanError | None = None
        self.done = False
        self._stream = stream
        self._entry: Ticket | None = None
        self._id = ""
        self._parts = False

    def begin(self, message: bytes) -> None:
        """Submit the request; what is wrong with it is its answer."""
        try:
            self._stream.count()
            parsed = grpc_codec.parse_infer(message)
            self._id = parsed.head.id
            self._model, self._asked = self._stream.decode(parsed, self._stream.call)
            self._entry = self._stream.submit(self._model, self._asked, self._reply)
        except DragomanError as error:
            self._fail(error, "")

    def leave(self) -> None:
        """Nobody waits for it."""
        if self._entry is not None:
            self._entry.leave()

    def _reply(self, outcome: Outcome) -> None:
        """Every part of the answer, the last one marked ``final``, or the failure. Raises DragomanError."""
        if not isinstance(outcome, InferResponse):
            self._fail(outcome, self._model.name)
        elif outcome.final:
            self._finish(outcome)
        else:
            pieces = self._encode(outcome)
            self._parts = True
            self._stream.leave_order(self)
            self._stream.send(pieces)

    def _finish(self, outcome: InferResponse) -> None:
        if outcome.outputs or not (self._parts or self._model.decoupled):
            self.answer.append(self._encode(outcome))
        elif self._asked.empty_final:
            last = grpc_codec.encode_empty_final(self._model.name, self._id)
            self.answer.append(grpc_codec.encode_streamed(last))
        self.done = True
        self._stream.finish(self)

    def _fail(self, error: DragomanError, model: str) -> None:
        self.error = error
        self.answer.append(grpc_codec.encode_stream_error(error.message, self._id, model))
        self.done = True
        self._stream.finish(self)

    def _encode(self, response: InferResponse) -> grpc_codec.Pieces:
        asked, signature = self._asked, self._model.signature
        pieces = grpc_codec.encode_infer(response, asked.forms, signature, response.final)
        return grpc_codec.encode_streamed(pieces)
