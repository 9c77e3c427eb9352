"""One request and its one answer: what handlers are called with. Knows nothing of how bodies come in."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from dragoman.transport import answer, compression
from dragoman.transport.auth import ANYBODY, Caller
from dragoman.transport.body import Inbox
from dragoman.transport.head import Head
from dragoman.transport.request import NO_LINES, Buffer, Header, Lines

if TYPE_CHECKING:
    from dragoman.transport.connection import Connection

log = logging.getLogger("dragoman.transport")

#: Up to here a copy costs less than a second buffer on its way to the kernel.
_JOINED: Final = 16_384
_NO_HEADERS: Final = answer.Extra()


class Exchange:
    """Implements ``HttpRequest``. It is open until the answer is complete or the client is gone."""

    __slots__ = (
        "_chunked", "_close", "_connection", "_head", "_inbox", "_left", "_sent", "_silent", "_status",
        "arrived", "body", "caller", "lines", "on_answer", "on_disconnect", "params",
    )  # fmt: skip

    def __init__(
        self,
        connection: "Connection",
        head: Head,
        params: tuple[str, ...],
        body: bytes | memoryview,
        arrived: float,
    ) -> None:
        self._connection: Connection | None = connection
        self._head = head
        self.params = params
        self.body = body
        self.arrived = arrived
        self.on_disconnect: Callable[[], None] | None = None
        self.on_answer: Callable[[int], None] | None = None
        self.caller: Caller = ANYBODY
        self.lines = NO_LINES
        self._status = 0  # until an answer has begun

    @property
    def method(self) -> str:
        return self._head.method

    @property
    def path(self) -> str:
        return self._head.path

    @property
    def root_path(self) -> str:
        return ""

    @property
    def query(self) -> str:
        return self._head.query

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return list(self._head.headers)

    @property
    def http_version(self) -> str:
        return "1.1" if self._head.modern else "1.0"

    @property
    def scheme(self) -> str:
        connection = self._connection
        return "https" if connection is not None and connection.extra("sslcontext") is not None else "http"

    @property
    def client(self) -> tuple[str, int] | None:
        peer = None if self._connection is None else self._connection.extra("peername")
        return (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None

    @property
    def server(self) -> tuple[str, int | None] | None:
        name = None if self._connection is None else self._connection.extra("sockname")
        if isinstance(name, tuple):
            return str(name[0]), int(name[1])
        return (name, None) if isinstance(name, str) and name else None

    def header(self, name: bytes) -> str | None:
        return self._head.header(name)

    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        return self._head.raw_headers()

    def hide(self, name: bytes) -> None:
        self._head.hide(name)

    @property
    def notes(self) -> dict[str, Any]:
        return self._head.notes

    # An answer at once.

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
        connection = self._connection
        if connection is None:
            return
        extra = answer.read_headers(headers) if headers else _NO_HEADERS
        if (
            type(body) is bytes
            and len(body) <= _JOINED
            and self._head.plain
            and connection.server.plain
            and extra.length is None
            and not extra.close
            and not (compress and self._head.accepts_coding)
            and status not in answer.BODILESS
            and not connection.reading
            and self._status == 0
            and self.on_answer is None
        ):
            vary = answer.VARY if compress else ""
            start = answer.opening(status, reason, content_type)
            text = f"{start}{extra.text}{self.lines}{common}{vary}Content-Length: {len(body)}\r\n\r\n"
            whole = text.encode("latin-1") + body
            self._connection = None
            connection.write(whole)
            connection.answered(False)
            return
        start = answer.opening(status, reason, content_type) + extra.text + self.lines + common
        self._respond(connection, status, body, start, extra.close, compress)

    def _respond(
        self,
        connection: "Connection",
        status: int,
        body: Buffer | Sequence[Buffer],
        text: str,
        close: bool,
        compress: bool,
    ) -> None:
        if self._status:
            raise RuntimeError("an answer has begun already")
        buffers = [body] if isinstance(body, bytes | bytearray | memoryview) else body
        flats = [answer.flat(buffer) for buffer in buffers if answer.size_of(buffer)]
        if compress:
            text += answer.VARY
            level = connection.server.compression
            coding = compression.choose(self.header(b"accept-encoding")) if level else None
            if coding is not None:
                text += f"Content-Encoding: {coding}\r\n"
                flats = [compression.deflate(flats, coding, level)]
        size = sum(map(len, flats))
        if status not in answer.BODILESS:
            text += f"Content-Length: {size}\r\n"
        if self._head.method == "HEAD" or status in answer.BODILESS:
            flats, size = [], 0
        close = self._closes(connection, close)
        start = (text + self._connection_line(close) + "\r\n").encode("latin-1")
        self._connection = None
        if size <= _JOINED:
            connection.write(b"".join((start, *flats)))
        else:
            connection.write(start)
            for buffer in flats:
                connection.write(buffer)
        self._status = status
        self._log(connection, status, size)
        connection.answered(close)

    # An answer in pieces.

    def start(
        self,
        status: int,
        headers: Iterable[Header] = (),
        *,
        common: Lines = NO_LINES,
        reason: str | None = None,
    ) -> None:
        connection = self._connection
        if connection is None:
            return
        if self._status:
            raise RuntimeError("an answer has begun already")
        extra = answer.read_headers(headers)
        self._silent = self._head.method == "HEAD" or status in answer.BODILESS
        self._chunked = extra.length is None and self._head.modern and not self._silent
        self._left = extra.length
        self._sent = 0
        # An answer of unknown length to HTTP/1.0 ends with the connection.
        endless = extra.length is None and not self._chunked and not self._silent
        self._close = self._closes(connection, extra.close or endless)
        text = answer.status_line(status, reason) + extra.text + self.lines + common
        if extra.length is not None and status not in answer.BODILESS:
            text += f"Content-Length: {extra.length}\r\n"
        elif self._chunked:
            text += "Transfer-Encoding: chunked\r\n"
        start = (text + self._connection_line(self._close) + "\r\n").encode("latin-1")
        self._status = status
        connection.write(start)

    async def send(self, piece: Buffer) -> None:
        connection = self._connection
        if connection is None or connection.closing:
            raise ConnectionResetError("the client is gone")
        if not self._status:
            raise RuntimeError("send comes after start")
        size = answer.size_of(piece)
        if size and not self._silent:
            if self._left is not None:
                if size > self._left:
                    raise RuntimeError("more was sent than Content-Length said")
                self._left -= size
            self._sent += size
            self._write(connection, answer.flat(piece), size)
        if connection.write_paused:
            await connection.writable()
            if self._connection is None:
                raise ConnectionResetError("the client is gone")

    def _write(self, connection: "Connection", piece: Buffer, size: int) -> None:
        if not self._chunked:
            connection.write(piece)
        elif size <= _JOINED:
            connection.write(b"".join((b"%x\r\n" % size, piece, b"\r\n")))
        else:
            connection.write(b"%x\r\n" % size)
            connection.write(piece)
            connection.write(b"\r\n")

    def end(self) -> None:
        connection = self._connection
        if connection is None:
            return
        if not self._status:
            raise RuntimeError("end comes after start")
        if self._left and not self._silent:
            log.error("an answer to %s ended %d bytes before its Content-Length", self.path, self._left)
            self.abort()
            return
        self._connection = None
        if self._chunked:
            connection.write(b"0\r\n\r\n")
        self._log(connection, self._status, self._sent)
        connection.answered(self._close)

    def abort(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._log(connection, self._status, 0)
            connection.abort()

    async def receive(self) -> bytes | None:
        connection = self._connection
        inbox: Inbox | None = getattr(self, "_inbox", None)
        if inbox is None:
            return None  # the body is whole and in ``body``
        piece = await inbox.get()
        if connection is not None:
            connection.control_reading()
        return piece

    # For the connection.

    @property
    def open(self) -> bool:
        """It waits for its answer, or for more of it."""
        return self._connection is not None

    @property
    def begun(self) -> bool:
        """Some of the answer has been written."""
        return self._status != 0

    def open_inbox(self) -> Inbox:
        """From now on ``receive`` reads what is put there."""
        self._inbox = Inbox()
        return self._inbox

    def lost(self, status: int) -> None:
        """The client is gone, or has been told ``status`` without the handler."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._log(connection, status, 0)
        inbox: Inbox | None = getattr(self, "_inbox", None)
        if inbox is not None:
            inbox.lose()
        if self.on_disconnect is not None:
            try:
                self.on_disconnect()
            except Exception:
                log.exception("on_disconnect of %s failed", self.path)

    def _closes(self, connection: "Connection", wanted: bool) -> bool:
        return wanted or not self._head.keep_alive or connection.server.draining or connection.reading

    def _connection_line(self, close: bool) -> str:
        if close:
            return "Connection: close\r\n"
        return "" if self._head.modern else "Connection: keep-alive\r\n"

    def _log(self, connection: "Connection", status: int, sent: int) -> None:
        server = connection.server
        if self.on_answer is not None:
            self.on_answer(status)
        if server.access is not None:
            inbox: Inbox | None = getattr(self, "_inbox", None)
            size = len(self.body) if inbox is None else inbox.total
            server.access(self.method, self.path, status, server.clock() - self.arrived, size, sent)
