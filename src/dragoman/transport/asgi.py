"""The bridge to ordinary ASGI applications: a Starlette or FastAPI app answers requests of our server.

Knows ASGI 3 and the request contract; knows no socket. WebSockets are not offered: their scope is never made.

    new ──response.start──► headed ──response.body──► begun ──last body──► complete
     └──────────┬──────────────┘                        └── the app raises or returns: connection closed
                └── the app raises or returns: 500
"""

import asyncio
import logging
from secrets import token_hex
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from dragoman.transport.lifespan import AsgiApp, Lifespan, Message
from dragoman.transport.request import Header, HttpRequest
from dragoman.transport.status import error_body

#: Since 2.4 ``send`` raises OSError when the client has gone.
ASGI: Final = {"version": "3.0", "spec_version": "2.4"}

log = logging.getLogger(__name__)


class AsgiBridge:
    """Hosts one application. Called with a request it is the handler of a route that streams its body."""

    def __init__(self, app: AsgiApp, *, root_path: str = "") -> None:
        self._app = app
        self._root_path = root_path
        self._lifespan = Lifespan(app)
        self._tasks: set[asyncio.Task[None]] = set()

    async def startup(self) -> None:
        """Run the application's start-up. Raises RuntimeError with the message of one that has failed."""
        await self._lifespan.startup()

    async def shutdown(self, timeout: float | None = None) -> None:
        """Wait for the running requests, at most ``timeout`` seconds, then run the application's shutdown."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        await self._lifespan.shutdown()

    def __call__(self, request: HttpRequest) -> None:
        scope = scope_of(request, self._root_path, self._lifespan.state.copy())
        task = asyncio.get_running_loop().create_task(_Exchange(request).run(self._app, scope))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def scope_of(
    request: HttpRequest, root_path: str = "", state: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The request's head as ASGI has it."""
    raw_path = request.path.encode("latin-1")
    return {
        "type": "http",
        "asgi": ASGI.copy(),
        "http_version": request.http_version,
        "method": request.method,
        "scheme": request.scheme,
        "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"),
        "raw_path": raw_path,
        "query_string": request.query.encode("latin-1"),
        "root_path": root_path,
        "headers": list(request.headers),
        "client": request.client,
        "server": request.server,
        "state": {} if state is None else state,
        "extensions": {},
    }


class _Exchange:
    """One request and its answer, as the application's ``receive`` and ``send`` see them."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._reading = asyncio.Lock()  # the request has one reader; an application may have several
        self._body_read = False
        self._finished = asyncio.Event()  # answered in full, or the client has gone
        self._gone = False
        self._head: tuple[int, list[Header]] | None = None
        self._begun = False
        self._complete = False
        request.on_disconnect = self._disconnect

    async def run(self, app: AsgiApp, scope: dict[str, Any]) -> None:
        """Let the application answer, and see to it that there is an answer."""
        try:
            await app(scope, self.receive, self.send)
        except Exception as error:
            if self._gone:
                log.info("%s %s: the client has gone (%r)", self._request.method, self._request.path, error)
            else:
                self._fail("raised an error", error)
        except BaseException:
            self._request.abort()
            raise
        else:
            if not self._complete and not self._gone:
                self._fail("returned", None)

    async def receive(self) -> Message:
        """The next piece of the body, then, when there is nothing more to wait for, ``http.disconnect``."""
        async with self._reading:
            if not self._body_read and not self._finished.is_set():
                try:
                    piece = await self._request.receive()
                except ConnectionError:
                    if not self._complete:
                        self._disconnect()
                else:
                    self._body_read = piece is None
                    return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}
        await self._finished.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """A message of the answer. Raises OSError when the client has gone, RuntimeError when out of turn."""
        if self._gone:
            raise ConnectionResetError("the client has gone")
        kind = message["type"]
        if kind == "http.response.start" and self._head is None:
            self._head = _head(message)
        elif kind == "http.response.body" and self._head is not None and not self._complete:
            try:
                await self._body(self._head, message.get("body", b""), message.get("more_body", False))
            except ConnectionError:
                self._disconnect()
                raise
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r} {self._where()}")

    async def _body(self, head: tuple[int, list[Header]], piece: bytes, more: bool) -> None:
        request, (status, headers) = self._request, head
        if not more and not self._begun and request.method != "HEAD":
            _check_length(headers, len(piece))
            request.respond(status, piece, "", headers)
        else:
            if not self._begun:
                request.start(status, headers)
                self._begun = True
            await request.send(piece)
            if not more:
                request.end()
        if not more:
            self._begun = self._complete = True
            self._finished.set()

    def _disconnect(self) -> None:
        self._gone = True
        self._finished.set()

    def _fail(self, what: str, error: Exception | None) -> None:
        number = token_hex(8)
        where = (self._request.method, self._request.path, what, self._where(), number)
        log.error("%s %s: the application %s %s, id %s", *where, exc_info=error)
        if not self._begun:
            self._request.respond(500, error_body(f"internal error, see the server's log under id {number}"))
        elif not self._complete:
            self._request.abort()
        self._finished.set()

    def _where(self) -> str:
        if self._complete:
            return "after the end of the response"
        if self._begun:
            return "in the middle of the response"
        return "before the response" if self._head is None else "before the body of the response"


def _head(message: Message) -> tuple[int, list[Header]]:
    status = message["status"]
    if not isinstance(status, int) or not 200 <= status <= 999:
        raise RuntimeError(f"a response's status is a number from 200 to 999, got {status!r}")
    return int(status), [
        (bytes(name).decode("latin-1"), bytes(value).decode("latin-1"))
        for name, value in message.get("headers", ())
    ]


def _check_length(headers: list[Header], size: int) -> None:
    for name, value in headers:
        if name.lower() == "content-length" and value != str(size):
            raise RuntimeError(f"the response's content-length is {value!r}, its body has {size} bytes")
