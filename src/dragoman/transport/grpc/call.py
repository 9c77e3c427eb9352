"""The contract between what carries gRPC and everybody in front of it: a call whose messages are bytes.

An engine makes these; a handler is called with one and answers it, now or later, on the event loop's thread. Knows
nothing of what a message means.
"""

from collections.abc import Callable, Sequence
from enum import Enum, IntEnum
from typing import Protocol

from dragoman.transport.auth import Caller
from dragoman.transport.request import Buffer

#: A message's bytes, in one piece or in several that follow each other.
Message = Buffer | Sequence[Buffer]


class Status(IntEnum):
    """How a call ended, by gRPC's numbers."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Shape(Enum):
    """How many messages go each way."""

    UNARY = "unary"  #: one, and one back
    SERVER_STREAM = "server stream"  #: one, and any number back
    BIDI = "bidi"  #: any number both ways


class Call(Protocol):
    """One call that has been let in: its method is known, its client allowed, and a permit is taken."""

    message: bytes  #: the request; empty where requests are a stream
    arrived: float  #: when the call began, by ``time.monotonic``, in seconds
    deadline: float | None  #: when the client's patience ends, on the same clock
    on_cancel: Callable[[], None] | None  #: called once if nobody waits any more before the call has ended
    on_sent: Callable[[], None] | None  #: called whenever all that was sent is on its way
    on_end: Callable[[Status], None] | None  #: called once with its status, when the call is over
    caller: Caller  #: who asks; set by the guard that has found it out
    trailing: Sequence[tuple[str, str]]  #: metadata that goes with the call's end; names in lower case

    @property
    def method(self) -> str:
        """``/package.Service/Method``."""

    @property
    def peer(self) -> str:
        """The client's address, as in ``ipv4:127.0.0.1:54321``."""

    @property
    def unsent(self) -> int:
        """Bytes that wait because the client reads more slowly than it is answered."""

    def header(self, name: bytes) -> str | None:
        """The value of the first metadata with this (lower-case) name; none of those whose names end in ``-bin``."""

    @property
    def metadata(self) -> dict[str, str]:
        """All metadata that is text; of several with one name the last."""

    def respond(self, message: Message, metadata: Sequence[tuple[str, str]] = ()) -> None:
        """Answer with one message, and be done. Ignored when nobody waits any more, like all that follows.

        ``metadata`` goes before the message.
        """

    def fail(self, status: Status, text: str) -> None:
        """End without an answer, or after part of one."""

    def receive(self, deliver: Callable[[bytes | None], None]) -> None:
        """Ask for the client's next message, where requests are a stream: one question at a time.

        ``None`` is delivered when it has sent its last one, or may send no more because the server stops; nothing
        when nobody waits any more (``on_cancel`` tells). The client has to wait while nobody asks.
        """

    def send(self, message: Message) -> None:
        """One message of several. A client that lets too much wait is given up."""

    def end(self) -> None:
        """That was the last message."""


Handler = Callable[[Call], None]
