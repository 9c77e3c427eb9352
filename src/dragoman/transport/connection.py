"""One client's connection: bytes in, one exchange at a time, in order. Knows limits, and no route's meaning.

::

    IDLE ──head──► READING ──body──► WORK ──answer──► IDLE      guards are asked at READING, before any of the body;
      │               │               │                         handlers of a whole body are called at WORK, streaming
      │               │               │                         ones at READING
      └───refused─────┴─────close─────┴──► LINGER ──► CLOSED    reads and forgets, so that the client can
                                                                read its answer before it sees the end
"""

import logging
from typing import TYPE_CHECKING, Final

from dragoman.errors import DragomanError
from dragoman.transport import answer, compression
from dragoman.transport.body import SMALL, Body, DirectBody, Inbox, open_body, settled
from dragoman.transport.channel import CLOSED, IDLE, LINGER, READING, WORK, Channel
from dragoman.transport.exchange import Exchange
from dragoman.transport.head import Head, Refusal, cut_head, parse_head
from dragoman.transport.status import STATUS, error_body, error_headers, respond_failure

if TYPE_CHECKING:
    import asyncio

    from dragoman.transport.http import HttpServer
    from dragoman.transport.request import Guard, Handler
    from dragoman.transport.router import Route

log = logging.getLogger("dragoman.transport")

#: Bytes received but not yet understood, or understood but not yet read, before the client has to wait.
_BACKLOG: Final = 131_072
#: Requests of one connection that are begun before others have their turn.
_TURN: Final = 16
#: Bytes inflated in one go; the loop serves others in between.
_INFLATED: Final = 4_194_304


