"""One call on its way through grpcio's core: what it waits for, what it has sent, and how it ended.

::

    OPEN ──respond, fail, end──► ENDED ──status is out──► CLOSED
      └──cancelled, deadline, connection lost─────────────► CLOSED    on_cancel is called on this way only
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from grpc._cython import cygrpc

from dragoman.transport.auth import ANYBODY, Caller
from dragoman.transport.grpc.call import Message, Shape, Status
from dragoman.transport.grpc.routes import Route
from dragoman.transport.grpc.status import fail_unexpected

if TYPE_CHECKING:
    from dragoman.transport.grpc.server import GrpcServer

#: Bytes of answers that may wait for a client that reads too slowly; then it is given up.
MAX_WAITING: Final = 67_108_864
#: Bytes of a status text. It travels among the trailers, for which clients have 8 KiB, percent-encoded.
_TEXT: Final = 2000
_OPEN, _ENDED, _CLOSED = range(3)
_NOTHING: Final = 0  # flags, of which none is ever set
_HEAD: Final = (cygrpc.SendInitialMetadataOperation(None, _NOTHING),)

Deliver = Callable[[bytes | None], None]


class Exchange:
    """Implements ``Call``. Every method whose name begins with ``on`` and an underscore is an event of the core."""

    __slots__ = (
        "_begun", "_core", "_deliver", "_details", "_last", "_metadata", "_progress", "_queue", "_route", "_server",
        "_state", "_stopping", "_writing", "arrived", "caller", "deadline", "message", "on_cancel", "on_end",
        "on_sent", "permitted", "received", "sent", "status", "trailing", "unsent",
    )  # fmt: skip

    def __init__(self, server: "GrpcServer", event: Any, route: Route) -> None:
        self._server = server
        self._core = event.call
        self._details = event.call_details
        self._metadata = event.invocation_metadata
        self._route = route
        self._state = _OPEN
        self._begun = False  # the initial metadata is out
        self._deliver: Deliver | None = None
        self._queue: deque[bytes] | None = None  # messages of a stream that wait
        self._writing = 0  # bytes of the message that is on its way
        self._last: tuple[Status, bytes] | None = None  # how it ends when all that waits is out
        self._stopping = False  # the server asks no more of it
        self.arrived = self._progress = time.monotonic()
        self.message = b""
        self.permitted = False  #: it holds a permit
        self.status = Status.CANCELLED  #: until it has another
        self.received = self.sent = self.unsent = 0  #: bytes
        self.on_cancel: Callable[[], None] | None = None
        self.on_sent: Callable[[], None] | None = None
        self.trailing: Sequence[tuple[str, str]] = ()
        self.on_end: Callable[[Status], None] | None = None
        self.caller: Caller = ANYBODY
        left = event.call_details.deadline - time.time()  # the core's clock is the wall's
        self.deadline = self.arrived + left if left < 1e9 else None

    # What a handler sees.

    @property
    def method(self) -> str:
        path: bytes = self._details.method
        return path.decode("utf-8", "replace")

    @property
    def peer(self) -> str:
        address: bytes = self._core.peer()
        return address.decode("ascii", "replace")

    def header(self, name: bytes) -> str | None:
        wanted = name.decode("latin-1")
        for key, value in self._metadata:
            if key == wanted and isinstance(value, str):
                return value
        return None

    @property
    def metadata(self) -> dict[str, str]:
        return {key: value for key, value in self._metadata if isinstance(value, str)}

    def respond(self, message: Message, metadata: Sequence[tuple[str, str]] = ()) -> None:
        if self._state != _OPEN:
            return
        whole = _joined(message)
        self.sent += len(whole)
        before: tuple[Any, ...] = (cygrpc.SendMessageOperation(whole, _NOTHING),)
        if metadata and not self._begun:
            pairs = tuple((name.lower(), value) for name, value in metadata)
            self._begun, before = True, (cygrpc.SendInitialMetadataOperation(pairs, _NOTHING), *before)
        self._finish(Status.OK, b"", before)

    def fail(self, status: Status, text: str) -> None:
        self._end_with(status, text.encode("utf-8", "replace")[:_TEXT])

    def receive(self, deliver: Deliver) -> None:
        if self._state == _CLOSED:
            return
        if self._stopping:
            deliver(None)
            return
        if self._deliver is not None:
            raise RuntimeError("the next message has been asked for already")
        self._deliver = deliver
        self._start((cygrpc.ReceiveMessageOperation(_NOTHING),), self.on_message)

    def send(self, message: Message) -> None:
        if self._state != _OPEN or self._last is not None:
            return
        whole = _joined(message)
        self.unsent += len(whole)
        if self.unsent > MAX_WAITING:
            self.give_up()
        elif self._writing or self._queue:
            self._queue = self._queue or deque()
            self._queue.append(whole)
        else:
            self._write(whole)

    def end(self) -> None:
        if self._stopping and self._route.shape is Shape.BIDI:
            self._end_with(Status.UNAVAILABLE, b"the server is stopping")
        else:
            self._end_with(Status.OK, b"")

    # The server calls these.

    @property
    def permit(self) -> bool:
        """It holds a permit, and the server waits for it when it stops."""
        return self._route.permit

    def begin(self) -> None:
        """Read the request, or let the handler read them."""
        self._start((cygrpc.ReceiveCloseOnServerOperation(_NOTHING),), self.on_closed)
        if self._state != _OPEN:
            return
        if self._route.shape is Shape.BIDI:
            self._handle()
        else:
            self._start((cygrpc.ReceiveMessageOperation(_NOTHING),), self.on_request)

    def refuse(self, status: Status, text: str) -> None:
        """End it before anything of it is read."""
        self._start((cygrpc.ReceiveCloseOnServerOperation(_NOTHING),), self.on_closed)
        self.fail(status, text)

    def stop(self) -> None:
        """Take no more requests of a stream; what was taken is answered."""
        self._stopping = True
        deliver, self._deliver = self._deliver, None
        if deliver is not None:
            deliver(None)

    def check(self, now: float, request_timeout: float, write_timeout: float) -> None:
        """End what has taken too long: a request that doesn't come, a client that doesn't read."""
        if self._state != _OPEN:
            return
        if self.unsent:
            if now - self._progress > write_timeout:
                self.give_up()
        elif (
            not self.received and self._route.shape is not Shape.BIDI and now - self.arrived > request_timeout
        ):
            self.fail(Status.DEADLINE_EXCEEDED, f"the request took more than {request_timeout:g} s to arrive")

    def give_up(self) -> None:
        """Reset the stream: the client does not read, so that it can't be told."""
        self._drop_unsent()
        self._core.cancel(cygrpc.StatusCode.resource_exhausted, "answers were not read in time")

    # Events.

    def on_request(self, event: Any) -> None:
        message: bytes | None = event.batch_operations[0].message()
        if self._state != _OPEN:
            return
        if message is None:  # of one over a limit the core has told already
            self.fail(Status.INVALID_ARGUMENT, "the call has no whole request")
            return
        self.received = len(message) or 1
        self.message = message
        self._handle()

    def on_message(self, event: Any) -> None:
        message: bytes | None = event.batch_operations[0].message()
        deliver, self._deliver = self._deliver, None
        if deliver is None or self._state == _CLOSED:
            return
        self.received += len(message or b"")
        deliver(message)

    def on_written(self, event: Any) -> None:
        self.unsent = max(0, self.unsent - self._writing)
        self._writing = 0
        self._progress = time.monotonic()
        if self._state != _OPEN:
            return
        if self._queue:
            self._write(self._queue.popleft())
        elif self._last is not None:
            self._finish(*self._last)
        elif self.on_sent is not None:
            self.on_sent()

    def on_finished(self, event: Any) -> None:
        """The status is out; ``on_closed`` tells the rest."""

    def on_closed(self, event: Any) -> None:
        gone = self._state == _OPEN
        self._state = _CLOSED
        self._deliver = None
        self._drop_unsent()
        self._server.closed(self)
        if gone and self.on_cancel is not None:
            self.on_cancel()
        if self.on_end is not None:
            self.on_end(self.status)

    def _handle(self) -> None:
        try:
            self._route.handler(self)
        except Exception as error:
            fail_unexpected(self, error)

    def _write(self, message: bytes) -> None:
        self._writing = len(message)
        self.sent += len(message)
        operations: tuple[Any, ...] = (cygrpc.SendMessageOperation(message, _NOTHING),)
        if not self._begun:
            self._begun, operations = True, _HEAD + operations
        self._start(operations, self.on_written)

    def _end_with(self, status: Status, text: bytes) -> None:
        """What was sent before goes out first."""
        if self._state != _OPEN or self._last is not None:
            return
        if self._writing or self._queue:
            self._last = status, text
        else:
            self._finish(status, text)

    def _finish(self, status: Status, text: bytes, before: tuple[Any, ...] = ()) -> None:
        self._state = _ENDED
        self.status = status
        head = () if self._begun else _HEAD
        last = cygrpc.SendStatusFromServerOperation(tuple(self.trailing) or None, int(status), text, _NOTHING)
        self._start((*head, *before, last), self.on_finished)

    def _start(self, operations: tuple[Any, ...], tag: Callable[[Any], None]) -> None:
        self._core.start_server_batch(operations, tag)

    def _drop_unsent(self) -> None:
        self.unsent = 0
        self._queue = None


def _joined(message: Message) -> bytes:
    """The core takes bytes in one piece."""
    if type(message) is bytes:
        return message
    if isinstance(message, bytes | bytearray | memoryview):
        return bytes(message)
    return b"".join(message)
