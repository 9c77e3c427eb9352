"""The other way round: our routes as an ASGI application, for uvicorn and gunicorn, and for middleware around them.

Knows ASGI 3 and the request contract; knows no socket. The server in front has its own limits for heads, connections
and slow clients; ours for bodies and permits hold here, too.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Final

from dragoman.errors import InvalidInput, Overloaded, TooLarge
from dragoman.transport.auth import ANYBODY, Caller
from dragoman.transport.lifespan import Message, Receive, Send
from dragoman.transport.request import NO_LINES, Buffer, Guard, Handler, Header, Lines
from dragoman.transport.router import Route, Router
from dragoman.transport.status import respond_failure

#: Bodies that are complete and empty need not be waited for.
_BODILESS: Final = frozenset({"GET", "HEAD"})


class HostedRoutes:
    """An ASGI application for ``http`` scopes; of anything else it says that it is not offered."""

    def __init__(self, router: Router, *, body_bytes: int, permits: int) -> None:
        """``body_bytes`` is the most that a body may have, ``permits`` how many requests may be in work."""
        self._router = router
        self._most = body_bytes
        self.permits = permits

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"only http is served here, not {scope['type']!r}")
        request = HostedRequest(scope, receive)
        answering = asyncio.create_task(request.answer(send))
        try:
            await self._serve(request)
            await answering
        finally:
            answering.cancel()

    async def _serve(self, request: "HostedRequest") -> None:
        try:
            route, request.params = self._router.find(request.method, request.path)
        except InvalidInput as error:
            respond_failure(request, error)
            return
        if route.guard is not None and not _admitted(request, route.guard):
            return
        if self.permits < route.permit:
            respond_failure(request, Overloaded("the server has as many requests in work as it may have"))
            return
        self.permits -= route.permit
        try:
            await self._handle(request, route)
        finally:
            self.permits += route.permit

    async def _handle(self, request: "HostedRequest", route: Route) -> None:
        if not route.streaming and not await request.read(self._most):
            return
        _call(request, route.handler)
        await request.finished()


class HostedRequest:
    """Implements ``HttpRequest`` over one ASGI scope."""

    def __init__(self, scope: Message, receive: Receive) -> None:
        self._scope = scope
        self._receive = receive
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue()
        self._over = asyncio.Event()  # answered in full, or the client has gone
        self._begun = False
        self._status = 499  # until an answer has begun
        self._read = False
        self._aborted = False
        self._sent = asyncio.Event()
        self.body: bytes | memoryview = b""
        self.params: tuple[str, ...] = ()
        self.arrived = time.monotonic()
        self.on_disconnect: Callable[[], None] | None = None
        self.on_answer: Callable[[int], None] | None = None
        self.caller: Caller = ANYBODY
        self.lines = NO_LINES
        self._hidden: frozenset[bytes] = frozenset()

    @property
    def method(self) -> str:
        return str(self._scope["method"]).upper()

    @property
    def path(self) -> str:
        raw: bytes = self._scope.get("raw_path") or self._scope["path"].encode()
        path = raw.partition(b"?")[0].decode("latin-1")
        return path.removeprefix(self.root_path) or "/"

    @property
    def root_path(self) -> str:
        return str(self._scope.get("root_path", ""))

    @property
    def query(self) -> str:
        query: bytes = self._scope.get("query_string", b"")
        return query.decode("latin-1")

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return list(self.raw_headers())

    @property
    def http_version(self) -> str:
        return str(self._scope.get("http_version", "1.1"))

    @property
    def scheme(self) -> str:
        return str(self._scope.get("scheme", "http"))

    @property
    def client(self) -> tuple[str, int] | None:
        client = self._scope.get("client")
        return None if client is None else (str(client[0]), int(client[1]))

    @property
    def server(self) -> tuple[str, int | None] | None:
        server = self._scope.get("server")
        return None if server is None else (str(server[0]), server[1])

    def header(self, name: bytes) -> str | None:
        for key, value in self._scope["headers"]:
            if key.lower() == name:
                return str(value.decode("latin-1"))
        return None

    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        headers: list[tuple[bytes, bytes]] = self._scope["headers"]
        if self._hidden:
            headers = [pair for pair in headers if pair[0].lower() not in self._hidden]
        return headers

    def hide(self, name: bytes) -> None:
        self._hidden |= {name}

    @cached_property
    def notes(self) -> dict[str, Any]:
        return {}

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
        if self._begun:
            return
        whole = bytes(body) if isinstance(body, bytes | bytearray | memoryview) else b"".join(body)
        own = [("content-length", str(len(whole)))]
        if content_type:
            own.append(("content-type", content_type))
        self._begin(status, [*own, *headers], common)
        piece = b"" if self.method == "HEAD" else whole
        self._messages.put_nowait({"type": "http.response.body", "body": piece, "more_body": True})
        self.end()

    async def receive(self) -> bytes | None:
        if self._read:
            return None
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.disconnect()
            raise ConnectionError("the client has gone")
        self._read = not message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece or (None if self._read else b"")

    def start(
        self,
        status: int,
        headers: Iterable[Header] = (),
        *,
        common: Lines = NO_LINES,
        reason: str | None = None,
    ) -> None:
        self._begin(status, headers, common)

    async def send(self, piece: Buffer) -> None:
        if self._over.is_set():
            raise ConnectionError("the client has gone")
        self._sent.clear()
        body = b"" if self.method == "HEAD" else bytes(piece)
        self._messages.put_nowait({"type": "http.response.body", "body": body, "more_body": True})
        await self._sent.wait()

    def end(self) -> None:
        self._messages.put_nowait(None)

    def abort(self) -> None:
        self._aborted = True
        self.end()

    # Those who host it call these.

    async def read(self, most: int) -> bool:
        """Read the whole body; false if there is an answer already, or nobody to give one to."""
        pieces, size = [], 0
        if self.method in _BODILESS and self.header(b"content-length") in (None, "0"):
            return True
        try:
            while (piece := await self.receive()) is not None:
                pieces.append(piece)
                size += len(piece)
                if size > most:
                    respond_failure(self, TooLarge(f"the body has more than {most} bytes"))
                    return False
        except ConnectionError:
            return False
        self.body = b"".join(pieces)
        return True

    async def finished(self) -> None:
        """Wait for the end of the answer, or for the client to go."""
        watch = asyncio.create_task(self._watch()) if self._read else None
        try:
            await self._over.wait()
        finally:
            if watch is not None:
                watch.cancel()

    async def answer(self, send: Send) -> None:
        """Pass the answer on. Raises what aborts it."""
        try:
            while (message := await self._messages.get()) is not None:
                await send(message)
                self._sent.set()
            if self._aborted:
                raise ConnectionAbortedError("the answer could not be completed")
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError:
            self.disconnect()
            if self._aborted:
                raise
        finally:
            self._sent.set()
            self._over.set()
            told, self.on_answer = self.on_answer, None
            if told is not None:
                told(self._status)

    def disconnect(self) -> None:
        """The client has gone."""
        gone, self.on_disconnect = self.on_disconnect, None
        over = self._over.is_set()
        self._over.set()
        self._sent.set()
        if gone is not None and not over:
            gone()

    async def _watch(self) -> None:
        if (await self._receive())["type"] == "http.disconnect":
            self.disconnect()

    def _begin(self, status: int, headers: Iterable[Header], common: Lines) -> None:
        if self._begun:
            raise RuntimeError("the answer has begun already")
        self._begun = True
        self._status = status
        lines = [line.partition(":") for line in (self.lines + common).split("\r\n") if line]
        pairs = [*headers, *((name, value.strip()) for name, _, value in lines)]
        encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
        self._messages.put_nowait({"type": "http.response.start", "status": status, "headers": encoded})


def _admitted(request: HostedRequest, guard: Guard) -> bool:
    _call(request, guard)
    return not request._begun


def _call(request: HostedRequest, handler: Handler) -> None:
    try:
        handler(request)
    except Exception as error:
        respond_failure(request, error)
