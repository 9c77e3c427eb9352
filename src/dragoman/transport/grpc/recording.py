"""Between a call and its handler: hands messages to the payload log. Knows bytes and no service."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final, cast

from dragoman.payloads import REQUEST, RESPONSE, PayloadLog
from dragoman.transport.grpc.call import Call, Handler, Message, Status
from dragoman.transport.recording import id_of

CONTENT_TYPE: Final = "application/x-protobuf"


def recorded(handler: Handler, payloads: PayloadLog) -> Handler:
    """``handler``, whose messages are kept."""

    @wraps(handler)
    def handle(call: Call) -> None:
        handler(cast(Call, Recording(call, payloads)) if payloads.wanted() else call)

    return handle


class Recording:
    """A ``Call`` that keeps the messages that go through it: one each way under the call's id, those of a stream
    under ``id-1``, ``id-2`` and so on."""

    __slots__ = ("_asked", "_call", "_id", "_payloads", "_told")

    def __init__(self, call: Call, payloads: PayloadLog) -> None:
        self._call = call
        self._payloads = payloads
        self._id = id_of(call.header)
        self._asked = self._told = 0
        if call.message:
            self._keep(REQUEST, self._id, call.message)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    @property
    def on_cancel(self) -> Callable[[], None] | None:
        return self._call.on_cancel

    @on_cancel.setter
    def on_cancel(self, callback: Callable[[], None] | None) -> None:
        self._call.on_cancel = callback

    @property
    def on_sent(self) -> Callable[[], None] | None:
        return self._call.on_sent

    @on_sent.setter
    def on_sent(self, callback: Callable[[], None] | None) -> None:
        self._call.on_sent = callback

    @property
    def on_end(self) -> Callable[[Status], None] | None:
        return self._call.on_end

    @on_end.setter
    def on_end(self, callback: Callable[[Status], None] | None) -> None:
        self._call.on_end = callback

    @property
    def trailing(self) -> Sequence[tuple[str, str]]:
        return self._call.trailing

    @trailing.setter
    def trailing(self, metadata: Sequence[tuple[str, str]]) -> None:
        self._call.trailing = metadata

    def receive(self, deliver: Callable[[bytes | None], None]) -> None:
        def keep(message: bytes | None) -> None:
            if message is not None:
                self._asked += 1
                self._keep(REQUEST, f"{self._id}-{self._asked}", message)
            deliver(message)

        self._call.receive(keep)

    def respond(self, message: Message, metadata: Sequence[tuple[str, str]] = ()) -> None:
        self._keep(RESPONSE, self._id, message)
        self._call.respond(message, metadata)

    def send(self, message: Message) -> None:
        self._told += 1
        self._keep(RESPONSE, f"{self._id}-{self._told}", message)
        self._call.send(message)

    def _keep(self, kind: str, request_id: str, message: Message) -> None:
        if not self._payloads.takes(kind):
            return
        kept = self._payloads.copy(
            [message] if isinstance(message, bytes | bytearray | memoryview) else message
        )
        if kept is not None:
            self._payloads.put(kind, request_id, self._call.method, CONTENT_TYPE, kept)
