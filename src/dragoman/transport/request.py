"""The contract between the transport and everybody in front of it: a request that can be answered once.

The HTTP server makes these; a handler is called with one and answers it, now or later, on the loop's thread.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NewType, Protocol

from dragoman.transport.auth import Caller

Buffer = bytes | bytearray | memoryview
Header = tuple[str, str]
#: Headers as they are written, made by ``answer.lines_of``.
Lines = NewType("Lines", str)
NO_LINES: Final = Lines("")


class HttpRequest(Protocol):
    """One HTTP request whose head, limits and permit have been checked."""

    body: bytes | memoryview  #: whole and inflated; empty while a streaming handler reads it with ``receive``
    params: tuple[str, ...]  #: what the route's ``{}`` segments matched, percent-decoded
    arrived: float  #: when the head was complete, by the event loop's clock, in seconds
    on_disconnect: Callable[[], None] | None  #: called once if the client goes before the answer is complete
    caller: Caller  #: who asks; set by the guard that has found it out
    lines: Lines  #: headers that the answer has whatever it is, set by guards
    on_answer: (
        Callable[[int], None] | None
    )  #: called once with the status, when the answer is complete or nobody waits

    @property
    def method(self) -> str:
        """Upper case."""

    @property
    def path(self) -> str:
        """As sent: no percent-decoding, no query."""

    @property
    def root_path(self) -> str:
        """What comes before ``path`` where another application has mounted this one; mostly nothing."""

    @property
    def query(self) -> str:
        """As sent, without the question mark."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Names in lower case, in the order sent; a list of the caller's own."""

    @property
    def http_version(self) -> str:
        """``1.1`` or ``1.0``."""

    @property
    def scheme(self) -> str:
        """``http`` or ``https``, as this server sees it."""

    @property
    def client(self) -> tuple[str, int] | None:
        """The peer's address and port; ``None`` over a Unix socket."""

    @property
    def server(self) -> tuple[str, int | None] | None:
        """The address and port the client reached; over a Unix socket its path and ``None``."""

    def header(self, name: bytes) -> str | None:
        """The value of the first header with this (lower-case) name."""

    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """Names as the client wrote them, in the order sent. Shared: not to be changed."""

    def hide(self, name: bytes) -> None:
        """Leave a header (in lower case) out of ``headers`` and ``raw_headers``, which models are told: a secret that
        is meant for this server. ``header`` still reads it."""

    @property
    def notes(self) -> dict[str, Any]:
        """What protocols have worked out of this head, by a name of theirs: clients send the same head again and
        again. Shared by all requests with these bytes of head."""

    def respond(
        self,
        status: int,
        body: Buffer | Sequence[Buffer] = b"",
        content_type: str = "application/json",
        headers: Iterable[Header] = (),
        *,
        common: Lines = NO_LINES,
        compress: bool = False,
        reason: str | None = None,
    ) -> None:
        """Answer, whole. Buffers are written as they are, not joined. Ignored when the client is gone.

        ``reason`` takes the place of the status' usual phrase; it may be empty. Raises ValueError for a header
        or reason that can't be written, before anything is.

        ``common`` are headers that many answers have, and come after ``headers``. ``compress`` lets the client's
        Accept-Encoding choose gzip or deflate.
        """

    async def receive(self) -> bytes | None:
        """The next piece of the body, for streaming handlers; ``None`` is its end. Raises ConnectionError."""

    def start(
        self,
        status: int,
        headers: Iterable[Header] = (),
        *,
        common: Lines = NO_LINES,
        reason: str | None = None,
    ) -> None:
        """Begin an answer that comes in pieces (chunked unless ``content-length`` is among the headers)."""

    async def send(self, piece: Buffer) -> None:
        """Write a piece; waits while the client reads too slowly. Raises ConnectionError when it is gone."""

    def end(self) -> None:
        """The answer is complete."""

    def abort(self) -> None:
        """Close the connection: an answer has begun that can't be completed, and the client must see that."""


Handler = Callable[[HttpRequest], None]
#: Asked about each request of its routes when the head is there, before a permit is taken, 100-continue is said or any
#: of the body is read. It answers whom it doesn't let in (or raises why), and that is the connection's last answer.
Guard = Callable[[HttpRequest], None]
