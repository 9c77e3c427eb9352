"""Between the transport and a handler: hands what comes and goes to the payload log. Knows bytes and no protocol.

Only requests that are to be kept get one of these; the others' handlers are called as ever.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, Final, cast
from uuid import uuid4

from dragoman.payloads import REQUEST, RESPONSE, PayloadLog
from dragoman.transport.request import NO_LINES, Buffer, Handler, Header, HttpRequest, Lines

#: Headers that may have the id of a request, in this order: CloudEvents' own, as KServe reads it, and everybody's.
ID_HEADERS: Final = (b"ce-id", b"x-request-id")


def recorded(handler: Handler, payloads: PayloadLog) -> Handler:
    """``handler``, whose requests and answers are kept."""

    @wraps(handler)
    def handle(http: HttpRequest) -> None:
        handler(cast(HttpRequest, Recording(http, payloads)) if payloads.wanted() else http)

    return handle


def id_of(header: Callable[[bytes], str | None]) -> str:
    """The id that the client has given its request, or one of our own."""
    for name in ID_HEADERS:
        if found := header(name):
            return found
    return str(uuid4())


class Recording:
    """An ``HttpRequest`` that keeps what is sent through it. Answers that fail are not kept, as KServe doesn't."""

    __slots__ = ("_content_type", "_http", "_id", "_payloads", "_pieces", "_read", "_size")

    def __init__(self, http: HttpRequest, payloads: PayloadLog) -> None:
        self._http = http
        self._payloads = payloads
        self._id = id_of(http.header)
        self._content_type = ""
        self._pieces: list[bytes] | None = None  # of an answer that is kept and has begun
        self._read: list[bytes] = []
        self._size = 0
        if http.body:
            self._keep_request([http.body])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._http, name)

    @property
    def on_disconnect(self) -> Callable[[], None] | None:
        return self._http.on_disconnect

    @on_disconnect.setter
    def on_disconnect(self, callback: Callable[[], None] | None) -> None:
        self._http.on_disconnect = callback

    @property
    def on_answer(self) -> Callable[[int], None] | None:
        return self._http.on_answer

    @on_answer.setter
    def on_answer(self, callback: Callable[[int], None] | None) -> None:
        self._http.on_answer = callback

    async def receive(self) -> bytes | None:
        piece = await self._http.receive()
        if piece is not None:
            self._read.append(piece)
        elif self._read:
            self._keep_request(self._read)
            self._read = []
        return piece

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
        headers = tuple(headers)
        kept = self._copy(status, [body] if isinstance(body, bytes | bytearray | memoryview) else body)
        self._http.respond(
            status, body, content_type, headers, common=common, compress=compress, reason=reason
        )
        if kept is not None:
            self._put(RESPONSE, content_type or _type_among(headers), kept)

    def start(
        self,
        status: int,
        headers: Iterable[Header] = (),
        *,
        common: Lines = NO_LINES,
        reason: str | None = None,
    ) -> None:
        headers = tuple(headers)
        self._http.start(status, headers, common=common, reason=reason)
        if status < 300 and self._payloads.takes(RESPONSE):
            self._content_type = _type_among(headers)
            self._pieces = []

    async def send(self, piece: Buffer) -> None:
        if self._pieces is not None:
            self._pieces.append(bytes(piece))
            self._size += len(self._pieces[-1])
            if self._size > self._payloads.room:
                self._pieces = None
                self._payloads.drop()
        await self._http.send(piece)

    def end(self) -> None:
        self._http.end()
        if self._pieces is not None:
            self._put(RESPONSE, self._content_type, b"".join(self._pieces))
            self._pieces = None

    def _keep_request(self, pieces: Sequence[Buffer]) -> None:
        if self._payloads.takes(REQUEST) and (kept := self._payloads.copy(pieces)) is not None:
            self._put(REQUEST, self._http.header(b"content-type") or "", kept)

    def _copy(self, status: int, pieces: Sequence[Buffer]) -> bytes | None:
        wanted = status < 300 and self._payloads.takes(RESPONSE)
        return self._payloads.copy(pieces) if wanted else None

    def _put(self, kind: str, content_type: str, body: bytes) -> None:
        self._payloads.put(kind, self._id, self._http.path, content_type, body)


def _type_among(headers: Iterable[Header]) -> str:
    return next((value for name, value in headers if name.lower() == "content-type"), "")
