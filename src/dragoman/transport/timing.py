"""Between the transport and a handler: notes when a request passes, for a trace or for the client that asks.

Only requests that somebody wants to know of get one of these; the others' handlers are called as ever.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, cast

from dragoman.tracing.passage import Passage, current
from dragoman.transport.request import NO_LINES, Buffer, Handler, Header, HttpRequest, Lines
from dragoman.transport.status import respond_failure

if TYPE_CHECKING:
    from dragoman.tracing.tracer import Tracer

log = logging.getLogger("dragoman.transport")

#: The header by which a client asks, the query parameter that does the same, and the answer's header.
ASKS: Final = b"x-server-timing"
PARAMETER: Final = "server-timing"
TOLD: Final = "Server-Timing"
_NO: Final = ("", "0", "false")


def timed(handler: Handler, pattern: str, tracer: "Tracer | None", *, told: bool) -> Handler:
    """``handler``, whose requests are noted: those that are traced, and if ``told`` those whose clients ask."""

    @wraps(handler)
    def handle(http: HttpRequest) -> None:
        asks = told and _asks(http)
        if not asks and tracer is None:
            handler(http)
            return
        now = time.monotonic()
        passage = Passage(min(http.arrived, now), now, asks)
        traced = tracer is not None and tracer.begin(
            passage, f"{http.method} {pattern}", http.header(b"traceparent"), http.header(b"tracestate")
        )
        if not asks and not traced:
            handler(http)
            return
        _pass(handler, Timed(http, passage, tracer if traced else None, pattern))

    return handle


def _pass(handler: Handler, request: "Timed") -> None:
    http = cast(HttpRequest, request)
    token = current.set(request.passage)
    try:
        handler(http)
    except Exception as error:
        if request.status:
            log.exception("%s %s failed in its answer", http.method, http.path)
            http.abort()
        else:
            respond_failure(http, error)
    finally:
        current.reset(token)


def _asks(http: HttpRequest) -> bool:
    """Whether the client asks where its time went; remembered for the head."""
    known: bool | None = http.notes.get(PARAMETER)
    if known is None:
        header = (http.header(ASKS) or "").lower()
        known = header not in _NO or any(
            each.partition("=")[0] == PARAMETER and each.partition("=")[2].lower() not in _NO[1:]
            for each in http.query.split("&")
        )
        http.notes[PARAMETER] = known
    return known


class Timed:
    """An ``HttpRequest`` that notes when it is answered."""

    __slots__ = ("_callback", "_http", "_pattern", "_tracer", "passage", "status")

    def __init__(self, http: HttpRequest, passage: Passage, tracer: "Tracer | None", pattern: str) -> None:
        self.passage = passage
        self._http = http
        self._tracer = tracer
        self._pattern = pattern
        self.status = 0  #: of an answer that has begun
        self._callback: Callable[[], None] | None = None
        http.on_disconnect = self._gone

    def __getattr__(self, name: str) -> Any:
        return getattr(self._http, name)

    @property
    def on_disconnect(self) -> Callable[[], None] | None:
        return self._callback

    @on_disconnect.setter
    def on_disconnect(self, callback: Callable[[], None] | None) -> None:
        self._callback = callback

    @property
    def on_answer(self) -> Callable[[int], None] | None:
        return self._http.on_answer

    @on_answer.setter
    def on_answer(self, callback: Callable[[int], None] | None) -> None:
        self._http.on_answer = callback

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
        self._http.respond(
            status,
            body,
            content_type,
            self._told(headers),
            common=common,
            compress=compress,
            reason=reason,
        )
        self.status = status
        self._end()

    def start(
        self,
        status: int,
        headers: Iterable[Header] = (),
        *,
        common: Lines = NO_LINES,
        reason: str | None = None,
    ) -> None:
        self._http.start(status, self._told(headers), common=common, reason=reason)
        self.status = status

    def end(self) -> None:
        self._http.end()
        self._end()

    def abort(self) -> None:
        self._http.abort()
        self._end()

    def _told(self, headers: Iterable[Header]) -> Iterable[Header]:
        return (*headers, (TOLD, self.passage.timing(time.monotonic()))) if self.passage.told else headers

    def _gone(self) -> None:
        """The client has gone before its answer was complete."""
        if self._callback is not None:
            self._callback()
        self.status = self.status or 499
        self._end()

    def _end(self) -> None:
        tracer, self._tracer = self._tracer, None
        if tracer is None:
            return
        attributes: dict[str, str | int] = {
            "http.request.method": self._http.method,
            "http.route": self._pattern,
            "url.path": self._http.path,
            "http.response.status_code": self.status,
        }
        tracer.end(self.passage, attributes, failed=self.status >= 500)