class Connection(Channel):
    """Made for each accepted client. Everything here runs on the event loop's thread."""

    __slots__ = (
        "_advancing", "_body", "_closing", "_direct", "_expected", "_flushing", "_head", "_inbox", "_mark",
        "_params", "_pending", "_permit", "_raw", "_received", "_route", "_scratch", "exchange", "server",
    )  # fmt: skip

    def __init__(self, server: "HttpServer") -> None:
        super().__init__(server)
        self.server = server
        self.exchange: Exchange | None = None
        self._scratch = server.scratch
        self._pending = bytearray()
        self._head: Head | None = None  # the last one; clients like to send the same again
        self._raw = b""
        self._expected = -1  # bytes of a request just like the last one, if such a one takes the short way
        self._body: Body | None = None
        self._direct: DirectBody | None = None
        self._inbox: Inbox | None = None
        self._permit = 0
        self._advancing = self._closing = self._flushing = False
        self._received = self._mark = 0

    # The transport calls these.

    def connection_made(self, transport: "asyncio.BaseTransport") -> None:
        super().connection_made(transport)
        if not self.server.joined(self):
            self.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._scratch if self._direct is None else self._direct.room()

    def buffer_updated(self, nbytes: int) -> None:
        if self._state == IDLE and not self._pending and not self.write_paused:
            data = self._scratch[:nbytes].tobytes()
            if nbytes == self._expected and data.startswith(self._raw):
                self._repeat(data)
                return
            self._expect(self.server.limits.header_timeout)
            self._pending += data
        elif self._state >= LINGER:
            return
        elif self._direct is None:
            self._pending += self._scratch[:nbytes]
        else:
            self._direct.received += nbytes
        self._received += nbytes
        self._advance()

    def eof_received(self) -> bool:
        if self._state == READING or (self._state == IDLE and self._pending):
            self._refuse(Refusal(400, "the request ends too early"))
        elif not self._flushing:
            self._drop(499)  # who has said the last word is gone: nobody would notice otherwise
        self._rest()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.server.left(self)
        self._drop(499)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._flushing:
            self._flushing = False
            self.answered(self._closing)
        elif self._state == IDLE and self._pending:
            self._advance()

    # The exchange calls these, and the channel's.

    def answered(self, close: bool) -> None:
        """The answer has been written. Its permit is kept until the client has taken nearly all of it."""
        if self.write_paused:
            self._flushing, self._closing = True, close
            return
        server = self.server
        self.exchange = None
        server.in_flight -= 1
        server.permits += self._permit
        if self._state >= LINGER:
            pass
        elif close or self._state == READING:
            self._linger(unread=self._state == READING)
        else:
            self._state = IDLE
            self._deadline = 0.0
            self._inbox = None
            if self._pending and not self._advancing:
                self._advance()
            elif not self._pending:
                self._pause_reading(False)
        if server.draining:
            server.progress()

    def control_reading(self) -> None:
        """Makes the client wait while there is too much to do, and lets it go on."""
        if self._state >= LINGER:
            return
        full = len(self._pending) > _BACKLOG or (self._inbox is not None and self._inbox.size > _BACKLOG)
        if self._reading_paused and not full and self._state == READING:
            self._watch_body()  # the time that we made it wait isn't the client's
        self._pause_reading(full)

    def abort(self) -> None:
        self._drop(499)
        super().abort()

    # The server calls these, ``close`` and ``abort``.

    def check(self, now: float) -> None:
        """Ends whatever has taken too long. ``now`` is the server's clock."""
        limits = self.server.limits
        if self._state == CLOSED:
            return
        stuck = self._stuck(now)
        if stuck is not None:
            if stuck:
                self.abort()
        elif self._state == IDLE and self._deadline == 0.0:
            self._deadline = now + (limits.header_timeout if self._pending else limits.idle_timeout)
        elif self._state == WORK or self._reading_paused or now < self._deadline:
            return
        elif self._state == IDLE and not self._pending:
            self.close()
        elif self._state == IDLE:
            self._refuse(Refusal(408, f"the request's head took more than {limits.header_timeout:g} s"))
        elif self._state == LINGER:
            self.abort()
        elif self._received - self._mark < limits.body_rate * limits.header_timeout:
            self._refuse(Refusal(408, f"the body is slower than {limits.body_rate} bytes a second"))
        else:
            self._watch_body()

    def close_idle(self) -> None:
        """Closes a connection that nothing is expected of."""
        if self._state == IDLE and not self._pending:
            self.close()

    def stop(self) -> None:
        """The server's patience is over: whoever has no answer is told so."""
        if self.exchange is not None and (self._flushing or self.exchange.begun):
            self.abort()
            return
        if self.exchange is not None:
            self._refuse(Refusal(503, "the server is stopping", (("Retry-After", "1"),)))
        self.close()

    # From bytes to a request.

    def _repeat(self, data: bytes) -> None:
        """The short way: the same head as last time, with its body, in one piece."""
        server, permit = self.server, self._route.permit
        head = self._head
        assert head is not None
        server.in_flight += 1
        self._permit = 0
        self.exchange = exchange = Exchange(self, head, self._params, data[len(self._raw) :], server.clock())
        if self._route.guard is not None and not self._admits(exchange, self._route.guard):
            return
        if server.permits < permit:
            self._refuse(_overloaded())
            return
        self._permit = permit
        server.permits -= permit
        self._state = WORK
        self._call(exchange, self._route.handler)

    def _advance(self) -> None:
        """Does all that can be done with the bytes that are here, a turn at a time."""
        if self._advancing:
            return
        self._advancing = True
        turn = 0
        try:
            while (self._state == IDLE and not self.write_paused and self._take_head()) or (
                self._state == READING and self._take_body()
            ):
                turn += 1
                if turn == _TURN:
                    self.server.loop.call_soon(self._advance)
                    break
        except Refusal as refusal:
            self._refuse(refusal)
        except DragomanError as error:
            self._refuse(Refusal(STATUS[error.code], error.message, error_headers(error)))
        finally:
            self._advancing = False
        self.control_reading()

    def _take_head(self) -> bool:
        """Says whether a request has begun."""
        pending, head = self._pending, self._head
        if self.closing:
            return False
        if head is None or not pending.startswith(self._raw):
            if pending.startswith(b"\r\n"):
                del pending[:2]  # RFC 9112 2.2: some clients end a body with one too many
            raw = None if pending == b"\r" else cut_head(pending, self.server.limits)
            if raw is None:
                return False
            self._head = None
            head = parse_head(raw, self.server.limits)
            self._route, self._params = self.server.find(head.method, head.path)
            self._head, self._raw = head, raw
            special = self._route.streaming or head.chunked or head.encoding or head.expects
            small = min(SMALL, self.server.limits.body_bytes)
            self._expected = -1 if special or head.length > small else len(raw) + head.length
        if len(pending) == self._expected:
            data = bytes(pending)
            pending.clear()
            self._repeat(data)
        else:
            del pending[: len(self._raw)]
            self._begin(head, self._route)
        return True

    def _begin(self, head: Head, route: "Route") -> None:
        """Everything that is decided before a body is read."""
        server, limits = self.server, self.server.limits
        server.in_flight += 1
        self._permit = 0
        self.exchange = exchange = Exchange(self, head, self._params, b"", server.clock())
        self._state = READING
        if route.guard is not None and not self._admits(exchange, route.guard):
            return
        if head.length > limits.body_bytes:
            raise Refusal(413, f"the body is longer than {limits.body_bytes} bytes")
        if head.encoding and not route.streaming and not compression.known(head.encoding):
            raise Refusal(415, "Unsupported compression type", (("Accept-Encoding", compression.CODINGS),))
        if server.permits < route.permit:
            raise _overloaded()
        self._permit = route.permit
        server.permits -= route.permit
        if head.expects and (head.chunked or head.length > len(self._pending)):
            self.write(answer.CONTINUE)
        self._received = 0
        self._watch_body()
        self._received = len(self._pending)
        self._inbox = exchange.open_inbox() if route.streaming else None
        self._body = open_body(head, limits, server.pool, self._inbox)
        if route.streaming:
            self._take_body()  # first, so that a short body is there when the handler asks for it
            self._call(exchange, self._route.handler)
        elif isinstance(self._body, DirectBody) and not self._body.feed(self._pending):
            self._direct = self._body

    def _take_body(self) -> bool:
        """Says whether the body is complete."""
        body, exchange, head = self._body, self.exchange, self._head
        assert body is not None
        assert exchange is not None
        assert head is not None
        if not body.feed(self._pending):
            return False
        self._state = WORK
        self._body = self._direct = None
        if self._inbox is None and head.encoding:
            inflater = compression.Inflater(body.content(), head.encoding, self.server.limits.body_bytes)
            self._inflate(exchange, inflater)
        elif self._inbox is None:
            exchange.body = body.content()
            self._call(exchange, self._route.handler)
        return True

    def _inflate(self, exchange: Exchange, inflater: compression.Inflater) -> None:
        if self.exchange is not exchange:
            return  # the client has left meanwhile
        try:
            done = inflater.step(_INFLATED)
        except Refusal as refusal:
            self._refuse(refusal)
            return
        if done:
            exchange.body = settled(inflater.body)
            self._call(exchange, self._route.handler)
        else:
            self.server.loop.call_soon(self._inflate, exchange, inflater)

    def _admits(self, exchange: Exchange, guard: "Guard") -> bool:
        """Whether the guard lets it in. If not it has been answered, and nothing more of it is read."""
        self._state = READING  # which makes this answer the last one
        self._call(exchange, guard)
        if exchange.open:
            return True
        if self._state == READING:  # the client has yet to read what was written before
            self._linger(unread=True)
        return False

    def _call(self, exchange: Exchange, handler: "Handler") -> None:
        try:
            handler(exchange)
        except Exception as error:
            if exchange.begun:
                log.exception("%s %s failed in its answer", exchange.method, exchange.path)
                exchange.abort()
            else:
                respond_failure(exchange, error)

    # When it goes wrong, and when it ends.

    def _refuse(self, refusal: Refusal) -> None:
        """Answers in place of a handler, and closes."""
        if self.exchange is not None and self.exchange.begun:
            self.abort()
            return
        if self.exchange is None and self.server.access is not None:
            self.server.access("-", "-", refusal.status, 0.0, 0, 0)
        self._drop(refusal.status)
        body = error_body(refusal.message)
        extra = answer.read_headers(refusal.headers)
        start = answer.status_line(refusal.status) + answer.content_type_line("application/json") + extra.text
        start += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self.write(start.encode("latin-1") + body)
        self._linger(unread=True)

    def _drop(self, status: int) -> None:
        """Gives back the permit of an exchange that nobody will answer any more."""
        exchange, self.exchange = self.exchange, None
        self._flushing = False
        if exchange is not None:
            self.server.in_flight -= 1
            self.server.permits += self._permit
            exchange.lost(status)
            self.server.progress()

    def _rest(self) -> None:
        super()._rest()
        if self._inbox is not None:
            self._inbox.lose()
        self._direct = self._body = self._inbox = None
        self._pending.clear()

    def _watch_body(self) -> None:
        self._mark = self._received
        self._expect(self.server.limits.header_timeout)


def _overloaded() -> Refusal:
    return Refusal(503, "the server is overloaded", (("Retry-After", "1"),))
